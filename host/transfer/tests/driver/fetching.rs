//! The asking side.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hypermesh_transfer::{FetchArtifactError, FetchReport, PeerFailure, Refusal, fetch};
use storage::Artifacts;
use types::{Digest, NodeId};

use crate::peers::{Nature, Peers};
use crate::{Log, content, id, patience, store, within};

const BYTES: usize = 6_000_001;

fn ids(peers: &Peers) -> Vec<NodeId> {
    (0..peers.all.len()).map(id).collect()
}

async fn fetched(
    to: &Artifacts,
    digest: Digest,
    peers: &Arc<Peers>,
) -> (Result<FetchReport, FetchArtifactError>, Log) {
    let mut log = Log::default();
    let result = within(fetch(to, digest, &ids(peers), peers, patience(), &mut log)).await;
    (result, log)
}

#[tokio::test]
async fn artifacts_of_all_sizes_come_from_one_peer() {
    let ((_a, from), (_b, to)) = (store(), store());
    for bytes in [0, 1, 16_384, 16_385, 262_144, 262_145, 1_000_000] {
        let digest = from.store(&content(bytes)).unwrap();
        let peers = Arc::new(Peers::new(&[(&from, Nature::Honest)]));
        let (report, log) = fetched(&to, digest, &peers).await;
        let report = report.unwrap();
        assert_eq!(to.read(&digest).unwrap(), content(bytes));
        let expected: u64 = report.bytes_from.values().sum();
        assert_eq!((expected, log.bytes), (bytes as u64, bytes as u64));
        assert!(report.dropped.is_empty());
        let (report, _) = fetched(&to, digest, &peers).await;
        assert_eq!(report.unwrap(), FetchReport::default(), "it is here");
    }
}

#[tokio::test]
async fn a_liar_is_dropped_and_reported_and_three_others_bring_the_artifact() {
    let ((_a, from), (_b, to)) = (store(), store());
    let digest = from.store(&content(BYTES)).unwrap();
    // The lie is in the second slice: the size was proven honestly.
    let natures = [
        Nature::Honest,
        Nature::Lies(300_000),
        Nature::Honest,
        Nature::Honest,
    ];
    let peers = Arc::new(Peers::new(&natures.map(|nature| (&from, nature))));
    let (report, log) = fetched(&to, digest, &peers).await;
    let report = report.unwrap();
    assert_eq!(to.read(&digest).unwrap(), content(BYTES));
    assert_eq!(report.dropped, log.dropped);
    assert_eq!(report.dropped.len(), 1, "{:?}", report.dropped);
    let (liar, failure) = &report.dropped[0];
    assert_eq!(*liar, id(1));
    assert!(matches!(failure, PeerFailure::BadSlice { .. }), "{failure}");
    let honest = report.bytes_from.iter().filter(|(peer, _)| **peer != id(1));
    assert_eq!(honest.count(), 3, "{:?}", report.bytes_from);
}

#[tokio::test]
async fn all_kinds_of_bad_peers_leave_it_to_the_honest_one() {
    let ((_a, from), (_b, to), (_c, empty)) = (store(), store(), store());
    let digest = from.store(&content(BYTES)).unwrap();
    let peers = Arc::new(Peers::new(&[
        (&from, Nature::Lies(5_000)),
        (&from, Nature::Stalls(20_000)),
        (&from, Nature::Cuts(20_000)),
        (&from, Nature::Absent),
        (&from, Nature::Garbage),
        (&empty, Nature::Honest),
        (&from, Nature::Slow(Duration::from_millis(100))),
        (&from, Nature::Honest),
    ]));
    let (report, _) = fetched(&to, digest, &peers).await;
    let report = report.unwrap();
    assert_eq!(to.read(&digest).unwrap(), content(BYTES));
    let dropped: BTreeSet<NodeId> = report.dropped.iter().map(|(peer, _)| *peer).collect();
    assert!(
        dropped.is_superset(&BTreeSet::from([id(0), id(4), id(5)])),
        "{:?}",
        report.dropped
    );
    assert!(
        !dropped.contains(&id(6)) && !dropped.contains(&id(7)),
        "{:?}",
        report.dropped
    );
}

#[tokio::test]
async fn without_honest_peers_each_is_named_and_what_came_stays() {
    let ((_a, from), (_b, to), (_c, empty)) = (store(), store(), store());
    let digest = from.store(&content(BYTES)).unwrap();
    // The fourth sends the last group, but not more.
    let peers = Arc::new(Peers::new(&[
        (&empty, Nature::Honest),
        (&from, Nature::Absent),
        (&from, Nature::Garbage),
        (&from, Nature::Cuts(20_000)),
    ]));
    let (result, log) = fetched(&to, digest, &peers).await;
    let Err(FetchArtifactError::NoSource(error)) = result else {
        panic!("{result:?}");
    };
    let dropped: BTreeSet<NodeId> = log.dropped.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(dropped.len(), error.peers.len());
    assert!(dropped.is_superset(&BTreeSet::from([id(0), id(1), id(2)])));
    assert_eq!(error.peers[0].1, PeerFailure::Refused(Refusal::Absent));
    assert!(matches!(error.peers[1].1, PeerFailure::Unreachable(_)));
    assert!(matches!(error.peers[2].1, PeerFailure::Violated(_)));
    assert!(matches!(error.peers[3].1, PeerFailure::Unreachable(_)));
    let partial = to.resume(&digest).unwrap().unwrap();
    assert_eq!(partial.held().count() + error.missing.unwrap(), 367);
    assert_eq!(partial.held().count(), 1);
}

#[tokio::test]
async fn a_fetch_that_was_dropped_goes_on_where_it_was() {
    let ((_a, from), (folder, to)) = (store(), store());
    let digest = from.store(&content(BYTES)).unwrap();
    let peers = Arc::new(Peers::new(&[(
        &from,
        Nature::Slow(Duration::from_millis(5)),
    )]));
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut log = Log {
        stop_at: Some((2_000_000, stop)),
        ..Log::default()
    };
    let peer_ids = ids(&peers);
    tokio::select! {
        result = fetch(&to, digest, &peer_ids, &peers, patience(), &mut log) => panic!("{result:?}"),
        stopped = within(stopped) => stopped.unwrap(),
    }
    assert!(to.size(&digest).is_none());
    drop(to);
    // Another process would open the store like this.
    let to = Artifacts::open(folder.path()).unwrap();
    let (report, _) = fetched(&to, digest, &peers).await;
    assert_eq!(to.read(&digest).unwrap(), content(BYTES));
    let again: u64 = report.unwrap().bytes_from.values().sum();
    assert!(
        again <= BYTES as u64 - 2_000_000,
        "{again} bytes came again"
    );
}

#[tokio::test]
async fn a_node_serves_what_it_is_still_fetching() {
    let ((_a, from), (_b, middle), (_c, to)) = (store(), store(), store());
    let digest = from.store(&content(BYTES)).unwrap();
    let slow = Arc::new(Peers::new(&[(
        &from,
        Nature::Slow(Duration::from_millis(5)),
    )]));
    let (begun, partly) = tokio::sync::oneshot::channel();
    let first = {
        let (middle, slow) = (middle.clone(), slow.clone());
        tokio::spawn(async move {
            let mut log = Log {
                stop_at: Some((1_000_000, begun)),
                ..Log::default()
            };
            within(fetch(
                &middle,
                digest,
                &ids(&slow),
                &slow,
                patience(),
                &mut log,
            ))
            .await
        })
    };
    within(partly).await.unwrap();
    assert!(middle.size(&digest).is_none());
    let peers = Arc::new(Peers::new(&[(&middle, Nature::Honest)]));
    let (report, _) = fetched(&to, digest, &peers).await;
    report.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(to.read(&digest).unwrap(), content(BYTES));
    assert!(peers.opened[0].load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn a_quota_that_is_too_small_is_said_at_once() {
    let (_a, from) = store();
    let folder = tempfile::tempdir().unwrap();
    let to = Artifacts::open_bounded(folder.path(), 1_000_000).unwrap();
    let digest = from.store(&content(BYTES)).unwrap();
    let peers = Arc::new(Peers::new(&[(&from, Nature::Honest)]));
    let (result, log) = fetched(&to, digest, &peers).await;
    let Err(FetchArtifactError::Storage(error)) = result else {
        panic!("{result:?}");
    };
    assert!(error.quota_exceeded().is_some(), "{error}");
    assert!(log.dropped.is_empty(), "no peer is to blame");
    assert_eq!(to.bytes(), 0);
}
