//! Space: what hosts keep, challenges by anybody, and what becomes of who does not answer.

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    ANSWER_BLOCKS, ANSWER_MS, AllowanceRecord, AssetOperation, AssetRefusal, CHALLENGE_PAUSE_MS,
    KEPT_MAX, KeptContent, OpenChallenge, Operation, Refusal, Role, RoleOperation, SpaceOperation,
    SpaceRecord, TransactionOutcome,
};
use proofs::{Answer, Challenge, ProofKind, SignedAnswer, beacon_of, build_tree};
use types::{AssetFacts, AssetId, AssetPolicy, AssetType, Digest, Privacy, StorageFacts};

use crate::assets::{refused_asset, shared_as};
use crate::leases::MINUTE_MS;
use crate::membership::{APPLIED, refused, secret};
use crate::proven::signed;
use crate::proving::shared;
use crate::{Fabric, block_digest, public};

/// A content of 100 kB that differs by its first byte.
fn content(number: u8) -> Vec<u8> {
    let mut bytes = vec![0; 100_000];
    bytes[0] = number;
    bytes
}

/// Its outboard and its digest.
fn tree(bytes: &Vec<u8>) -> (Vec<u8>, Digest) {
    let mut outboard = Vec::new();
    let mut save = |offset: u64, pair: &[u8; 64]| {
        let offset = usize::try_from(offset).unwrap();
        if outboard.len() < offset + 64 {
            outboard.resize(offset + 64, 0);
        }
        outboard[offset..offset + 64].copy_from_slice(pair);
        Ok(())
    };
    let root = build_tree(bytes, bytes.len() as u64, &mut save).unwrap();
    (outboard, root)
}

impl Fabric {
    /// What a host that keeps all [`content`] answers.
    pub(crate) fn kept_answer(&self, challenge: &Challenge) -> Answer {
        let root = challenge.commitment().root;
        let found = (0..=255_u8).map(content).find_map(|bytes| {
            let (outboard, digest) = tree(&bytes);
            (digest == root).then_some((bytes, outboard))
        });
        let (bytes, outboard) = found.unwrap();
        Answer::read(self.genesis.fabric_id(), challenge, &bytes, &outboard).unwrap()
    }

    fn keep(&mut self, host: &SigningKey, asset: AssetId, number: u8) -> TransactionOutcome {
        let bytes = content(number);
        let content = KeptContent {
            root: tree(&bytes).1,
            bytes: bytes.len() as u64,
        };
        self.asset(host, AssetOperation::Keep { asset, content })
    }

    fn space(&mut self, signer: &SigningKey, what: SpaceOperation) -> TransactionOutcome {
        self.run_as(signer, Operation::Space(what))
    }

    fn space_now(&self, asset: &AssetId) -> SpaceRecord {
        self.view().space_of(asset).unwrap()
    }

    /// What is asked by the challenge that is open.
    fn asked(&self, host: &SigningKey, asset: &AssetId) -> Challenge {
        let space = self.space_now(asset);
        let OpenChallenge { height, .. } = space.open.unwrap();
        let beacon = beacon_of(&block_digest(height));
        let commitment = space.commitment(&beacon, public(host), asset);
        Challenge::draw(&beacon, height, &commitment)
    }
}

fn answer(asset: AssetId, host: &SigningKey, answer: Answer) -> SpaceOperation {
    let signature = signed(host, &answer.signing_bytes());
    let answer = Box::new(SignedAnswer { answer, signature });
    SpaceOperation::Answer { asset, answer }
}

/// A node with a disk that everybody may lease.
fn disk() -> (Fabric, SigningKey, SigningKey, AssetId) {
    let mut fabric = Fabric::new();
    let (host, other) = (fabric.member(50), fabric.member(51));
    let facts = AssetFacts::Storage(StorageFacts {
        bytes: 1_000_000,
        write_bytes_per_s: 1,
        read_bytes_per_s: 1,
        flush_us: 1,
    });
    let policy = shared_as(Privacy::PublicNetwork);
    let asset = fabric.register(&host, public(&host), &facts, policy);
    (fabric, host, other, asset.unwrap())
}

#[test]
fn who_keeps_what_it_committed_to_answers_and_who_lost_it_is_marked() {
    let (mut fabric, host, other, asset) = disk();
    for number in 0..3 {
        assert_eq!(fabric.keep(&host, asset, number), APPLIED);
    }
    assert_eq!(fabric.space_now(&asset).kept.len(), 3);
    let bond = RoleOperation::Allow {
        principal: public(&host),
        allowance: AllowanceRecord {
            bond: 70,
            ..AllowanceRecord::default()
        },
    };
    assert_eq!(fabric.run(Operation::Role(bond)), APPLIED);
    let challenge = || SpaceOperation::Challenge { asset };
    assert_eq!(fabric.space(&other, challenge()), APPLIED);
    let good = fabric.kept_answer(&fabric.asked(&host, &asset));
    assert_eq!(fabric.space(&other, answer(asset, &host, good)), APPLIED);
    let space = fabric.space_now(&asset);
    assert_eq!((space.open, space.failed_at), (None, None));
    assert_eq!(space.proven_at, Some(fabric.height));

    // A chunk is gone: the host has nothing to show but what does not lead to the root.
    fabric.clock_ms += CHALLENGE_PAUSE_MS;
    assert_eq!(fabric.space(&other, challenge()), APPLIED);
    let mut damaged = fabric.kept_answer(&fabric.asked(&host, &asset));
    damaged.chunks[7].content[3] ^= 1;
    let outcome = fabric.space(&host, answer(asset, &host, damaged));
    let TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Proof { kind, .. })) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(kind, ProofKind::Space);
    let early = fabric.space(&other, SpaceOperation::Settle { asset });
    assert!(matches!(
        early,
        TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::StillOpen { .. }))
    ));
    fabric.clock_ms += ANSWER_MS;
    for _ in 0..ANSWER_BLOCKS {
        fabric.block(&[]);
    }
    let late = fabric.kept_answer(&fabric.asked(&host, &asset));
    let outcome = fabric.space(&host, answer(asset, &host, late));
    let TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Proof { reason, .. })) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("the deadline was"), "{reason}");
    assert_eq!(
        fabric.space(&other, SpaceOperation::Settle { asset }),
        APPLIED
    );
    let at = fabric.space_now(&asset).failed_at.unwrap();
    assert_eq!(at, fabric.height);
    let allowance = fabric.view().allowance(&public(&host)).unwrap();
    assert_eq!(allowance.bond, 0, "its bond is forfeit");
    let failed = refused_asset(AssetRefusal::SpaceFailed { asset, at });
    assert_eq!(fabric.lease(&other, asset, 1, MINUTE_MS), Err(failed));

    // It found its data again.
    fabric.clock_ms += CHALLENGE_PAUSE_MS;
    assert_eq!(fabric.space(&other, challenge()), APPLIED);
    let good = fabric.kept_answer(&fabric.asked(&host, &asset));
    assert_eq!(fabric.space(&host, answer(asset, &host, good)), APPLIED);
    fabric.lease(&other, asset, 1, MINUTE_MS).unwrap();
}

#[test]
fn an_answer_counts_by_blocks_or_by_time_whichever_ends_later() {
    let open = OpenChallenge {
        height: 100,
        time_ms: 5_000,
    };
    let (soon, over) = (5_000 + ANSWER_MS, 5_001 + ANSWER_MS);
    let last = 100 + ANSWER_BLOCKS;
    // A leader that sets time ahead, and a fabric that makes many blocks.
    assert!(!open.is_overdue(last, u64::MAX));
    assert!(!open.is_overdue(100_000, soon));
    assert!(open.is_overdue(last + 1, over));
    assert_eq!(open.deadline(last, over), last);
    assert_eq!(open.deadline(200, soon), 200);
}

#[test]
fn nobody_answers_for_another_nor_what_was_asked_before() {
    let (mut fabric, host, other, asset) = disk();
    assert_eq!(fabric.keep(&host, asset, 1), APPLIED);
    let none = SpaceOperation::Settle { asset };
    let not_asked = refused_asset(AssetRefusal::NotChallenged(asset));
    assert_eq!(fabric.space(&other, none), not_asked);
    assert_eq!(
        fabric.space(&other, SpaceOperation::Challenge { asset }),
        APPLIED
    );
    let asked = fabric.asked(&host, &asset);
    let first = fabric.kept_answer(&asked);
    let forged = answer(asset, &other, first.clone());
    let outcome = fabric.space(&other, forged);
    assert!(format!("{outcome:?}").contains("Space"), "{outcome:?}");
    assert_eq!(
        fabric.space(&other, answer(asset, &host, first.clone())),
        APPLIED
    );
    fabric.clock_ms += CHALLENGE_PAUSE_MS;
    assert_eq!(
        fabric.space(&other, SpaceOperation::Challenge { asset }),
        APPLIED
    );
    let replayed = fabric.space(&host, answer(asset, &host, first));
    let TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Proof { reason, .. })) = replayed
    else {
        panic!("{replayed:?}");
    };
    assert!(reason.contains("the beacon of height"), "{reason}");
}

#[test]
fn operations_on_a_disk_show_what_it_keeps() {
    let (mut fabric, host, other, asset) = disk();
    assert_eq!(fabric.keep(&host, asset, 1), APPLIED);
    // The harness answers with the content: the ledger drew it.
    let lease = fabric.lease(&other, asset, 10, MINUTE_MS).unwrap();
    assert_eq!(fabric.release(&other, lease), APPLIED);
    // That the host is there is not enough any more.
    let drain = AssetOperation::Drain { asset };
    let mut parts = fabric.parts(&host, &drain);
    let presence = proofs::Commitment::presence(public(&host), *asset.digest());
    let beacon = beacon_of(&parts.anchor.digest);
    let challenge = Challenge::draw(&beacon, parts.anchor.height, &presence);
    let present = Answer::present(parts.fabric, &challenge);
    let signature = signed(&host, &present.signing_bytes());
    parts.answer = SignedAnswer {
        answer: present,
        signature,
    };
    let proven = hypermesh_ledger::Proven::seal(drain, parts, |bytes| signed(&host, bytes));
    let outcome = fabric.run_as(&host, Operation::Asset(proven));
    let TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Proof { kind, .. })) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(kind, ProofKind::Space);
}

#[test]
fn each_bound_of_what_is_kept_and_asked_is_told() {
    let (mut fabric, host, other, asset) = disk();
    let root = tree(&content(1)).1;
    let with = |bytes| AssetOperation::Keep {
        asset,
        content: KeptContent { root, bytes },
    };
    let room = |total| {
        refused_asset(AssetRefusal::Room {
            asset,
            total,
            room: 1_000_000,
        })
    };
    assert_eq!(fabric.asset(&host, with(0)), room(0));
    assert_eq!(fabric.asset(&host, with(1_000_001)), room(1_000_001));
    let not_host = AssetRefusal::NotHost {
        asset,
        host: public(&host),
    };
    assert_eq!(fabric.asset(&other, with(1)), refused_asset(not_host));
    assert_eq!(fabric.keep(&host, asset, 1), APPLIED);
    let twice = refused_asset(AssetRefusal::Kept { asset, root });
    assert_eq!(fabric.keep(&host, asset, 1), twice);
    let forget = |root| AssetOperation::Forget { asset, root };
    let unknown = Digest::of(b"unknown");
    let not_kept = refused_asset(AssetRefusal::NotKept {
        asset,
        root: unknown,
    });
    assert_eq!(fabric.asset(&host, forget(unknown)), not_kept);
    let not_owner = AssetRefusal::NotOwner {
        asset,
        owner: public(&host),
    };
    assert_eq!(fabric.asset(&other, forget(root)), refused_asset(not_owner));
    let challenge = || SpaceOperation::Challenge { asset };
    assert_eq!(fabric.space(&other, challenge()), APPLIED);
    let height = fabric.height;
    let open = refused_asset(AssetRefusal::Challenged { asset, height });
    assert_eq!(fabric.space(&other, challenge()), open);
    assert_eq!(fabric.asset(&host, forget(root)), open, "not to evade it");
    assert_eq!(fabric.keep(&host, asset, 2), open);
    let good = fabric.kept_answer(&fabric.asked(&host, &asset));
    assert_eq!(fabric.space(&host, answer(asset, &host, good)), APPLIED);
    let lately = fabric.space(&other, challenge());
    assert!(matches!(
        lately,
        TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::ChallengedLately { .. }))
    ));
    assert_eq!(fabric.asset(&host, forget(root)), APPLIED);
    let stranger = secret(99);
    let unknown = refused(Refusal::UnknownPrincipal(public(&stranger)));
    assert_eq!(fabric.space(&stranger, challenge()), unknown);
    let viewer = fabric.person(80, Role::Viewer);
    fabric.clock_ms += CHALLENGE_PAUSE_MS;
    assert_eq!(fabric.space(&viewer, challenge()), APPLIED);
    assert_eq!(
        fabric.asset(&host, AssetOperation::Retire { asset }),
        APPLIED
    );
    assert_eq!(fabric.entries("asset-space/"), 0);
}

#[test]
fn a_disk_keeps_so_many_contents_and_memory_keeps_none() {
    let (mut fabric, host, _, memory) = shared();
    let content = KeptContent {
        root: Digest::of(b"x"),
        bytes: 1,
    };
    let keep = AssetOperation::Keep {
        asset: memory,
        content,
    };
    let found = AssetType::Memory;
    let not_storage = AssetRefusal::NotStorage {
        asset: memory,
        found,
    };
    assert_eq!(fabric.asset(&host, keep), refused_asset(not_storage));
    let facts = AssetFacts::Storage(StorageFacts {
        bytes: 100_000_000,
        write_bytes_per_s: 1,
        read_bytes_per_s: 1,
        flush_us: 1,
    });
    let asset = fabric.register(&host, public(&host), &facts, AssetPolicy::private());
    let asset = asset.unwrap();
    for number in 0..u8::try_from(KEPT_MAX).unwrap() {
        assert_eq!(fabric.keep(&host, asset, number), APPLIED);
    }
    let what = "contents that one asset keeps".to_owned();
    let max = u32::try_from(KEPT_MAX).unwrap();
    let many = refused(Refusal::TooMany { what, max });
    assert_eq!(fabric.keep(&host, asset, 99), many);
}
