//! A node that is too far behind takes over the state of its peers, proven, whatever some of them
//! answer and whenever it is killed; then it goes on as if it had executed every block.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hypermesh_consensus::{Blame, Channel, Outgoing, Role};
use ledger::Genesis;

use crate::committee::deploy;
use crate::epochs::{Voters, add, remove, start_all, until_validators};
use crate::memory::{Member, Memory};
use crate::support::{Principal, genesis_with_epochs, key_of};

/// How far behind a node of these tests may be.
const BEYOND: u64 = 12;

async fn join(memory: &Memory, key: u8, genesis: &Genesis) -> Member {
    Member::start_behind(memory, key, genesis.clone(), BEYOND).await
}

/// Lets no final block through to a node before `stands` says that somebody proved to it where the
/// fabric stands, so that it cannot catch up by itself.
pub(crate) fn hold_back(memory: &Memory, from: u8, to: u8, stands: &Arc<AtomicBool>) {
    let stands = stands.clone();
    memory.alter(from, move |message| {
        if message.peer != key_of(to) {
            return Some(message);
        }
        note_standing(&message, &stands);
        let held = message.channel == Channel::Backfill && !stands.load(Ordering::Relaxed);
        (!held).then_some(message)
    });
}

fn note_standing(message: &Outgoing, stands: &AtomicBool) {
    let standing = message.channel == Channel::State && message.bytes.get(1) == Some(&3);
    stands.fetch_or(standing, Ordering::Relaxed);
}

/// Deploys until the ledger is at `height` or above, and says where it is.
async fn grow(on: &mut Member, operator: &Principal, name: &str, height: u64) -> u64 {
    for index in 0.. {
        let reached = deploy(on, operator, &format!("{name}-{index}")).await;
        // A stream that nobody reads holds finality up.
        on.node.drain();
        if reached >= height {
            return reached;
        }
    }
    unreachable!("names do not end")
}

/// Takes what the stream carries until the state is that of `height`.
async fn reach(member: &mut Member, height: u64) {
    while member.node.state.height < height {
        let item = tokio::time::timeout(Duration::from_secs(60), member.node.stream.recv());
        let item = item.await.unwrap_or_else(|_| {
            let status = member.node.ledger.status();
            panic!("not at height {height}: {status:#?}")
        });
        member.node.take(item.expect("an open stream"));
    }
}

fn same_state(one: &Member, other: &Member) {
    let (one, other) = (&one.node.state, &other.node.state);
    assert_eq!(one.height, other.height);
    assert_eq!(one.state_root, other.state_root);
    assert_eq!(one.entries, other.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_takes_over_the_state_and_goes_on() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(1, 3, 8);
    let operator = Principal::operator_in(&genesis, 0);
    let mut first = Member::start_of(&memory, 1, genesis.clone()).await;
    let height = grow(&mut first, &operator, "before", 40).await;
    memory.connect(1, 2);
    let mut late = join(&memory, 2, &genesis).await;
    reach(&mut late, height).await;
    let taken = late.node.taken_over.clone();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert!(taken[0] >= 31, "the end of an epoch or more: {taken:?}");
    reach(&mut first, height).await;
    same_state(&first, &late);
    // What came before was not fetched, what comes after is executed.
    assert_eq!(late.node.ledger.finalized(1).await, Ok(None));
    let height = grow(&mut first, &operator, "after", height + 10).await;
    reach(&mut first, height).await;
    reach(&mut late, height).await;
    same_state(&first, &late);
    assert_eq!(late.node.taken_over, taken);
    // It starts again from what it took over.
    let mut late = late.restart(&memory).await;
    assert!(late.node.state.height >= taken[0]);
    reach(&mut late, height).await;
    same_state(&first, &late);
    assert!(late.node.taken_over.is_empty());
    // A third node knows only the second.
    memory.connect(2, 3);
    let mut third = join(&memory, 3, &genesis).await;
    reach(&mut third, height).await;
    same_state(&first, &third);
    assert_eq!(third.node.taken_over.len(), 1);
}

/// Validators change thrice while one of them is away, which then comes back and votes.
#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_was_long_away_comes_back_and_votes() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(4, 6, 8);
    let operator = Principal::operator_in(&genesis, 0);
    let mut members = start_all(&memory, 6, &genesis).await;
    let voters = Voters::of(&genesis, 6);
    let height = grow(&mut members[0], &operator, "first", 20).await;
    reach(&mut members[1], height).await;
    let away = members.remove(1).kill();
    voters.vote(&members, &[1, 3, 4], add(5)).await;
    until_validators(&mut members, 5).await;
    voters.vote(&members, &[1, 3, 4, 5], add(6)).await;
    until_validators(&mut members, 6).await;
    voters.vote(&members, &[1, 3, 4, 5, 6], remove(5)).await;
    until_validators(&mut members, 5).await;
    let height = members[0].node.ledger.status().height;
    let height = grow(&mut members[0], &operator, "second", height + 20).await;
    let mut back = away.start_behind_again(&memory, BEYOND).await;
    reach(&mut back, height).await;
    assert_eq!(back.node.taken_over.len(), 1);
    reach(&mut members[0], height).await;
    same_state(&members[0], &back);
    assert_eq!(back.node.ledger.status().role, Role::Validator);
    // Without its vote the next blocks have none to spare: four of five must sign.
    let one = members.pop().expect("the sixth node").kill();
    members.insert(1, back);
    let height = grow(&mut members[0], &operator, "third", height + 10).await;
    for member in &mut members {
        member.node.drain();
        reach(member, height).await;
    }
    same_state(&members[0], &members[1]);
    drop(one);
}

/// One peer spoils every part of the state that it sends, and another one says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn spoiled_parts_are_refused_and_their_sender_is_blamed() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(3, 4, 8);
    let operator = Principal::operator_in(&genesis, 0);
    let mut members = start_all(&memory, 3, &genesis).await;
    let height = grow(&mut members[0], &operator, "shop", 60).await;
    for member in &mut members {
        reach(member, height).await;
    }
    let to_late =
        |message: &Outgoing, channel| message.channel == channel && message.peer == key_of(4);
    let stands = Arc::new(AtomicBool::default());
    hold_back(&memory, 3, 4, &stands);
    memory.alter(1, move |mut message| {
        if message.peer == key_of(4) {
            note_standing(&message, &stands);
        }
        if to_late(&message, Channel::State) && message.bytes.get(1) == Some(&4) {
            let mut bytes = message.bytes.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            message.bytes = bytes.into();
        }
        (!to_late(&message, Channel::Backfill)).then_some(message)
    });
    memory.alter(2, move |message: Outgoing| {
        let silent = to_late(&message, Channel::State) || to_late(&message, Channel::Backfill);
        (!silent).then_some(message)
    });
    let mut late = join(&memory, 4, &genesis).await;
    for key in 1..=3 {
        memory.connect(4, key);
    }
    reach(&mut late, height).await;
    assert_eq!(late.node.taken_over.len(), 1);
    same_state(&members[0], &late);
    let blamed = memory.blamed_by(4);
    let names: BTreeSet<_> = blamed.keys().copied().collect();
    assert_eq!(names, [key_of(1)].into(), "{blamed:?}");
    let blame = &blamed[&key_of(1)];
    assert!(
        matches!(blame, Blame::FalseState | Blame::Malformed { .. }),
        "{blame}"
    );
}

/// A peer that shows an end of an epoch with another certificate is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_standing_that_does_not_hold_is_refused() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(1, 3, 8);
    let operator = Principal::operator_in(&genesis, 0);
    let mut first = Member::start_of(&memory, 1, genesis.clone()).await;
    let height = grow(&mut first, &operator, "shop", 40).await;
    reach(&mut first, height).await;
    memory.alter(1, |mut message| {
        if message.channel == Channel::Backfill {
            return None;
        }
        if message.channel == Channel::State && message.bytes.get(1) == Some(&3) {
            let mut bytes = message.bytes.to_vec();
            // Within the signature, which comes last.
            let last = bytes.len() - 8;
            bytes[last] ^= 1;
            message.bytes = bytes.into();
        }
        Some(message)
    });
    memory.connect(1, 2);
    let late = join(&memory, 2, &genesis).await;
    let blamed = async {
        loop {
            if let Some(blame) = memory.blamed_by(2).get(&key_of(1)) {
                return blame.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let blame = tokio::time::timeout(Duration::from_secs(30), blamed).await;
    let blame = blame.expect("somebody is blamed");
    assert!(
        matches!(blame, Blame::FalseStanding(_) | Blame::Malformed { .. }),
        "{blame}"
    );
    assert_eq!(late.node.ledger.status().closed, None);
}

/// Killed at any instant on the way, it starts from what it had and gets there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_on_the_way_gets_there() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(1, 2, 8);
    let operator = Principal::operator_in(&genesis, 0);
    let mut first = Member::start_of(&memory, 1, genesis.clone()).await;
    let height = grow(&mut first, &operator, "shop", 80).await;
    reach(&mut first, height).await;
    memory.connect(1, 2);
    let mut late = join(&memory, 2, &genesis).await;
    for pause_ms in [300, 600, 700, 900, 1_200] {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        late = late.kill().start_behind_again(&memory, BEYOND).await;
        assert!(late.node.state.height <= height);
    }
    reach(&mut late, height).await;
    same_state(&first, &late);
    // Only one generation of files is left after a start.
    let late = late.kill().start_behind_again(&memory, BEYOND).await;
    let engine = late.dir.path().join("engine");
    let names = std::fs::read_dir(engine).expect("a folder").flatten();
    let names: Vec<_> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let generations: BTreeSet<_> = names
        .iter()
        .filter(|name| name.contains('-') && !name.starts_with("votes-"))
        .map(|name| match name.strip_prefix("taken-over-") {
            Some(rest) => rest.split('-').next().unwrap_or_default().to_owned(),
            None => "0".to_owned(),
        })
        .collect();
    assert_eq!(generations.len(), 1, "{names:?}");
}
