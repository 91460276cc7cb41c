//! Records of guests: who may change them, what each bound refuses, and that they are really freed.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    GuestRecord, Operation, RECORD_CHANGES_PER_WINDOW_MAX, RECORD_LIFE_BLOCKS_MAX,
    RECORD_VALUE_BYTES_MAX, RECORD_WINDOW_BLOCKS, RECORDS_DUE_PER_BLOCK_MAX, RecordChange,
    RecordKey, RecordOperation, Refusal, StateKey, TransactionOutcome,
};
use proptest::prelude::*;
use types::{Capability, Digest, WorkloadSpec};

use crate::membership::{APPLIED, refused, secret};
use crate::validators::founded;
use crate::{Fabric, name, public, workload};

fn key(text: &str) -> RecordKey {
    RecordKey::new(text).unwrap()
}

fn put(text: &str, value: &[u8]) -> RecordChange {
    RecordChange::Put {
        key: key(text),
        value: value.to_vec(),
        expires_at: None,
        only_new: false,
    }
}

fn put_until(text: &str, expires_at: u64) -> RecordChange {
    RecordChange::Put {
        key: key(text),
        value: b"v".to_vec(),
        expires_at: Some(expires_at),
        only_new: false,
    }
}

fn delete(text: &str) -> RecordChange {
    RecordChange::Delete { key: key(text) }
}

fn granted(text: &str, replicas: u16, records: u32) -> WorkloadSpec {
    let mut spec = workload(text, replicas, &[]);
    spec.components[0].capabilities = vec![Capability::Consensus { records }];
    spec
}

fn change(workload: &str, change: RecordChange) -> Operation {
    Operation::Record(RecordOperation {
        workload: name(workload),
        component: name("web"),
        index: 0,
        change,
    })
}

impl Fabric {
    fn deploy(&mut self, spec: WorkloadSpec) {
        let replaces = self.view().deployment(&spec.name).unwrap();
        let replaces = replaces.map(|record| record.generation);
        let deploy = Operation::Deploy { spec, replaces };
        assert_eq!(self.run(deploy), APPLIED);
    }

    /// The key of the node that replica 0 is placed on.
    fn host(&self, workload: &str) -> SigningKey {
        let placed = self.view().placements_of(&name(workload)).unwrap();
        let secrets = (1..=7).map(secret);
        let mut hosts = secrets.filter(|it| public(it) == placed[0].node);
        hosts.next().unwrap()
    }

    fn record(&mut self, workload: &str, what: RecordChange) -> TransactionOutcome {
        let host = self.host(workload);
        self.run_as(&host, change(workload, what))
    }

    fn found(&self, workload: &str, text: &str) -> Option<GuestRecord> {
        let view = self.view();
        view.guest_record(&name(workload), &key(text)).unwrap()
    }

    /// Bytes of all state entries whose key begins so.
    pub(crate) fn entries(&self, prefix: &str) -> usize {
        let keys = self.state.keys();
        keys.filter(|key| key.as_bytes().starts_with(prefix.as_bytes()))
            .count()
    }

    /// Index, totals and lists of what is due match the records.
    fn check_records(&self) {
        let view = self.view();
        let (mut count, mut sum, mut due) = (0, 0, 0);
        for deployment in view.deployments().unwrap() {
            let workload = &deployment.spec.name;
            for (key, facts) in view.guest_records(workload).unwrap().records {
                let record = view.guest_record(workload, &key).unwrap().unwrap();
                assert_eq!(facts.expires_at, record.expires_at);
                let bytes = key.as_str().len() + record.value.len();
                assert_eq!(facts.bytes as usize, bytes);
                assert!(record.expires_at.is_none_or(|at| at > self.height));
                (count, sum) = (count + 1, sum + bytes as u64);
                due += u64::from(record.expires_at.is_some());
            }
        }
        assert_eq!(self.entries("record/"), count);
        let totals = self.totals();
        assert_eq!(totals, (count, sum));
        assert_eq!(self.due(), due, "each record that expires is due once");
    }

    fn totals(&self) -> (usize, u64) {
        match self.decoded(&StateKey::record_totals()) {
            None => (0, 0),
            Some(totals) => (
                usize::try_from(totals["records"].as_u64().unwrap()).unwrap(),
                totals["bytes"].as_u64().unwrap(),
            ),
        }
    }

    fn due(&self) -> u64 {
        let keys = self.state.keys();
        let lists = keys.filter(|key| key.as_bytes().starts_with(b"records-due/"));
        lists
            .map(|key| self.decoded(key).unwrap()["due"].as_array().unwrap().len() as u64)
            .sum()
    }

    fn decoded(&self, key: &StateKey) -> Option<serde_json::Value> {
        let record = hypermesh_ledger::AnyRecord::decode(key, self.state.get(key)?);
        Some(serde_json::to_value(record.unwrap().unwrap()).unwrap())
    }
}

#[test]
fn a_guest_writes_and_frees_through_the_node_that_hosts_it() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    assert_eq!(fabric.record("notary", put("a", b"one")), APPLIED);
    let by = public(&fabric.host("notary"));
    let written = GuestRecord {
        value: b"one".to_vec(),
        written_at: fabric.height,
        written_ms: fabric.now_ms(),
        by,
        expires_at: None,
    };
    assert_eq!(fabric.found("notary", "a"), Some(written));
    assert_eq!(fabric.record("notary", put("a", b"two")), APPLIED);
    assert_eq!(fabric.found("notary", "a").unwrap().value, b"two");
    fabric.check_records();
    assert_eq!(fabric.record("notary", delete("a")), APPLIED);
    assert_eq!(
        fabric.record("notary", delete("a")),
        refused(Refusal::UnknownRecord(key("a")))
    );
    fabric.check_records();
    assert_eq!(fabric.entries("record/") + fabric.entries("records"), 0);
}

#[test]
fn only_the_node_that_hosts_the_replica_signs_for_it() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    let host = public(&fabric.host("notary"));
    let other = (1..=7).map(secret).find(|it| public(it) != host).unwrap();
    let not_placed = |node, index| {
        refused(Refusal::NotPlaced {
            node,
            workload: name("notary"),
            component: name("web"),
            index,
        })
    };
    let write = || change("notary", put("a", b"x"));
    assert_eq!(
        fabric.run_as(&other, write()),
        not_placed(public(&other), 0)
    );
    let operator = public(&fabric.operator);
    assert_eq!(fabric.run(write()), not_placed(operator, 0));
    let Operation::Record(operation) = write() else {
        panic!("a record")
    };
    let elsewhere = RecordOperation {
        index: 1,
        ..operation
    };
    let host = fabric.host("notary");
    assert_eq!(
        fabric.run_as(&host, Operation::Record(elsewhere)),
        not_placed(public(&host), 1)
    );
    let stop = Operation::Stop {
        workload: name("notary"),
    };
    assert_eq!(fabric.run(stop), APPLIED);
    assert_eq!(
        fabric.run_as(&host, write()),
        not_placed(public(&host), 0),
        "nobody hosts what is stopped"
    );
    assert_eq!(
        fabric.run_as(&host, change("other", put("a", b"x"))),
        refused(Refusal::UnknownDeployment(name("other")))
    );
}

#[test]
fn a_component_without_the_right_writes_nothing_and_one_with_it_up_to_its_quota() {
    let mut fabric = founded(1);
    fabric.deploy(workload("plain", 1, &[]));
    assert_eq!(
        fabric.record("plain", put("a", b"x")),
        refused(Refusal::RecordsNotGranted {
            workload: name("plain"),
            component: name("web"),
        })
    );
    fabric.deploy(granted("notary", 1, 2));
    assert_eq!(fabric.record("notary", put("a", b"x")), APPLIED);
    assert_eq!(fabric.record("notary", put("b", b"x")), APPLIED);
    let full = refused(Refusal::RecordQuota {
        workload: name("notary"),
        quota: 2,
    });
    assert_eq!(fabric.record("notary", put("c", b"x")), full);
    assert_eq!(fabric.record("notary", put("a", b"y")), APPLIED);
    assert_eq!(fabric.record("notary", delete("b")), APPLIED);
    assert_eq!(fabric.record("notary", put("c", b"x")), APPLIED);
    // A smaller grant takes nothing away, and lets nothing more in.
    fabric.deploy(granted("notary", 1, 0));
    let full = refused(Refusal::RecordQuota {
        workload: name("notary"),
        quota: 0,
    });
    assert_eq!(fabric.record("notary", put("d", b"x")), full);
    assert!(fabric.found("notary", "a").is_some());
    fabric.check_records();
}

#[test]
fn a_record_that_is_to_be_new_replaces_none_and_a_large_one_is_refused() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    let new = |value: &[u8]| RecordChange::Put {
        key: key("a"),
        value: value.to_vec(),
        expires_at: None,
        only_new: true,
    };
    assert_eq!(fabric.record("notary", new(b"first")), APPLIED);
    assert_eq!(
        fabric.record("notary", new(b"second")),
        refused(Refusal::RecordExists(key("a")))
    );
    assert_eq!(fabric.found("notary", "a").unwrap().value, b"first");
    let most = vec![7; RECORD_VALUE_BYTES_MAX];
    assert_eq!(fabric.record("notary", put("b", &most)), APPLIED);
    let more = [most.as_slice(), b"x"].concat();
    assert_eq!(
        fabric.record("notary", put("b", &more)),
        refused(Refusal::RecordTooLarge {
            bytes: more.len() as u64,
            max: RECORD_VALUE_BYTES_MAX as u64,
        })
    );
    assert_eq!(fabric.found("notary", "b").unwrap().value, most);
    fabric.check_records();
    for bad in ["", "a b", "ä", "a\n", &"x".repeat(129)] {
        assert!(RecordKey::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_record_that_expires_is_freed_in_the_block_that_it_names() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    let height = fabric.height + 1;
    for (expires_at, height) in [
        (height, height),
        (0, height + 1),
        (height + 3 + RECORD_LIFE_BLOCKS_MAX, height + 2),
    ] {
        assert_eq!(
            fabric.record("notary", put_until("a", expires_at)),
            refused(Refusal::RecordLife { expires_at, height })
        );
    }
    let at = fabric.height + 6;
    assert_eq!(fabric.record("notary", put_until("a", at)), APPLIED);
    assert_eq!(fabric.record("notary", put_until("b", at)), APPLIED);
    // Written anew without an end, it stays.
    assert_eq!(fabric.record("notary", put("b", b"x")), APPLIED);
    fabric.check_records();
    while fabric.height < at {
        assert!(fabric.found("notary", "a").is_some());
        fabric.block(&[]);
    }
    assert_eq!(fabric.found("notary", "a"), None);
    assert!(fabric.found("notary", "b").is_some());
    assert_eq!(fabric.entries("records-due/"), 0);
    fabric.check_records();
}

#[test]
fn one_block_frees_so_many_records_and_the_next_the_rest() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 512));
    let at = fabric.height + 1_000;
    let many = RECORDS_DUE_PER_BLOCK_MAX + 1;
    for number in 0..many {
        if fabric.height.is_multiple_of(RECORD_WINDOW_BLOCKS) {
            fabric.block(&[]);
        }
        let wish = put_until(&format!("k{number}"), at);
        assert_eq!(fabric.record("notary", wish), APPLIED, "{number}");
    }
    let last = fabric.found("notary", &format!("k{}", many - 1)).unwrap();
    assert_eq!(last.expires_at, Some(at + 1));
    fabric.check_records();
    while fabric.height < at {
        fabric.block(&[]);
    }
    assert_eq!(fabric.entries("record/"), 1);
    fabric.block(&[]);
    assert_eq!(fabric.entries("record/"), 0);
    fabric.check_records();
}

#[test]
fn a_node_changes_so_many_records_in_a_window_and_refused_ones_do_not_count() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    while !fabric.height.is_multiple_of(RECORD_WINDOW_BLOCKS) {
        fabric.block(&[]);
    }
    let host = fabric.host("notary");
    let nonce = |fabric: &Fabric| {
        fabric
            .view()
            .principal(&public(&host))
            .unwrap()
            .map_or(0, |it| it.nonce)
    };
    let signed = |fabric: &Fabric, count: u32, what: RecordChange| -> Vec<_> {
        let first = nonce(fabric);
        (first..first + u64::from(count))
            .map(|nonce| fabric.sign(&host, nonce, change("notary", what.clone())))
            .map(|bytes| fabric.decode(&bytes).unwrap())
            .collect()
    };
    let refused_ones = signed(&fabric, 20, delete("none"));
    fabric.block(&refused_ones);
    let most = signed(&fabric, RECORD_CHANGES_PER_WINDOW_MAX + 1, put("a", b"x"));
    let mut outcomes = fabric.block(&most).outcomes;
    let until = (fabric.height / RECORD_WINDOW_BLOCKS + 1) * RECORD_WINDOW_BLOCKS;
    let node = public(&host);
    let rate = refused(Refusal::RecordRate { node, until });
    assert_eq!(outcomes.pop(), Some(rate));
    assert!(outcomes.iter().all(|outcome| *outcome == APPLIED));
    while fabric.height + 1 < until {
        fabric.block(&[]);
    }
    assert_eq!(fabric.record("notary", put("a", b"y")), APPLIED);
}

#[test]
fn a_removed_workload_leaves_no_record_and_its_name_begins_anew() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    let at = fabric.height + 100;
    assert_eq!(fabric.record("notary", put("a", b"x")), APPLIED);
    assert_eq!(fabric.record("notary", put_until("b", at)), APPLIED);
    let remove = Operation::Remove {
        workload: name("notary"),
    };
    assert_eq!(fabric.run(remove), APPLIED);
    assert_eq!(fabric.entries("record/") + fabric.entries("records"), 0);
    assert_eq!(fabric.entries("record-totals"), 0);
    fabric.deploy(granted("notary", 1, 8));
    assert_eq!(fabric.found("notary", "a"), None);
    assert_eq!(fabric.record("notary", put("b", b"new")), APPLIED);
    while fabric.height <= at {
        fabric.block(&[]);
    }
    assert!(fabric.found("notary", "b").is_some(), "the old end is gone");
    fabric.check_records();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever guests write and whoever removes them: quotas hold, what is due is freed, and the
    /// sums are right.
    #[test]
    fn any_history_of_records_adds_up(
        steps in prop::collection::vec((0..8_u8, 0..2_u8, 0..5_u8, 1..12_u64), 1..80),
    ) {
        let mut fabric = founded(2);
        let mut model: BTreeMap<(String, String), Option<u64>> = BTreeMap::new();
        for (what, which, record, life) in steps {
            let workload = ["a", "b"][usize::from(which)];
            let text = format!("k{record}");
            let at = (workload.to_owned(), text.clone());
            let there = fabric.view().deployment(&name(workload)).unwrap().is_some();
            let held = |model: &BTreeMap<(String, String), _>| {
                model.keys().filter(|(of, _)| of == workload).count()
            };
            match what {
                0 => fabric.deploy(granted(workload, 1, 3)),
                1 if there && life > 9 => {
                    let remove = Operation::Remove { workload: name(workload) };
                    prop_assert_eq!(fabric.run(remove), APPLIED);
                    model.retain(|(of, _), _| of != workload);
                }
                2 if there => {
                    let applied = fabric.record(workload, delete(&text)) == APPLIED;
                    model.retain(|_, end| end.is_none_or(|end| end > fabric.height));
                    prop_assert_eq!(applied, model.remove(&at).is_some());
                }
                3..=6 if there => {
                    let end = (what > 4).then_some(fabric.height + 1 + life);
                    let wish = RecordChange::Put {
                        key: key(&text),
                        value: vec![1; usize::from(record)],
                        expires_at: end,
                        only_new: what % 2 == 0,
                    };
                    let applied = fabric.record(workload, wish) == APPLIED;
                    model.retain(|_, end| end.is_none_or(|end| end > fabric.height));
                    let known = model.contains_key(&at);
                    let may = if known { what % 2 == 1 } else { held(&model) < 3 };
                    prop_assert_eq!(applied, may);
                    if applied {
                        model.insert(at, end);
                    }
                }
                _ => drop(fabric.block(&[])),
            }
            model.retain(|_, end| end.is_none_or(|end| end > fabric.height));
            fabric.check_records();
            for (workload, text) in model.keys() {
                prop_assert!(fabric.found(workload, text).is_some());
            }
            prop_assert_eq!(fabric.entries("record/"), model.len());
        }
    }
}

/// Every operation of this family as it is signed, and every record as it is kept: a change here
/// is a fork.
#[test]
fn operations_and_records_are_these_bytes() {
    let mut fabric = founded(1);
    fabric.deploy(granted("notary", 1, 8));
    let host = fabric.host("notary");
    let changes = [put("a/1", b"one"), put_until("b", 90), delete("c")];
    let bytes: Vec<u8> = changes
        .iter()
        .flat_map(|what| fabric.sign(&host, 0, change("notary", what.clone())))
        .collect();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_OPERATIONS);
    for what in changes {
        fabric.record("notary", what);
    }
    let kept = [
        "record/",
        "records/",
        "record-totals",
        "records-due/",
        "record-rate/",
    ];
    let kept = kept.map(|prefix| {
        let of = |key: &&_| StateKey::as_bytes(key).starts_with(prefix.as_bytes());
        let keys = fabric.state.keys().filter(of);
        keys.flat_map(|key| [key.as_bytes(), &fabric.state[key]].concat())
            .collect::<Vec<_>>()
    });
    assert!(kept.iter().all(|bytes| !bytes.is_empty()));
    assert_eq!(Digest::of(&kept.concat()).to_string(), PINNED_RECORDS);
}

const PINNED_OPERATIONS: &str =
    "blake3:94ae4d665d1888212d1ecb5163637b8d4addbb24058c6a88b73f42941459915a";
const PINNED_RECORDS: &str =
    "blake3:da29cbc977688fda1e5ba70f3bfc601324081a89684a85e19c2c296ecfcf3cae";
