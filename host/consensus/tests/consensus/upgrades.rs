//! A rule change on several validators, one of which runs a program that does not know it. Rules 2
//! are those of the tests: a workload's name has two letters or more.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::{Channel, Closed, StartError, Status, SubmitError};
use ledger::{
    Genesis, KnownRules, Operation, RULES_LEAD_BLOCKS_MIN, RulesChange, RulesOperation,
    TransactionOutcome, UnknownRules,
};

use crate::committee::deploy;
use crate::follow::{stop_alike, until};
use crate::memory::{Member, Memory};
use crate::support::{Principal, config_of, genesis_of, genesis_with_epochs, key_of};
use crate::sync::hold_back;

const NEW: KnownRules = KnownRules::UNRELEASED;
const OLD: KnownRules = KnownRules::RELEASED;

/// Validators 1 to 4, each with the program that `rules` says.
async fn committee(memory: &Memory, rules: [KnownRules; 4]) -> Vec<Member> {
    committee_of(memory, &genesis_of(4), rules).await
}

/// The same in a fabric of any four.
async fn committee_of(memory: &Memory, genesis: &Genesis, rules: [KnownRules; 4]) -> Vec<Member> {
    for one in 1..=4 {
        for other in 1..one {
            memory.connect(one, other);
        }
    }
    let start = async |(key, rules)| {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        Member::start_knowing(memory, key, dir, genesis.clone(), rules).await
    };
    let started = join_all((1..=4).zip(rules).map(start)).await;
    let started: Result<Vec<_>, _> = started.into_iter().collect();
    started.expect("every ledger starts")
}

async fn start(
    memory: &Memory,
    key: u8,
    dir: Arc<tempfile::TempDir>,
    rules: KnownRules,
) -> Result<Member, StartError> {
    Member::start_knowing(memory, key, dir, genesis_of(4), rules).await
}

/// Lets three of the four decide on rules 2; says from which height on they are in force.
async fn decide(members: &[Member]) -> u64 {
    let height = members[0].node.ledger.status().height + RULES_LEAD_BLOCKS_MIN + 8;
    for member in &members[..3] {
        let vote = RulesOperation::Vote(RulesChange { version: 2, height });
        let voter = Principal::node_in(&member.genesis, member.key);
        let end = member.node.submit(voter.sign(Operation::Rules(vote))).await;
        assert_eq!(end.outcome, TransactionOutcome::Applied);
    }
    height
}

/// Makes blocks, the first of which has a workload of one letter, until that of `height` is next.
async fn fill(on: &Member, operator: &Principal, height: u64) {
    let mut at = deploy(on, operator, "x").await;
    while at + 1 < height {
        at = deploy(on, operator, &format!("at-{at}")).await;
    }
}

fn stopped(height: u64) -> Closed {
    Closed::Outdated(UnknownRules {
        version: 2,
        since: height,
        known: OLD,
    })
}

fn reads_on(members: &mut [Member]) {
    for member in members {
        member.node.let_pass();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_rules_stops_and_the_others_go_on() {
    let memory = Memory::new();
    let mut members = committee(&memory, [NEW, NEW, NEW, OLD]).await;
    reads_on(&mut members);
    let old = members.pop().expect("four members");
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let height = decide(&members).await;
    fill(&members[0], &operator, height).await;
    until("at the last old block", &old, |status: &Status| {
        status.height + 1 == height
    })
    .await;
    let refused = members[0].node.submit(operator.deploy("y")).await;
    assert_eq!(refused.height, height);
    assert!(matches!(refused.outcome, TransactionOutcome::Refused(_)));
    let after = deploy(&members[1], &operator, "after").await;
    let end = old.node.ledger.closed().await;
    assert_eq!(end, stopped(height));
    assert_eq!(
        end.to_string(),
        format!(
            "this fabric runs rules 2 since block {height}; this nexus knows rules 1: install a \
             newer nexus and start it again"
        )
    );
    assert_eq!(old.node.ledger.status().height + 1, height);
    // It says the same at once when it is started again, and lost nothing.
    let (key, dir) = (old.key, old.dir.clone());
    assert!(old.node.ledger.shutdown().await.is_err());
    drop(old);
    let error = start(&memory, key, dir.clone(), OLD).await.err();
    assert_eq!(
        error.expect("too old").to_string(),
        stopped(height).to_string()
    );
    let mut back = start(&memory, key, dir, NEW).await.expect("new enough");
    assert!(back.node.state.height + 1 >= height);
    back.node.follow_to(after).await;
    for member in &members {
        let Status { state_root, .. } = member.node.ledger.status();
        assert_eq!(state_root, back.node.state.state_root);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fabric_where_nobody_knows_the_rules_stops_and_goes_on_with_newer_programs() {
    let memory = Memory::new();
    let mut members = committee(&memory, [OLD; 4]).await;
    reads_on(&mut members);
    let operator = Principal::operator_in(&genesis_of(4), 0);
    let height = decide(&members).await;
    fill(&members[0], &operator, height).await;
    let mut left = Vec::new();
    for member in members {
        let end = tokio::time::timeout(Duration::from_secs(30), member.node.ledger.closed()).await;
        assert_eq!(end.expect("it stops by itself"), stopped(height));
        let late = member.node.ledger.submit(operator.deploy("late")).await;
        assert!(matches!(late, Err(SubmitError::Stopped { .. })), "{late:?}");
        assert!(member.node.ledger.shutdown().await.is_err());
        left.push((member.key, member.dir.clone()));
    }
    for (key, dir) in &left {
        let error = start(&memory, *key, dir.clone(), OLD).await.err();
        let error = error.expect("too old").to_string();
        assert_eq!(error, stopped(height).to_string());
    }
    let back = left
        .into_iter()
        .map(|(key, dir)| start(&memory, key, dir, NEW));
    let back: Result<Vec<_>, _> = join_all(back).await.into_iter().collect();
    let mut members = back.expect("every ledger starts");
    let operator = Principal::operator_in(&genesis_of(4), 1);
    let on = deploy(&members[2], &operator, "new").await;
    assert!(on >= height);
    crate::committee::follow_all(&mut members, on).await;
    stop_alike(members).await;
}

/// Cuts the last member off before the last old block, and makes blocks of the new rules.
async fn leave_behind(memory: &Memory, members: &[Member], height: u64) {
    let operator = Principal::operator_in(&members[0].genesis, 0);
    fill(&members[0], &operator, height - 4).await;
    (1..=3).for_each(|other| memory.disconnect(4, other));
    for index in 0.. {
        let at = deploy(&members[0], &operator, &format!("beyond-{index}")).await;
        if at > height + 4 {
            break;
        }
    }
}

/// Three of the new rules at work beyond the height of the change, and one of the old that lacks
/// blocks before it and is still cut off.
async fn left_behind() -> (Memory, Vec<Member>, Member, u64) {
    let memory = Memory::new();
    let mut members = committee(&memory, [NEW, NEW, NEW, OLD]).await;
    reads_on(&mut members);
    let height = decide(&members).await;
    leave_behind(&memory, &members, height).await;
    let old = members.pop().expect("four members");
    (memory, members, old, height)
}

async fn stops_in_time(member: &Member, height: u64) {
    let end = tokio::time::timeout(Duration::from_secs(60), member.node.ledger.closed()).await;
    let status = member.node.ledger.status();
    let end = end.unwrap_or_else(|_| panic!("it does not stop: {status:?}"));
    assert_eq!(end, stopped(height));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_old_and_behind_stops_where_all_others_are_beyond() {
    let (memory, _members, old, height) = left_behind().await;
    assert!(old.node.ledger.status().height + 1 < height);
    (1..=3).for_each(|other| memory.connect(4, other));
    stops_in_time(&old, height).await;
}

/// Whether it comes to the change before or after its start is over.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_old_and_behind_stops_after_a_start_too() {
    let (memory, _members, old, height) = left_behind().await;
    let dir = old.dir.clone();
    assert!(old.node.ledger.shutdown().await.is_ok());
    drop(old);
    (1..=3).for_each(|other| memory.connect(4, other));
    match start(&memory, 4, dir, OLD).await {
        Ok(old) => stops_in_time(&old, height).await,
        Err(error) => assert_eq!(error.to_string(), stopped(height).to_string()),
    }
}

/// It hears how far the others are, and nobody has the blocks any more.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_old_stops_though_nobody_hands_on_the_blocks_before() {
    let (memory, _members, old, height) = left_behind().await;
    let before = old.node.ledger.status().height;
    assert!(before + 1 < height);
    for other in 1..=3 {
        memory.alter(other, |message| {
            let held = message.peer == key_of(4) && message.channel != Channel::Tip;
            (!held).then_some(message)
        });
        memory.connect(4, other);
    }
    stops_in_time(&old, height).await;
    assert_eq!(old.node.ledger.status().height, before);
}

/// It is so far behind that it takes over a state of rules that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_old_stops_once_it_has_the_state_of_newer_ones() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(4, 4, 8);
    let mut members = committee_of(&memory, &genesis, [NEW, NEW, NEW, OLD]).await;
    reads_on(&mut members);
    let height = decide(&members).await;
    leave_behind(&memory, &members, height).await;
    let operator = Principal::operator_in(&genesis, 1);
    for index in 0..16 {
        deploy(&members[0], &operator, &format!("far-{index}")).await;
    }
    let old = members.pop().expect("four members");
    let (before, dir) = (old.node.ledger.status().height, old.dir.clone());
    assert!(before + 1 < height);
    assert!(old.node.ledger.shutdown().await.is_ok());
    drop(old);
    let stands = Arc::new(AtomicBool::new(false));
    for other in 1..=3 {
        hold_back(&memory, other, 4, &stands);
        memory.connect(4, other);
    }
    let behind = |rules| {
        let mut config = config_of(4, dir.path());
        (config.rules, config.sync_beyond_blocks) = (rules, 4);
        Member::start_with(&memory, 4, dir.clone(), genesis.clone(), config)
    };
    let old = behind(OLD).await.expect("it knows the rules of its state");
    stops_in_time(&old, height).await;
    assert!(old.node.ledger.shutdown().await.is_err());
    drop(old);
    let mut new = behind(NEW).await.expect("new enough");
    new.node.let_pass();
    let beyond = |status: &Status| status.height >= height;
    until("beyond the change", &new, beyond).await;
    // It has the state, and not the blocks before.
    assert_eq!(new.node.ledger.finalized(before + 1).await, Ok(None));
}
