//! Epochs: agreement goes on from one to the next, validators change between them while work goes
//! on, and whoever knows the genesis can check what later validators signed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::simulated::Forger;
use hypermesh_consensus::{
    Channel, Committees, FinalizedProof, Outgoing, Role, SecretKey, VerifyFinalizedError,
    verify_finalized,
};
use ledger::{
    Evidence, Genesis, Operation, Refusal, TransactionOutcome, ValidatorChange, ValidatorOperation,
};

use crate::committee::{deploy, follow_all, same_blocks};
use crate::follow::stop_alike;
use crate::memory::{Member, Memory};
use crate::support::{Dice, Principal, genesis_with_epochs, key_of};

fn connect_all(memory: &Memory, count: u8) {
    for one in 1..=count {
        for other in 1..one {
            memory.connect(one, other);
        }
    }
}

pub(crate) async fn start_all(memory: &Memory, count: u8, genesis: &Genesis) -> Vec<Member> {
    connect_all(memory, count);
    let start = |key| Member::start_of(memory, key, genesis.clone());
    join_all((1..=count).map(start)).await
}

pub(crate) fn add(key: u8) -> ValidatorChange {
    ValidatorChange::Add { node: key_of(key) }
}

pub(crate) fn remove(key: u8) -> ValidatorChange {
    ValidatorChange::Remove { node: key_of(key) }
}

/// The nodes as signers, by key.
pub(crate) struct Voters(BTreeMap<u8, Principal>);

impl Voters {
    pub(crate) fn of(genesis: &Genesis, count: u8) -> Self {
        let voter = |key| (key, Principal::node_in(genesis, key));
        Self((1..=count).map(voter).collect())
    }

    /// Lets the nodes of these keys vote for a change, in order. Late votes are refused once it is
    /// decided, or once the voter has lost its own.
    pub(crate) async fn vote(&self, members: &[Member], by: &[u8], change: ValidatorChange) {
        for key in by {
            let member = members.iter().find(|member| member.key == *key);
            let member = member.expect("a running node");
            let operation = Operation::Validator(ValidatorOperation::Vote(change));
            let end = member.node.submit(self.0[key].sign(operation)).await;
            match end.outcome {
                TransactionOutcome::Applied => {}
                TransactionOutcome::Refused(
                    Refusal::NotAValidator(_) | Refusal::IsValidator(_),
                ) => return,
                TransactionOutcome::Refused(other) => panic!("{change:?} by {key}: {other}"),
            }
        }
    }
}

/// Reads the streams of all until so many vote in the epoch of each.
pub(crate) async fn until_validators(members: &mut [Member], count: usize) {
    let reached = |member: &Member| {
        let status = member.node.ledger.status();
        status.validators == count && status.next_validators.is_none()
    };
    for _ in 0..1_500 {
        members.iter_mut().for_each(|member| member.node.drain());
        if members.iter().all(reached) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let states: Vec<_> = members
        .iter()
        .map(|member| member.node.ledger.status())
        .collect();
    panic!("not {count} validators: {states:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_validator_goes_through_epochs_and_starts() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(1, 2, 4);
    let operator = Principal::operator_in(&genesis, 0);
    memory.connect(1, 2);
    let mut alone = Member::start_of(&memory, 1, genesis.clone()).await;
    let mut height = 0;
    for index in 0..13 {
        height = deploy(&alone, &operator, &format!("shop-{index}")).await;
        if index % 3 == 2 {
            alone.node.follow_to(height).await;
            alone = alone.restart(&memory).await;
        }
    }
    // Every fourth block ends an epoch and carries nothing.
    assert!(height >= 13 + 13 / 4, "height {height}");
    assert_eq!(alone.node.ledger.status().epoch, height / 4);
    assert!(alone.node.ledger.handovers().is_empty());
    let late = Member::start_of(&memory, 2, genesis).await;
    let mut members = vec![alone, late];
    same_blocks(&mut members, height).await;
    stop_alike(members).await;
}

/// One validator becomes four, then seven, then one again, while two operators deploy.
#[tokio::test(flavor = "multi_thread")]
async fn validators_change_while_work_goes_on() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(1, 7, 8);
    let mut members = start_all(&memory, 7, &genesis).await;
    let voters = Voters::of(&genesis, 7);
    let (ledgers, load): (Vec<_>, _) = (
        members
            .iter()
            .map(|member| member.node.ledger.clone())
            .collect(),
        Principal::operator_in(&genesis, 1),
    );
    let enough = Arc::new(AtomicBool::new(false));
    let is_enough = enough.clone();
    let work = tokio::spawn(async move {
        let mut height = 0;
        for index in 0.. {
            let ledger = &ledgers[index % ledgers.len()];
            let end = ledger.submit(load.deploy(&format!("load-{index}"))).await;
            let end = end.expect("finality");
            assert_eq!(end.outcome, TransactionOutcome::Applied);
            height = end.height;
            if is_enough.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        height
    });
    for key in 2..=4 {
        voters.vote(&members, &[1, 2, 3], add(key)).await;
    }
    until_validators(&mut members, 4).await;
    assert_eq!(members[3].node.ledger.status().role, Role::Validator);
    assert_eq!(members[4].node.ledger.status().role, Role::Follower);
    let with = &[1, 2, 3, 4, 5];
    for key in 5..=7 {
        voters.vote(&members, with, add(key)).await;
    }
    until_validators(&mut members, 7).await;
    for (leaving, by, left) in [
        ([7, 6], [1, 2, 3, 4, 5].as_slice(), 5),
        ([5, 4], &[1, 2, 3, 4], 3),
        ([3, 2], &[1, 2, 3], 1),
    ] {
        for key in leaving {
            voters.vote(&members, by, remove(key)).await;
        }
        until_validators(&mut members, left).await;
    }
    assert_eq!(members[6].node.ledger.status().role, Role::Follower);
    let operator = Principal::operator_in(&genesis, 0);
    let height = deploy(&members[5], &operator, "after-all").await;
    same_blocks(&mut members, height).await;
    check_proofs(&members[6], &genesis, height).await;
    // Nothing waits any more when it ends, so no block follows its last one.
    enough.store(true, Ordering::Relaxed);
    let last = work.await.expect("the work goes on until the end");
    follow_all(&mut members, last.max(height)).await;
    stop_alike(members).await;
}

/// A block of the last epoch is proven by the chain of handovers, and by nothing less.
async fn check_proofs(member: &Member, genesis: &Genesis, height: u64) {
    let ledger = &member.node.ledger;
    let handovers = ledger.handovers();
    let committees = Committees::of(genesis).expect("a good genesis");
    let votes: Vec<_> = handovers
        .iter()
        .map(|handover| committees.take(handover).expect("a proof").committee.len())
        .collect();
    assert!(
        votes.contains(&4) && votes.contains(&7) && votes.last() == Some(&1),
        "{votes:?}"
    );
    let second = ledger.handovers().remove(1);
    let verdict = verify_finalized(genesis, &second.block, &second.certificate);
    assert!(
        matches!(
            verdict,
            Err(VerifyFinalizedError::Signatures { .. } | VerifyFinalizedError::Certificate { .. })
        ),
        "{verdict:?}"
    );
    for height in (1..=height).rev() {
        let FinalizedProof { block, certificate } = ledger
            .finalized(height)
            .await
            .expect("an answer")
            .expect("a block");
        let Some(certificate) = certificate else {
            continue;
        };
        assert_eq!(
            committees
                .verify(&block, &certificate)
                .expect("a proof")
                .height,
            height
        );
        return;
    }
    panic!("no block has a certificate");
}

/// Killed at any instant around the ends of short epochs, everybody goes on.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_the_ends_of_epochs_lose_nothing() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(4, 5, 4);
    let mut members = start_all(&memory, 5, &genesis).await;
    let operator = Principal::operator_in(&genesis, 0);
    let mut dice = Dice(memory.seed);
    let mut height = 0;
    for round in 0..8 {
        let victim = usize::try_from(dice.below(5)).unwrap();
        let victim = members.remove(victim).kill();
        for index in 0..3 {
            let on = usize::try_from(dice.below(4)).unwrap();
            let name = format!("shop-{round}-{index}");
            let deployed = deploy(&members[on], &operator, &name);
            let deployed = tokio::time::timeout(Duration::from_secs(90), deployed).await;
            height = deployed.unwrap_or_else(|_| {
                let state = |member: &Member| (member.key, member.node.ledger.status());
                let states: Vec<_> = members.iter().map(state).collect();
                panic!("{name} does not become final: {states:#?}")
            });
        }
        members.push(victim.start_again(&memory).await);
    }
    follow_all(&mut members, height).await;
    stop_alike(members).await;
}

/// Who was away while all validators but one were replaced finds its way through the handovers:
/// one that lost its vote meanwhile, and one that never had one.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_were_away_follow_the_handovers() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(4, 8, 6);
    let mut members = start_all(&memory, 7, &genesis).await;
    let voters = Voters::of(&genesis, 7);
    let operator = Principal::operator_in(&genesis, 0);
    let height = deploy(&members[0], &operator, "before").await;
    follow_all(&mut members, height).await;
    let away = members.remove(3).kill();
    let with = &[1, 2, 3, 5, 6];
    for key in [5, 6, 7] {
        voters.vote(&members, with, add(key)).await;
    }
    until_validators(&mut members, 7).await;
    for key in [4, 3] {
        voters.vote(&members, &[1, 2, 3, 5, 6], remove(key)).await;
    }
    voters.vote(&members, &[1, 2, 5, 6, 7], remove(2)).await;
    until_validators(&mut members, 4).await;
    connect_all(&memory, 8);
    members.push(away.start_again(&memory).await);
    members.push(Member::start_of(&memory, 8, genesis.clone()).await);
    let height = deploy(&members[6], &operator, "after").await;
    same_blocks(&mut members, height).await;
    assert_eq!(members[6].node.ledger.status().role, Role::Follower);
    assert!(members[7].node.ledger.handovers().len() >= 2);
    stop_alike(members).await;
}

/// Sends both what the node of `key` votes for and the contrary to everybody.
fn equivocate(memory: &Memory, key: u8, genesis: &Genesis) {
    let forger = Forger::new(genesis, &SecretKey::from([key; 32])).expect("a validator");
    let network = memory.clone();
    memory.alter(key, move |message| {
        let forged = (message.channel == Channel::Votes)
            .then(|| forger.contradict(&message.bytes, 1))
            .flatten();
        if let Some(forged) = forged {
            let contrary = Outgoing {
                bytes: forged.into(),
                ..message.clone()
            };
            let network = network.clone();
            tokio::spawn(async move { network.forge(key, contrary) });
        }
        Some(message)
    });
}

/// The others agree meanwhile, prove it, and go on without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_votes_twice_loses_its_vote() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(4, 4, 6);
    let mut members = start_all(&memory, 4, &genesis).await;
    let operator = Principal::operator_in(&genesis, 0);
    deploy(&members[0], &operator, "before").await;
    equivocate(&memory, 4, &genesis);
    let [ledger, second, third] = [0, 1, 2].map(|index: usize| members[index].node.ledger.clone());
    let mut work = 0;
    let evidence = loop {
        let name = format!("during-{work}");
        tokio::select! {
            evidence = ledger.evidence() => break evidence,
            evidence = second.evidence() => break evidence,
            evidence = third.evidence() => break evidence,
            _ = deploy(&members[1], &operator, &name) => work += 1,
        }
        members.iter_mut().for_each(|member| member.node.drain());
    };
    let Evidence::Contradiction(contradiction) = &evidence;
    assert_eq!(contradiction.validator, key_of(4));
    let accuser = Principal::node_in(&genesis, 1);
    let end = ledger
        .submit(accuser.sign(Operation::Evidence(evidence)))
        .await;
    assert_eq!(end.expect("finality").outcome, TransactionOutcome::Applied);
    // It is blocked for a while, and does not follow meanwhile.
    let liar = members.pop().expect("four members");
    until_validators(&mut members, 3).await;
    let operator = Principal::operator_in(&genesis, 1);
    let height = deploy(&members[2], &operator, "after").await;
    same_blocks(&mut members, height).await;
    drop(liar);
    stop_alike(members).await;
}
