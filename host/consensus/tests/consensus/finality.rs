//! What becomes final, and what the rest of the node sees of it.

use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::{Config, SubmitError};
use ledger::{DecodeTransactionError, Refusal, TransactionOutcome};

use crate::support::{Node, Principal, config, deployment, deployment_key, genesis_at, now_ms};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_block_writes_the_genesis_entries() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path()).await;
    node.follow_to(1).await;
    assert!(node.state.entries.contains_key(&ledger::StateKey::fabric()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_becomes_final_and_its_changes_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path()).await;
    let finality = node.submit(Principal::operator(0, 0).deploy("shop")).await;
    assert_eq!(finality.outcome, TransactionOutcome::Applied);
    node.follow_to(finality.height).await;
    assert!(node.state.entries.contains_key(&deployment_key("shop")));
    // The stream carries a block just before the status counts it.
    while node.ledger.status().height < finality.height {
        tokio::task::yield_now().await;
    }
    let status = node.ledger.status();
    assert_eq!(
        (status.height, status.state_root),
        (finality.height, node.state.state_root)
    );
    assert_eq!(
        (
            status.pool.transactions,
            status.validators,
            status.nullified
        ),
        (0, 1, 0)
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_transaction_is_final_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let finality = node.submit(Principal::operator(0, 7).deploy("shop")).await;
    let refusal = Refusal::Nonce {
        expected: 0,
        found: 7,
    };
    assert_eq!(finality.outcome, TransactionOutcome::Refused(refusal));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_share_a_few_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path()).await;
    let operators: Vec<_> = (0..10).map(|index| Principal::operator(index, 0)).collect();
    let names: Vec<_> = (0..100).map(|index| format!("shop-{index:03}")).collect();
    let signed = names
        .iter()
        .zip(operators.iter().cycle())
        .map(|(name, by)| by.deploy(name));
    let finals = join_all(signed.map(|transaction| node.submit(transaction))).await;
    assert!(
        finals
            .iter()
            .all(|end| end.outcome == TransactionOutcome::Applied)
    );
    let heights: std::collections::BTreeSet<_> = finals.iter().map(|end| end.height).collect();
    assert!(
        heights.len() <= 5,
        "100 transactions took {} blocks",
        heights.len()
    );
    node.follow_to(*heights.last().unwrap()).await;
    assert!(
        names
            .iter()
            .all(|name| node.state.entries.contains_key(&deployment_key(name)))
    );
    let before = node.stop().await;
    let after = Node::open(dir.path()).await;
    assert_eq!(after.state.entries, before.entries);
    after.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transaction_twice_at_once_is_executed_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let transaction = Principal::operator(0, 0).deploy("shop");
    let twice = [transaction.clone(), transaction].map(|transaction| node.submit(transaction));
    let [first, second]: [_; 2] = join_all(twice).await.try_into().unwrap();
    assert_eq!(first, second);
    assert_eq!(first.outcome, TransactionOutcome::Applied);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_no_block_may_carry_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path()).await;
    node.follow_to(1).await;
    let malformed = SubmitError::Invalid(DecodeTransactionError::Malformed);
    assert_eq!(
        node.ledger.submit(b"garbage".to_vec()).await,
        Err(malformed)
    );
    let operator = Principal::operator(0, 0);
    let mut forged = operator.deploy("shop");
    *forged.last_mut().unwrap() ^= 1;
    let forged = node.ledger.submit(forged).await;
    let signature = |error| {
        matches!(
            error,
            SubmitError::Invalid(DecodeTransactionError::Signature(_))
        )
    };
    assert!(forged.is_err_and(signature));
    let late = operator.sign_until(1, deployment("shop", 0));
    let expired = SubmitError::Expired {
        expires_at: 1,
        height: 1,
    };
    assert_eq!(node.ledger.submit(late).await, Err(expired));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_ledger_makes_one_block_per_heartbeat() {
    let dir = tempfile::tempdir().unwrap();
    let pace = Config {
        heartbeat: Duration::from_millis(300),
        ..config(dir.path())
    };
    let mut node = Node::start(pace).await.unwrap();
    node.follow_to(1).await;
    let mut before = node.state.time_ms;
    for _ in 0..3 {
        let block = node.follow().await;
        let step = block.time_ms - before;
        assert!((300..600).contains(&step), "{step} ms between blocks");
        before = block.time_ms;
    }
    assert_eq!(node.ledger.status().nullified, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_time_catches_up_with_the_clock_in_bounded_steps() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let began = now_ms() - 5 * DAY_MS / 2;
    let old = Config {
        genesis: genesis_at(began, 0),
        ..config(dir.path())
    };
    let mut node = Node::start(old).await.unwrap();
    // Two and a half days in steps of at most one.
    node.follow_to(3).await;
    assert!(now_ms().saturating_sub(node.state.time_ms) < 10_000);
    let idle = tokio::time::timeout(Duration::from_millis(300), node.stream.recv()).await;
    assert!(idle.is_err(), "the ledger goes on when it has caught up");
    node.stop().await;
}
