//! What a stop and a start leave as it was.

use ledger::TransactionOutcome;

use crate::support::{Node, Principal, deployment_key};

#[tokio::test(flavor = "multi_thread")]
async fn state_root_and_entries_survive_and_the_stream_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Principal::operator(0, 0);
    let mut expected = None;
    for round in 0..4 {
        let mut node = Node::open(dir.path()).await;
        if let Some(before) = expected.take() {
            assert_eq!(node.state, before, "round {round}");
        }
        for index in 0..5 {
            let end = node
                .submit(operator.deploy(&format!("shop-{round}-{index}")))
                .await;
            assert_eq!(end.outcome, TransactionOutcome::Applied);
            node.follow_to(end.height).await;
        }
        expected = Some(node.stop().await);
    }
    let node = Node::open(dir.path()).await;
    assert!(node.state.entries.contains_key(&deployment_key("shop-3-4")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_handle_stops_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let Node { ledger, stream, .. } = Node::open(dir.path()).await;
    drop((ledger, stream));
    for _ in 0..100 {
        match Node::start(crate::support::config(dir.path())).await {
            Ok(node) => {
                node.stop().await;
                return;
            }
            Err(hypermesh_consensus::StartError::InUse { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the directory stays in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_quick_and_tells_those_who_wait() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let asked = std::time::Instant::now();
    node.ledger.shutdown().await.unwrap();
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    let late = node
        .ledger
        .submit(Principal::operator(0, 0).deploy("shop"))
        .await;
    let reason = hypermesh_consensus::Closed::Stopped;
    assert_eq!(
        late,
        Err(hypermesh_consensus::SubmitError::Stopped { reason })
    );
}
