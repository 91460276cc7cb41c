//! Nodes that follow: what they reach, what they survive, and whom they refuse to believe.

use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::{Finality, Role, Status};
use ledger::{Refusal, TransactionOutcome};

use crate::memory::{Member, Memory};
use crate::support::{Principal, deployment_key};

/// The validator's key, and those of followers.
pub(crate) const A: u8 = 1;
pub(crate) const B: u8 = 2;
pub(crate) const C: u8 = 3;

/// Waits until `holds`, which must happen.
pub(crate) async fn until(what: &str, member: &Member, holds: impl Fn(&Status) -> bool) {
    for _ in 0..400 {
        if holds(&member.node.ledger.status()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {what}: {:?}", member.node.ledger.status());
}

pub(crate) async fn deploy(on: &Member, operator: &Principal, name: &str) -> u64 {
    let end = on.node.submit(operator.deploy(name)).await;
    assert_eq!(end.outcome, TransactionOutcome::Applied, "{name}");
    end.height
}

/// Stops all of them and compares what they lead to.
pub(crate) async fn stop_alike(members: Vec<Member>) {
    let mut states = Vec::new();
    for member in members {
        states.push(member.stop().await);
    }
    assert!(
        states.windows(2).all(|pair| pair[0] == pair[1]),
        "{states:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_reach_the_state_of_the_validator() {
    let memory = Memory::new();
    memory.connect(A, B);
    memory.connect(A, C);
    let mut members = Vec::new();
    for key in [A, B, C] {
        members.push(Member::start(&memory, key).await);
    }
    let operator = Principal::operator(0, 0);
    let mut height = 0;
    for index in 0..10 {
        height = deploy(&members[0], &operator, &format!("shop-{index}")).await;
    }
    for member in &mut members {
        member.node.follow_to(height).await;
        assert!(
            member
                .node
                .state
                .entries
                .contains_key(&deployment_key("shop-9"))
        );
    }
    // The stream carries a block just before the status counts it.
    let counted = |status: &Status| status.height >= height;
    until("counted", &members[1], counted).await;
    let status = members[1].node.ledger.status();
    assert_eq!(
        (status.role, status.peers, status.height),
        (Role::Follower, 1, height)
    );
    assert_eq!((status.catching_up, status.lagging), (false, None));
    assert_eq!(members[0].node.ledger.status().role, Role::Validator);
    stop_alike(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_handed_to_a_follower_becomes_final() {
    let memory = Memory::new();
    memory.connect(A, B);
    let validator = Member::start(&memory, A).await;
    let mut follower = Member::start(&memory, B).await;
    let operator = Principal::operator(0, 0);
    let height = deploy(&follower, &operator, "shop").await;
    follower.node.follow_to(height).await;
    assert!(
        follower
            .node
            .state
            .entries
            .contains_key(&deployment_key("shop"))
    );
    assert_eq!(follower.node.ledger.status().pool.transactions, 0);
    let again = Principal::operator(0, 0).deploy("shop");
    let end = follower.node.submit(again).await;
    assert_eq!(
        (end.height, end.outcome),
        (height, TransactionOutcome::Applied)
    );
    let mut validator = validator;
    validator.node.follow_to(height).await;
    stop_alike(vec![validator, follower]).await;
}

/// More than the validator takes of one peer at once, all of one signer: none is refused by its
/// nonce.
#[tokio::test(flavor = "multi_thread")]
async fn many_transactions_of_one_signer_keep_their_order_through_a_follower() {
    let memory = Memory::new();
    memory.connect(A, B);
    let mut validator = Member::start(&memory, A).await;
    let mut follower = Member::start(&memory, B).await;
    let operator = Principal::operator(0, 0);
    let count = hypermesh_consensus::POOL_PEER_TRANSACTIONS_MAX + 100;
    let signed = (0..count).map(|index| operator.deploy(&format!("shop-{index}")));
    // Few blocks: neither stream is full before the end.
    let ends = join_all(signed.map(|transaction| follower.node.submit(transaction))).await;
    let spent: Vec<_> = ends.iter().filter(|end| is_refused_by_nonce(end)).collect();
    assert!(spent.is_empty(), "{spent:?}");
    let height = ends.iter().map(|end| end.height).max().unwrap();
    validator.node.follow_to(height).await;
    follower.node.follow_to(height).await;
    stop_alike(vec![validator, follower]).await;
}

fn is_refused_by_nonce(end: &Finality) -> bool {
    matches!(
        end.outcome,
        TransactionOutcome::Refused(Refusal::Nonce { .. })
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_joins_late_catches_up() {
    let memory = Memory::new();
    let mut validator = Member::start(&memory, A).await;
    let operator = Principal::operator(0, 0);
    let mut height = 0;
    for index in 0..60 {
        height = deploy(&validator, &operator, &format!("shop-{index}")).await;
        validator.node.follow_to(height).await;
    }
    let mut late = Member::start(&memory, B).await;
    assert_eq!(late.node.state.height, 0);
    memory.connect(A, B);
    late.node.follow_to(height).await;
    until("caught up", &late, |status| {
        status.heard.is_some_and(|heard| heard.height == height) && !status.catching_up
    })
    .await;
    stop_alike(vec![validator, late]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_off_goes_on_and_has_lost_nothing() {
    let memory = Memory::new();
    memory.connect(A, B);
    let mut validator = Member::start(&memory, A).await;
    let mut follower = Member::start(&memory, B).await;
    let operator = Principal::operator(0, 0);
    for round in 0..4 {
        let mut height = 0;
        for index in 0..5 {
            height = deploy(&follower, &operator, &format!("shop-{round}-{index}")).await;
        }
        follower.node.follow_to(height).await;
        let before = follower.node.state.clone();
        memory.disconnect(A, B);
        follower = follower.restart(&memory).await;
        assert_eq!(follower.node.state, before, "round {round}");
        let away = deploy(&validator, &operator, &format!("away-{round}")).await;
        memory.connect(A, B);
        follower.node.follow_to(away).await;
        validator.node.follow_to(away).await;
    }
    stop_alike(vec![validator, follower]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_killed_while_catching_up_goes_on() {
    let memory = Memory::new();
    let mut validator = Member::start(&memory, A).await;
    let operator = Principal::operator(0, 0);
    let mut height = 0;
    for index in 0..100 {
        height = deploy(&validator, &operator, &format!("shop-{index}")).await;
        validator.node.follow_to(height).await;
    }
    memory.connect(A, B);
    let mut follower = Member::start(&memory, B).await;
    let mut seen = 0;
    while seen < height {
        let next = (seen + 20).min(height);
        follower.node.follow_to(next).await;
        seen = follower.node.state.height;
        follower = follower.restart(&memory).await;
        assert!(
            follower.node.state.height >= seen,
            "{} < {seen}",
            follower.node.state.height
        );
    }
    stop_alike(vec![validator, follower]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_follows_a_follower() {
    let memory = Memory::new();
    memory.connect(A, B);
    memory.connect(B, C);
    let mut members = Vec::new();
    for key in [A, B, C] {
        members.push(Member::start(&memory, key).await);
    }
    let operator = Principal::operator(0, 0);
    let mut height = 0;
    for index in 0..5 {
        height = deploy(&members[2], &operator, &format!("shop-{index}")).await;
    }
    // The one in the middle serves what it has, also to one that comes later, without the first.
    members[1].node.follow_to(height).await;
    memory.disconnect(A, B);
    let mut late = Member::start(&memory, 4).await;
    memory.connect(B, 4);
    late.node.follow_to(height).await;
    members.push(late);
    for member in &mut members {
        member.node.follow_to(height).await;
    }
    stop_alike(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_late_messages_hold_nothing_up_for_good() {
    let memory = Memory::new();
    memory.lose(20, 20);
    memory.connect(A, B);
    memory.connect(A, C);
    memory.connect(B, C);
    let mut members = Vec::new();
    for key in [A, B, C] {
        members.push(Member::start(&memory, key).await);
    }
    let operators: Vec<_> = (0..3).map(|index| Principal::operator(index, 0)).collect();
    let mut height = 0;
    for round in 0..10 {
        for (member, operator) in members.iter().zip(&operators) {
            let name = format!("shop-{round}-{}", member.key);
            height = height.max(deploy(member, operator, &name).await);
        }
    }
    for member in &mut members {
        member.node.follow_to(height).await;
    }
    assert!(memory.blamed_by(B).is_empty() && memory.blamed_by(C).is_empty());
    stop_alike(members).await;
}
