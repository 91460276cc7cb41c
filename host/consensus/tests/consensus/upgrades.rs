//! A rule change on several validators, one of which runs a program that does not know it. Rules 2
//! are those of the tests: a workload's name has two letters or more.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::{Closed, StartError, Status, SubmitError};
use ledger::{
    KnownRules, Operation, RULES_LEAD_BLOCKS_MIN, RulesChange, RulesOperation, TransactionOutcome,
    UnknownRules,
};

use crate::committee::deploy;
use crate::follow::{stop_alike, until};
use crate::memory::{Member, Memory};
use crate::support::{Principal, genesis_of};

const NEW: KnownRules = KnownRules::UNRELEASED;
const OLD: KnownRules = KnownRules::RELEASED;

/// Validators 1 to 4, each with the program that `rules` says.
async fn committee(memory: &Memory, rules: [KnownRules; 4]) -> Vec<Member> {
    for one in 1..=4 {
        for other in 1..one {
            memory.connect(one, other);
        }
    }
    let start = async |(key, rules)| {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        start(memory, key, dir, rules).await
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
        let voter = Principal::node_in(&genesis_of(4), member.key);
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
