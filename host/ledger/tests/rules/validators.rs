//! Validators: who decides about them, when a change takes effect, and what contradicting oneself
//! costs.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    Contradiction, Evidence, Genesis, Operation, Refusal, SignedVote, StateKey, TransactionOutcome,
    ValidatorChange, ValidatorOperation, Vote, quorum,
};
use proptest::prelude::*;
use types::{Digest, PublicKey, Signature};

use crate::membership::{APPLIED, refused, secret};
use crate::{Fabric, public};

const EPOCH_BLOCKS: u32 = 8;
/// Seeds of members that are founders, with a vote or without.
const MEMBERS: u8 = 7;

/// Founders 1 to 7, of whom the first `validators` vote.
pub(crate) fn founded(validators: u8) -> Fabric {
    let operator = SigningKey::from_bytes(&[42; 32]);
    let keys = |count| (1..=count).map(|seed| public(&secret(seed))).collect();
    let operators = vec![public(&operator)];
    let genesis = Genesis::new(1_000, [7; 16], keys(validators), keys(MEMBERS), operators);
    let genesis = genesis.unwrap().with_epoch_blocks(EPOCH_BLOCKS);
    Fabric::of(genesis.unwrap(), operator)
}

fn add(seed: u8) -> ValidatorOperation {
    let node = public(&secret(seed));
    ValidatorOperation::Vote(ValidatorChange::Add { node })
}

fn remove(seed: u8) -> ValidatorOperation {
    let node = public(&secret(seed));
    ValidatorOperation::Vote(ValidatorChange::Remove { node })
}

impl Fabric {
    fn by(&mut self, seed: u8, operation: ValidatorOperation) -> TransactionOutcome {
        self.run_as(&secret(seed), Operation::Validator(operation))
    }

    pub(crate) fn validators(&self) -> Vec<PublicKey> {
        self.view().fabric().unwrap().unwrap().validators
    }

    fn next(&self) -> Option<Vec<PublicKey>> {
        self.view().committee().unwrap().next
    }

    pub(crate) fn next_epoch(&mut self) {
        loop {
            self.block(&[]);
            if self.genesis.begins_epoch(self.height) {
                return;
            }
        }
    }
}

fn sorted(seeds: impl IntoIterator<Item = u8>) -> Vec<PublicKey> {
    let mut keys: Vec<_> = seeds
        .into_iter()
        .map(|seed| public(&secret(seed)))
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_lone_validator_adds_others_with_the_next_epoch() {
    let mut fabric = founded(1);
    for seed in 2..=4 {
        assert_eq!(fabric.by(1, add(seed)), APPLIED);
    }
    assert_eq!(fabric.validators(), sorted([1]));
    assert_eq!(fabric.next(), Some(sorted(1..=4)));
    fabric.next_epoch();
    assert_eq!((fabric.validators(), fabric.next()), (sorted(1..=4), None));
}

#[test]
fn more_than_two_thirds_decide() {
    let mut fabric = founded(4);
    assert_eq!(fabric.by(1, add(5)), APPLIED);
    assert_eq!(fabric.by(2, add(5)), APPLIED);
    // Saying it twice is one vote.
    assert_eq!(fabric.by(2, add(5)), APPLIED);
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted(1..=4));
    assert_eq!(fabric.by(3, add(5)), APPLIED);
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted(1..=5));
}

#[test]
fn votes_are_counted_again_when_fewer_are_enough() {
    let mut fabric = founded(5);
    for voter in 1..=3 {
        assert_eq!(fabric.by(voter, add(6)), APPLIED);
    }
    assert_eq!(fabric.next(), None);
    assert_eq!(fabric.by(5, ValidatorOperation::Resign), APPLIED);
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted(1..=4));
    assert_eq!(fabric.next(), Some(sorted([1, 2, 3, 4, 6])));
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted([1, 2, 3, 4, 6]));
}

#[test]
fn what_fewer_votes_would_decide_is_dropped_where_it_cannot_be_done() {
    let mut fabric = founded(5);
    let node = public(&fabric.member(60));
    let vote = ValidatorOperation::Vote(ValidatorChange::Add { node });
    for voter in 1..=3 {
        assert_eq!(fabric.by(voter, vote), APPLIED);
    }
    assert_eq!(fabric.evict(node), APPLIED);
    assert_eq!(fabric.by(5, ValidatorOperation::Resign), APPLIED);
    fabric.next_epoch();
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted(1..=4));
    assert!(fabric.view().committee().unwrap().proposed.is_empty());
}

#[test]
fn only_validators_vote_about_members_that_can_change() {
    let mut fabric = founded(2);
    let node = |seed| public(&secret(seed));
    assert_eq!(
        fabric.by(3, add(3)),
        refused(Refusal::NotAValidator(node(3)))
    );
    assert_eq!(fabric.by(1, add(2)), refused(Refusal::IsValidator(node(2))));
    assert_eq!(
        fabric.by(1, remove(3)),
        refused(Refusal::NotAValidator(node(3)))
    );
    assert_eq!(
        fabric.by(1, add(90)),
        refused(Refusal::NotAMember(node(90)))
    );
    assert_eq!(fabric.by(2, ValidatorOperation::Resign), APPLIED);
    assert_eq!(
        fabric.by(1, ValidatorOperation::Resign),
        refused(Refusal::LastValidator(node(1)))
    );
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted([1]));
    assert_eq!(
        fabric.by(2, add(3)),
        refused(Refusal::NotAValidator(node(2)))
    );
}

#[test]
fn a_member_with_a_vote_cannot_be_put_out() {
    let mut fabric = founded(1);
    let node = fabric.member(60);
    let vote = ValidatorOperation::Vote(ValidatorChange::Add {
        node: public(&node),
    });
    assert_eq!(fabric.by(1, vote), APPLIED);
    let founder = refused(Refusal::Founder(public(&node)));
    assert_eq!(fabric.evict(public(&node)), founder);
    fabric.next_epoch();
    assert_eq!(fabric.evict(public(&node)), founder);
    let resign = Operation::Validator(ValidatorOperation::Resign);
    assert_eq!(fabric.run_as(&node, resign), APPLIED);
    assert_eq!(
        fabric.evict(public(&node)),
        founder,
        "it votes until the epoch ends"
    );
    fabric.next_epoch();
    assert_eq!(fabric.evict(public(&node)), APPLIED);
}

fn signed(fabric: &Fabric, key: &SigningKey, vote: Vote, view: u64) -> SignedVote {
    let bytes = vote.signing_bytes(&fabric.genesis.fabric_id(), 0, view);
    let signature = Signature::from_bytes(key.sign(&bytes).to_bytes());
    SignedVote { vote, signature }
}

fn contradiction(fabric: &Fabric, key: &SigningKey, votes: [Vote; 2]) -> Contradiction {
    let [first, second] = votes.map(|vote| signed(fabric, key, vote, 9));
    Contradiction {
        validator: public(key),
        epoch: 0,
        view: 9,
        first,
        second,
    }
}

fn notarize(block: &[u8]) -> Vote {
    Vote::Notarize {
        parent: 8,
        block: Digest::of(block),
    }
}

#[test]
fn contradictory_votes_cost_the_vote_for_good() {
    let mut fabric = founded(4);
    let liar = secret(2);
    let accuse = |contradiction| Operation::Evidence(Evidence::Contradiction(contradiction));
    let votes = [notarize(b"one"), notarize(b"two")];
    let honest = contradiction(&fabric, &liar, [notarize(b"one"), Vote::Nullify]);
    assert_eq!(
        fabric.run_as(&secret(1), accuse(honest)),
        refused(Refusal::NoContradiction)
    );
    let proven = contradiction(&fabric, &liar, votes);
    let framed = Contradiction {
        validator: public(&secret(3)),
        ..proven.clone()
    };
    let other_view = Contradiction {
        view: 10,
        ..proven.clone()
    };
    let other_epoch = Contradiction {
        epoch: 1,
        ..proven.clone()
    };
    for (forged, of) in [(framed, 3), (other_view, 2), (other_epoch, 2)] {
        assert_eq!(
            fabric.run_as(&secret(1), accuse(forged)),
            refused(Refusal::VoteSignature(public(&secret(of))))
        );
    }
    // Anyone may hand it in: a member without a vote, the operator.
    assert_eq!(fabric.run_as(&secret(7), accuse(proven.clone())), APPLIED);
    assert_eq!(fabric.validators(), sorted(1..=4));
    let at = fabric.height;
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted([1, 3, 4]));
    let node = public(&liar);
    let convicted = refused(Refusal::Convicted { node, at });
    assert_eq!(fabric.by(1, add(2)), convicted);
    assert_eq!(fabric.run_as(&secret(1), accuse(proven)), convicted);
    let stranger = contradiction(&fabric, &secret(7), votes);
    assert_eq!(
        fabric.run_as(&secret(1), accuse(stranger)),
        refused(Refusal::NotAValidator(public(&secret(7))))
    );
    let convictions = fabric.view().convictions().unwrap();
    assert_eq!(convictions.into_keys().collect::<Vec<_>>(), [node]);
}

#[test]
fn the_only_validator_is_convicted_but_cannot_be_replaced_by_nobody() {
    let mut fabric = founded(1);
    let proven = contradiction(&fabric, &secret(1), [notarize(b"one"), notarize(b"two")]);
    let evidence = Operation::Evidence(Evidence::Contradiction(proven));
    assert_eq!(fabric.run(evidence), APPLIED);
    assert_eq!(fabric.view().convictions().unwrap().len(), 1);
    fabric.next_epoch();
    assert_eq!(fabric.validators(), sorted([1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whoever votes for whatever: somebody always has a vote, nobody has two, and a change
    /// needs a quorum or the one whom it takes the vote from.
    #[test]
    fn votes_of_any_kind_leave_a_committee(
        founders in 1..=MEMBERS,
        steps in prop::collection::vec((1..=MEMBERS, 0..3_u8, 1..=MEMBERS), 1..60),
    ) {
        let mut fabric = founded(founders);
        let mut votes: BTreeMap<_, BTreeSet<u8>> = BTreeMap::new();
        for (by, what, about) in steps {
            let before = fabric.next().unwrap_or_else(|| fabric.validators());
            let (operation, resigns) = match what {
                0 => (add(about), false),
                1 => (remove(about), false),
                _ => (ValidatorOperation::Resign, true),
            };
            let in_office = fabric.validators();
            if !resigns && in_office.contains(&public(&secret(by))) {
                votes.entry((what, about)).or_default().insert(by);
            }
            let outcome = fabric.by(by, operation);
            let after = fabric.next().unwrap_or_else(|| fabric.validators());
            prop_assert!(!after.is_empty());
            let mut distinct = after.clone();
            distinct.dedup();
            prop_assert_eq!(&distinct, &after);
            let epoch_began = fabric.genesis.begins_epoch(fabric.height);
            if after != before && !epoch_began {
                prop_assert_eq!(outcome, APPLIED);
                prop_assert!(in_office.contains(&public(&secret(by))));
                let votes = votes.get(&(what, about)).map_or(0, BTreeSet::len);
                prop_assert!(resigns || votes >= quorum(in_office.len()));
                prop_assert_eq!(after.len().abs_diff(before.len()), 1);
            }
        }
    }
}

/// Every operation of these families as it is signed, and every record as it is kept: a change
/// here is a fork.
#[test]
fn operations_and_records_are_these_bytes() {
    let mut fabric = founded(4);
    let votes = [notarize(b"one"), notarize(b"two")];
    let vote = |key: &SigningKey, votes| contradiction(&fabric, key, votes);
    let finalize = Vote::Finalize {
        parent: 300,
        block: Digest::of(b"one"),
    };
    let evidence = [
        vote(&secret(2), votes),
        vote(&secret(2), [Vote::Nullify, finalize]),
    ];
    let mut operations = vec![
        Operation::Validator(add(5)),
        Operation::Validator(remove(3)),
        Operation::Validator(ValidatorOperation::Resign),
    ];
    let evidence = evidence.map(|it| Operation::Evidence(Evidence::Contradiction(it)));
    operations.extend(evidence);
    let bytes: Vec<u8> = operations
        .iter()
        .flat_map(|operation| fabric.sign(&secret(1), 0, operation.clone()))
        .collect();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_OPERATIONS);
    for operation in operations {
        fabric.run_as(&secret(1), operation);
    }
    let kept = ["committee", "conviction/"].map(|prefix| {
        let of = |key: &&_| StateKey::as_bytes(key).starts_with(prefix.as_bytes());
        let keys = fabric.state.keys().filter(of);
        keys.flat_map(|key| fabric.state[key].clone())
            .collect::<Vec<_>>()
    });
    assert!(kept.iter().all(|bytes| !bytes.is_empty()));
    assert_eq!(Digest::of(&kept.concat()).to_string(), PINNED_RECORDS);
}

const PINNED_OPERATIONS: &str =
    "blake3:b96cbffacc080205cdc190a7af77fea479c78c14947f70ac53fe754fbefbfafa";
const PINNED_RECORDS: &str =
    "blake3:697c420f77fa8d7b905d12a3e1e27399aa203b485dc362458e1289313ab55d07";
