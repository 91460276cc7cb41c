//! Fetches over real STOQ sessions on loopback: from one peer, from three, and with a liar among them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod nodes;

use std::collections::BTreeSet;
use std::sync::Arc;

use hypermesh_transfer::{
    FetchReport, Message, Observer, Patience, PeerFailure, Refusal, STREAMS_PER_PEER_MAX, Sessions,
    fetch, read_frame,
};
use stoq::{OpenOptions, Service};
use tokio::sync::oneshot;
use types::NodeId;

use crate::nodes::{Node, World, id, liar, within};

const BYTES: usize = 32 << 20;

/// Says when the first tenth is here.
#[derive(Default)]
struct Watch(Option<oneshot::Sender<()>>);

impl Observer for Watch {
    fn dropped(&mut self, _: NodeId, _: &PeerFailure) {}

    fn progressed(&mut self, bytes: u64, of_bytes: u64) {
        if bytes >= of_bytes / 10
            && let Some(told) = self.0.take()
        {
            let _ = told.send(());
        }
    }
}

/// Bytes that differ from group to group.
fn content() -> Vec<u8> {
    let mut content = vec![0; BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

/// Fetches what `peers` have into `node`.
async fn fetched(
    node: &Node,
    digest: types::Digest,
    peers: &[&Node],
    mut watch: Watch,
) -> FetchReport {
    for peer in peers {
        within(node.endpoint.dial(peer.target())).await.unwrap();
    }
    let sessions = Arc::new(Sessions::new(node.endpoint.clone()));
    let ids: Vec<NodeId> = peers.iter().map(|peer| peer.id).collect();
    let patience = Patience::default();
    let fetching = fetch(
        &node.artifacts,
        digest,
        &ids,
        &sessions,
        patience,
        &mut watch,
    );
    within(fetching).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_comes_from_one_peer() {
    let world = Arc::new(World::default());
    let (to, from) = (Node::start(&world, 0), Node::start(&world, 1));
    let digest = from.artifacts.store(&content()).unwrap();
    let report = fetched(&to, digest, &[&from], Watch::default()).await;
    assert_eq!(report.bytes_from.values().sum::<u64>(), BYTES as u64);
    assert_eq!(to.artifacts.read(&digest).unwrap(), content());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_peers_one_lies_and_is_dropped() {
    let world = Arc::new(World::default());
    let to = Node::start(&world, 0);
    let honest = [Node::start(&world, 1), Node::start(&world, 2)];
    let liar = Node::with(&world, 3, liar);
    let mut digest = None;
    for node in honest.iter().chain([&liar]) {
        digest = Some(node.artifacts.store(&content()).unwrap());
    }
    let digest = digest.unwrap();
    let report = fetched(
        &to,
        digest,
        &[&honest[0], &liar, &honest[1]],
        Watch::default(),
    )
    .await;
    assert_eq!(to.artifacts.read(&digest).unwrap(), content());
    assert_eq!(report.dropped.len(), 1, "{:?}", report.dropped);
    let (dropped, failure) = &report.dropped[0];
    assert_eq!(*dropped, id(3));
    assert!(matches!(failure, PeerFailure::BadSlice { .. }), "{failure}");
    let from: BTreeSet<NodeId> = report.bytes_from.into_keys().collect();
    assert!(
        from.is_superset(&BTreeSet::from([id(1), id(2)])),
        "{from:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_away_leaves_it_to_the_other() {
    let world = Arc::new(World::default());
    let (to, stays, goes) = (
        Node::start(&world, 0),
        Node::start(&world, 1),
        Node::start(&world, 2),
    );
    let digest = stays.artifacts.store(&content()).unwrap();
    goes.artifacts.store(&content()).unwrap();
    let leaving = goes.endpoint.clone();
    let peers = [&stays, &goes];
    let (begun, partly) = oneshot::channel();
    let (report, ()) = tokio::join!(fetched(&to, digest, &peers, Watch(Some(begun))), async {
        within(partly).await.unwrap();
        leaving.close("gone").await;
    });
    assert!(report.bytes_from.contains_key(&id(1)));
    assert_eq!(to.artifacts.read(&digest).unwrap(), content());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_many_streams_is_told_that_the_node_is_busy() {
    let world = Arc::new(World::default());
    let (floods, serves) = (Node::start(&world, 0), Node::start(&world, 1));
    let session = within(floods.endpoint.dial(serves.target())).await.unwrap();
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..STREAMS_PER_PEER_MAX + 8 {
        let options = OpenOptions::default();
        let (mut send, mut recv) = session.open(Service::Artifact, options).await.unwrap();
        // Nothing is asked: who got a place keeps it.
        send.flush().await.unwrap();
        let answers = answers.clone();
        asking.spawn(async move {
            let answer = read_frame(&mut recv).await;
            let _ = answers
                .send(answer.is_ok_and(|answer| answer == Some(Message::Refused(Refusal::Busy))));
            drop(send);
        });
    }
    for _ in 0..8 {
        assert_eq!(within(answered.recv()).await, Some(true));
    }
}
