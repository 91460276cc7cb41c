//! Fetches over streams in memory, between stores on disk: from honest peers and others, to the end
//! and again after being dropped on the way.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod fetching;
mod peers;
mod serving;

use std::time::Duration;

use hypermesh_transfer::{Observer, Patience, PeerFailure};
use storage::Artifacts;
use tempfile::TempDir;
use types::NodeId;

/// Longest wait for anything; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);

fn store() -> (TempDir, Artifacts) {
    let folder = tempfile::tempdir().unwrap();
    let store = Artifacts::open(folder.path()).unwrap();
    (folder, store)
}

/// Bytes that differ from group to group.
fn content(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

fn id(number: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(number).unwrap(); 32])
}

/// Short waits: the peers are in this process.
fn patience() -> Patience {
    Patience {
        silence: Duration::from_secs(2),
        hedge_after: Duration::from_millis(300),
        pause: Duration::from_millis(20),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this should have happened by now")
}

#[derive(Default)]
struct Log {
    dropped: Vec<(NodeId, PeerFailure)>,
    bytes: u64,
    stop_at: Option<(u64, tokio::sync::oneshot::Sender<()>)>,
}

impl Observer for Log {
    fn dropped(&mut self, peer: NodeId, failure: &PeerFailure) {
        self.dropped.push((peer, failure.clone()));
    }

    fn progressed(&mut self, bytes: u64, of_bytes: u64) {
        assert!(bytes >= self.bytes && bytes <= of_bytes);
        self.bytes = bytes;
        if self.stop_at.as_ref().is_some_and(|(at, _)| bytes >= *at) {
            let (_, stop) = self.stop_at.take().unwrap();
            let _ = stop.send(());
        }
    }
}
