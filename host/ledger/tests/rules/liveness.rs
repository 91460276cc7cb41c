//! Absence: how many witnesses it takes, who is not believed, and what it costs a validator.

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    AbsencesRecord, AbsentSince, Genesis, LivenessOperation, Membership, MembershipOperation,
    Operation, Refusal, StateKey, TransactionOutcome, VOTE_KEPT_MS, ValidatorChange,
    ValidatorOperation, witnesses,
};
use proptest::prelude::*;
use types::PublicKey;

use crate::membership::{APPLIED, refused, secret};
use crate::{Fabric, public};

/// Founders without a vote.
const FOLLOWERS: u8 = 2;

pub(crate) fn node(seed: u8) -> PublicKey {
    public(&secret(seed))
}

/// Founders of whom the first `validators` vote.
pub(crate) fn founded(validators: u8) -> Fabric {
    let operator = SigningKey::from_bytes(&[42; 32]);
    let keys = |count| (1..=count).map(node).collect();
    let members = keys(validators + FOLLOWERS);
    let operators = vec![public(&operator)];
    let genesis = Genesis::new(1_000, [7; 16], keys(validators), members, operators);
    let genesis = genesis.unwrap().with_epoch_blocks(8);
    Fabric::of(genesis.unwrap(), operator)
}

impl Fabric {
    fn says(&mut self, seed: u8, operation: LivenessOperation) -> TransactionOutcome {
        self.run_as(&secret(seed), Operation::Liveness(operation))
    }

    pub(crate) fn absent(&mut self, by: u8, about: u8) -> TransactionOutcome {
        let node = node(about);
        self.says(by, LivenessOperation::Absent { node })
    }

    pub(crate) fn present(&mut self, by: u8, about: u8) -> TransactionOutcome {
        let node = node(about);
        self.says(by, LivenessOperation::Present { node })
    }

    fn since(&self, about: u8) -> Option<AbsentSince> {
        let absences = self.view().absences().unwrap();
        absences.get(&node(about))?.since(&self.validators())
    }

    /// Nothing about absence is in the state.
    fn says_nothing(&self) -> bool {
        let mut keys = self.state.keys();
        !keys.any(|key| key.as_bytes().starts_with(b"absen"))
    }

    /// Each entry is listed once, and has a report.
    fn check_absences(&self) {
        let entries = self.view().absences().unwrap();
        assert!(entries.values().all(|entry| !entry.reports.is_empty()));
        let listed = self.state.get(&StateKey::absences()).map(|bytes| {
            let mut listed: AbsencesRecord = postcard::from_bytes(&bytes[1..]).unwrap();
            listed.reported.sort_unstable();
            listed.reported
        });
        let keys: Vec<_> = entries.into_keys().collect();
        assert_eq!(listed.unwrap_or_default(), keys);
    }
}

#[test]
fn one_more_witness_than_may_lie_makes_a_node_absent() {
    for (validators, needed) in [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (10, 4)] {
        assert_eq!(witnesses(usize::from(validators)), usize::from(needed));
        let mut fabric = founded(validators);
        let gone = validators + 1;
        for witness in 1..needed {
            assert_eq!(fabric.absent(witness, gone), APPLIED);
            assert_eq!(fabric.since(gone), None, "{witness} of {validators}");
        }
        assert_eq!(fabric.absent(needed, gone), APPLIED);
        let since = fabric.since(gone).unwrap();
        assert_eq!(since.height, fabric.height);
        assert_eq!(since.time_ms, fabric.clock_ms + fabric.height);
        fabric.check_absences();
    }
}

#[test]
fn a_report_is_taken_back_by_its_witness_and_all_by_the_node() {
    let mut fabric = founded(4);
    for witness in 1..=3 {
        assert_eq!(fabric.absent(witness, 4), APPLIED);
    }
    let first = fabric.since(4).unwrap();
    assert_eq!(fabric.present(1, 4), APPLIED);
    assert!(fabric.since(4).unwrap() > first);
    assert_eq!(fabric.present(2, 4), APPLIED);
    assert_eq!(fabric.since(4), None);
    assert_eq!(fabric.present(3, 4), APPLIED);
    assert!(fabric.says_nothing());
    // A node without a vote speaks for itself, too.
    assert_eq!(fabric.absent(1, 5), APPLIED);
    assert_eq!(fabric.absent(2, 5), APPLIED);
    assert_eq!(fabric.present(5, 5), APPLIED);
    assert!(fabric.says_nothing());
}

#[test]
fn who_may_not_report_is_told_why() {
    let mut fabric = founded(4);
    let not_reported = |seed| refused(Refusal::NotReported(node(seed)));
    let no_validator = refused(Refusal::NotAValidator(node(5)));
    assert_eq!(fabric.absent(5, 1), no_validator);
    assert_eq!(fabric.present(5, 1), no_validator);
    assert_eq!(fabric.absent(1, 1), refused(Refusal::AboutItself));
    assert_eq!(fabric.absent(1, 90), refused(Refusal::NotAMember(node(90))));
    assert_eq!(fabric.present(1, 2), not_reported(2));
    assert_eq!(fabric.present(1, 1), not_reported(1));
    assert_eq!(fabric.absent(1, 2), APPLIED);
    assert_eq!(fabric.absent(1, 2), refused(Refusal::Reported(node(2))));
    assert_eq!(fabric.present(3, 2), not_reported(2));
    let operation = Operation::Liveness(LivenessOperation::Absent { node: node(1) });
    assert_eq!(fabric.run(operation), {
        let operator = public(&fabric.operator);
        refused(Refusal::NotAValidator(operator))
    });
}

#[test]
fn a_witness_that_leaves_office_counts_no_more() {
    let mut fabric = founded(5);
    for witness in [1, 2] {
        assert_eq!(fabric.absent(witness, 6), APPLIED);
    }
    assert!(fabric.since(6).is_some());
    let resign = Operation::Validator(ValidatorOperation::Resign);
    assert_eq!(fabric.run_as(&secret(1), resign.clone()), APPLIED);
    assert!(fabric.since(6).is_some(), "it votes until the epoch ends");
    fabric.next_epoch();
    assert_eq!(fabric.since(6), None);
    fabric.check_absences();
    assert_eq!(fabric.run_as(&secret(2), resign), APPLIED);
    fabric.next_epoch();
    assert!(fabric.says_nothing(), "an entry goes with its last report");
}

#[test]
fn a_node_that_leaves_takes_its_entry_along() {
    let mut fabric = founded(4);
    let member = fabric.member(60);
    assert_eq!(fabric.absent(1, 60), APPLIED);
    let leave = Operation::Membership(MembershipOperation::Leave);
    assert_eq!(fabric.run_as(&member, leave), APPLIED);
    let record = fabric.view().member(&node(60)).unwrap().unwrap();
    assert_ne!(record.membership, Membership::Member);
    assert!(fabric.says_nothing());
}

#[test]
fn a_long_absence_costs_the_vote_while_four_others_stay() {
    for (validators, keeps) in [(4, true), (5, false)] {
        let mut fabric = founded(validators);
        for witness in [1, 2] {
            assert_eq!(fabric.absent(witness, validators), APPLIED);
        }
        fabric.clock_ms += VOTE_KEPT_MS / 2;
        fabric.next_epoch();
        assert_eq!(fabric.validators().len(), usize::from(validators));
        fabric.clock_ms += VOTE_KEPT_MS / 2;
        fabric.next_epoch();
        let now = fabric.validators();
        assert_eq!(now.contains(&node(validators)), keeps);
        assert_eq!(now.len(), 4);
    }
}

#[test]
fn of_many_absent_those_go_that_are_away_longest_and_may_return() {
    let mut fabric = founded(6);
    for about in [6, 5, 4] {
        for witness in [1, 2] {
            assert_eq!(fabric.absent(witness, about), APPLIED);
        }
    }
    fabric.clock_ms += VOTE_KEPT_MS;
    // The first may be at its last block, for which it is too late.
    fabric.next_epoch();
    fabric.next_epoch();
    let mut left: Vec<_> = (1..=4).map(node).collect();
    left.sort_unstable();
    assert_eq!(fabric.validators(), left);
    assert_eq!(fabric.present(6, 6), APPLIED);
    let node = node(6);
    for voter in 1..=3 {
        let vote = ValidatorOperation::Vote(ValidatorChange::Add { node });
        assert_eq!(
            fabric.run_as(&secret(voter), Operation::Validator(vote)),
            APPLIED
        );
    }
    fabric.next_epoch();
    assert!(fabric.validators().contains(&node));
}

/// The bytes of a report and of the entries are part of the formats.
#[test]
fn bytes_are_pinned() {
    let mut fabric = founded(4);
    let absent = Operation::Liveness(LivenessOperation::Absent { node: node(3) });
    let transaction = fabric.sign(&secret(1), 0, absent);
    let body = transaction.len() - 64;
    assert_eq!(transaction[body - 34..body - 32], [15, 0]);
    assert_eq!(transaction[body - 32..body], node(3).as_bytes()[..]);
    let present = Operation::Liveness(LivenessOperation::Present { node: node(3) });
    let transaction = fabric.sign(&secret(1), 0, present);
    assert_eq!(transaction[body - 34..body - 32], [15, 1]);
    assert_eq!(fabric.absent(1, 3), APPLIED);
    let mut entry = vec![1, 1];
    entry.extend(node(1).as_bytes());
    // Height 2, time 1,002.
    entry.extend([2, 0xea, 0x07]);
    assert_eq!(fabric.state[&StateKey::absence(&node(3))], entry);
    let mut list = vec![1, 1];
    list.extend(node(3).as_bytes());
    assert_eq!(fabric.state[&StateKey::absences()], list);
}

/// What a liar signs: who of the liars, about whom, and what.
fn lies() -> impl Strategy<Value = Vec<(u8, u8, bool)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn liars_make_nobody_absent_and_cost_nobody_the_vote(
        validators in prop::sample::select(vec![4_u8, 7, 10]),
        lies in lies(),
    ) {
        let mut fabric = founded(validators);
        let before = fabric.validators();
        let liars = (validators - 1) / 3;
        for (liar, about, says_absent) in lies {
            let (liar, about) = (1 + liar % liars, 1 + about % (validators + FOLLOWERS));
            if says_absent {
                fabric.absent(liar, about);
            } else {
                fabric.present(liar, about);
            }
            fabric.clock_ms += VOTE_KEPT_MS;
            fabric.check_absences();
            for node in 1..=validators + FOLLOWERS {
                prop_assert_eq!(fabric.since(node), None);
            }
        }
        fabric.next_epoch();
        prop_assert_eq!(fabric.validators(), before);
    }
}
