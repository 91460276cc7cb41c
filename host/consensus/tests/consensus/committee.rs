//! Several validators: they agree, go on without one of them, stop without two, and never fork.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::{FinalizedBlock, Role, Status};
use ledger::TransactionOutcome;

use crate::follow::{stop_alike, until};
use crate::memory::{Member, Memory};
use crate::support::{Principal, genesis_of};

/// Longer than a round with a silent leader takes, several times.
const LONG: Duration = Duration::from_secs(5);

/// Validators 1 to `count`, each connected with each.
async fn committee(memory: &Memory, count: u8) -> Vec<Member> {
    for one in 1..=count {
        for other in 1..one {
            memory.connect(one, other);
        }
    }
    let start = |key| Member::start_of(memory, key, genesis_of(count));
    join_all((1..=count).map(start)).await
}

pub(crate) async fn deploy(on: &Member, operator: &Principal, name: &str) -> u64 {
    let end = on.node.submit(operator.deploy(name)).await;
    assert_eq!(end.outcome, TransactionOutcome::Applied, "{name}");
    end.height
}

pub(crate) async fn follow_all(members: &mut [Member], height: u64) {
    join_all(
        members
            .iter_mut()
            .map(|member| member.node.follow_to(height)),
    )
    .await;
}

/// Follows all of them to `height`: where two saw a block of one height, it is the same.
pub(crate) async fn same_blocks(members: &mut [Member], height: u64) {
    let mut seen = BTreeMap::new();
    for member in members {
        while member.node.state.height < height {
            let FinalizedBlock {
                height,
                block_digest,
                state_root,
                ..
            } = member.node.follow().await;
            let block = (block_digest, state_root);
            let before = *seen.entry(height).or_insert(block);
            assert_eq!(before, block, "two blocks at height {height}");
        }
    }
    assert!(seen.contains_key(&height));
}

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_agree_whoever_is_asked() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let mut height = 0;
    for index in 0..20 {
        let on = &members[index % 4];
        height = deploy(on, &operator, &format!("shop-{index}")).await;
    }
    same_blocks(&mut members, height).await;
    let status = members[2].node.ledger.status();
    assert_eq!((status.role, status.validators), (Role::Validator, 4));
    stop_alike(members).await;
}

/// Nothing is proposed and nobody is blamed while there is nothing to agree on.
#[tokio::test(flavor = "multi_thread")]
async fn four_idle_validators_let_rounds_be() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let height = deploy(&members[0], &operator, "shop").await;
    follow_all(&mut members, height).await;
    let rounds = |member: &Member| {
        let Status {
            height,
            view,
            nullified,
            ..
        } = member.node.ledger.status();
        (height, view, nullified)
    };
    let all = || members.iter().map(rounds).collect::<Vec<_>>();
    // The last votes may still be on their way; a busy machine may even need another round.
    let mut before = Vec::new();
    for _ in 0..20 {
        let now = all();
        if now == before {
            break;
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(LONG).await;
    assert_eq!(all(), before);
    let next = deploy(&members[3], &operator, "shop-2").await;
    assert_eq!(next, height + 1);
    follow_all(&mut members, next).await;
    stop_alike(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_four_go_on_and_the_fourth_catches_up() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let mut height = deploy(&members[0], &operator, "shop").await;
    follow_all(&mut members, height).await;
    let gone = members.remove(1).kill();
    for index in 0..10 {
        height = deploy(&members[0], &operator, &format!("without-{index}")).await;
    }
    let back = gone.start_again(&memory).await;
    members.push(back);
    follow_all(&mut members, height).await;
    let height = deploy(&members[3], &operator, "all-again").await;
    follow_all(&mut members, height).await;
    stop_alike(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_four_stop_and_go_on_when_a_third_is_back() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let height = deploy(&members[0], &operator, "shop").await;
    follow_all(&mut members, height).await;
    let gone = members.split_off(2);
    let gone: Vec<_> = gone.into_iter().map(Member::kill).collect();
    let transaction = operator.deploy("waits");
    let ledger = members[0].node.ledger.clone();
    let mut waits = Box::pin(async move { ledger.submit(transaction).await });
    tokio::select! {
        end = &mut waits => panic!("two of four made a block: {end:?}"),
        () = tokio::time::sleep(LONG) => {}
    }
    let mut gone = gone.into_iter();
    let third = gone.next().unwrap().start_again(&memory).await;
    let end = waits.await.expect("final with three of four");
    assert_eq!(end.outcome, TransactionOutcome::Applied);
    members.push(third);
    follow_all(&mut members, end.height).await;
    stop_alike(members).await;
}

/// Neither side of a cut in halves finishes anything; what was asked on either side is done after
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fabric_cut_in_halves_stops_and_heals() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    let genesis = genesis_of(4);
    let (here, there) = (
        Principal::operator_in(&genesis, 0),
        Principal::operator_in(&genesis, 1),
    );
    let height = deploy(&members[0], &here, "before").await;
    follow_all(&mut members, height).await;
    let cut = [(1, 3), (1, 4), (2, 3), (2, 4)];
    for (one, other) in cut {
        memory.disconnect(one, other);
    }
    let ledger = |of: usize| members[of].node.ledger.clone();
    let (one, other) = (ledger(0), ledger(3));
    let mut asked = Box::pin(async move {
        let here = one.submit(here.deploy("here"));
        let there = other.submit(there.deploy("there"));
        tokio::join!(here, there)
    });
    tokio::select! {
        ends = &mut asked => panic!("half of the validators made a block: {ends:?}"),
        () = tokio::time::sleep(LONG) => {}
    }
    for (one, other) in cut {
        memory.connect(one, other);
    }
    let (one, other) = asked.await;
    let height = one.unwrap().height.max(other.unwrap().height);
    same_blocks(&mut members, height).await;
    stop_alike(members).await;
}

/// Messages are lost and late, and members are killed in turn.
#[tokio::test(flavor = "multi_thread")]
async fn four_validators_survive_loss_and_kills() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    memory.lose(5, 20);
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let mut height = 0;
    for round in 0..4 {
        let victim = members.remove(0).kill();
        for index in 0..3 {
            let name = format!("shop-{round}-{index}");
            height = deploy(&members[index % 3], &operator, &name).await;
        }
        members.push(victim.start_again(&memory).await);
    }
    memory.lose(0, 0);
    follow_all(&mut members, height).await;
    stop_alike(members).await;
}

/// Nodes that only follow reach the same state, through one validator.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_four_verifies_what_they_agree_on() {
    let memory = Memory::new();
    let mut members = committee(&memory, 4).await;
    memory.connect(9, 2);
    members.push(Member::start_of(&memory, 9, genesis_of(4)).await);
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let mut height = 0;
    for index in 0..5 {
        height = deploy(&members[4], &operator, &format!("shop-{index}")).await;
    }
    follow_all(&mut members, height).await;
    until("caught up", &members[4], |status| !status.catching_up).await;
    assert_eq!(members[4].node.ledger.status().role, Role::Follower);
    stop_alike(members).await;
}
