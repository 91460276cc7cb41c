//! Artifacts of other nodes: fetched when one is missing here, served to members. Never knows what an
//! artifact is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stoq::{Endpoint, InboundStream};
use storage::Artifacts;
use tokio::sync::mpsc;
use transfer::{
    FetchArtifactError, Observer, Patience, PeerFailure, Server, Sessions, fetch, serve_sessions,
};
use trust::Standing;
use types::{Digest, NodeId};

use crate::peers::authority::standing;

/// Streams that are answered at once, half a megabyte each.
const STREAMS_MAX: usize = 64;

/// An artifact that no peer gave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No member is there to be asked.
    #[error("artifact {0} is not on this node, and no other member has a session with it")]
    NoPeer(Digest),
    /// Those that were asked do not have it, or failed.
    #[error("artifact {digest} is not on this node and cannot be fetched: {source}")]
    Fetch {
        /// Which one.
        digest: Digest,
        /// Each peer with its reason.
        source: FetchArtifactError,
    },
}

/// Fetches artifacts, each at most once at a time.
#[derive(Debug)]
pub(crate) struct ArtifactPeers {
    endpoint: Endpoint,
    sessions: Arc<Sessions>,
    /// One turn per artifact that is being fetched: whoever comes second finds it.
    turns: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl ArtifactPeers {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(endpoint.clone())),
            endpoint,
            turns: Mutex::default(),
        }
    }

    /// Brings an artifact here from whichever members have it, checked as it comes.
    ///
    /// # Errors
    /// [`FetchError`] if none has it.
    pub(crate) async fn fetch(
        &self,
        artifacts: &Artifacts,
        digest: Digest,
    ) -> Result<(), FetchError> {
        let turn = Arc::clone(self.turns().entry(digest).or_default());
        let _turn = turn.lock().await;
        let fetched = self.fetch_once(artifacts, digest).await;
        self.turns().remove(&digest);
        fetched
    }

    async fn fetch_once(&self, artifacts: &Artifacts, digest: Digest) -> Result<(), FetchError> {
        let sessions = self.endpoint.sessions();
        let members = sessions
            .iter()
            .filter_map(|info| match standing(&info.peer) {
                Standing::Member(node) => Some(node),
                _ => None,
            });
        let peers: Vec<NodeId> = members.take(transfer::PEERS_MAX).collect();
        if peers.is_empty() {
            return Err(FetchError::NoPeer(digest));
        }
        let patience = Patience::default();
        let mut log = Logged(digest);
        let fetching = fetch(
            artifacts,
            digest,
            &peers,
            &self.sessions,
            patience,
            &mut log,
        );
        let report = fetching.await;
        let report = report.map_err(|source| FetchError::Fetch { digest, source })?;
        let bytes: u64 = report.bytes_from.values().sum();
        tracing::info!(%digest, bytes, peers = report.bytes_from.len(), "fetched an artifact");
        Ok(())
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<tokio::sync::Mutex<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says in the log who failed.
struct Logged(Digest);

impl Observer for Logged {
    fn dropped(&mut self, peer: NodeId, failure: &PeerFailure) {
        tracing::warn!(digest = %self.0, peer = %peer.short(), "no more from this peer: {failure}");
    }

    fn progressed(&mut self, _: u64, _: u64) {}
}

/// Serves artifacts to members until the endpoint is gone.
pub(crate) async fn serve(artifacts: Artifacts, inbound: mpsc::Receiver<InboundStream>) {
    serve_sessions(
        Server::new(artifacts, STREAMS_MAX),
        inbound,
        |peer, served| {
            if let Err(error) = served {
                tracing::debug!(peer = %peer.short(), "an artifact was not served: {error}");
            }
        },
    )
    .await;
}
