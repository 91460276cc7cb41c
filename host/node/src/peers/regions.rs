//! What is leased, over sessions: that of this node served to members, that of others opened. Never knows
//! what it is for.

use std::sync::Arc;

use assets::{
    CAPABILITY_BYTES_MAX, OpenRemoteError, Protocol, Refusal, Remote, RemoteMember, RemoteRegion,
    ServeRegionError, read_hello, refuse_stream, serve_access, serve_member,
};
use stoq::{InboundStream, OpenError, OpenOptions, RecvStream, SendStream, Service};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trust::LeaseCapability;
use types::NodeId;

use crate::memory::{Opened, admitted};
use crate::network;
use crate::peers::Peers;
use crate::shared::Shared;

/// Version of the asset service that this crate speaks.
pub(crate) const VERSION: u16 = 1;

/// Streams that are open at once, of all peers: each holds a frame each way, 64 MiB in all. STOQ
/// gives one peer at most 32.
const STREAMS_MAX: usize = 512;

// Whatever `trust` encodes can be shown.
const _: () = assert!(LeaseCapability::BYTES_MAX <= CAPABILITY_BYTES_MAX);

/// What another node has and was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenRegionError {
    /// There is no session with it.
    #[error("this node has no session with node {}, which has what was leased", .0.short())]
    NoSession(NodeId),
    /// No stream.
    #[error("node {} was not asked: {error}", .host.short())]
    Stream {
        /// The node.
        host: NodeId,
        /// What came back.
        error: OpenError,
    },
    /// The host said no, or nothing.
    #[error(transparent)]
    Remote(#[from] OpenRemoteError),
}

impl Peers {
    /// Whether there is a session with `peer`.
    pub(crate) fn reaches(&self, peer: &NodeId) -> bool {
        self.endpoint.session(peer).is_some()
    }

    /// Opens a region of another node. The secret of the capability stays here.
    ///
    /// # Errors
    /// [`OpenRegionError`].
    pub(crate) async fn open_region(
        &self,
        host: NodeId,
        capability: &LeaseCapability,
    ) -> Result<RemoteRegion, OpenRegionError> {
        self.open_asset(host, capability).await
    }

    /// Opens a member that another node keeps. The secret of the capability stays here.
    ///
    /// # Errors
    /// [`OpenRegionError`].
    pub(crate) async fn open_member(
        &self,
        host: NodeId,
        capability: &LeaseCapability,
    ) -> Result<RemoteMember, OpenRegionError> {
        self.open_asset(host, capability).await
    }

    async fn open_asset<P: Protocol>(
        &self,
        host: NodeId,
        capability: &LeaseCapability,
    ) -> Result<Remote<P>, OpenRegionError> {
        let (writer, reader) = self.asset_stream(host).await?;
        let shown = capability.sealed().encode().to_vec();
        Ok(Remote::open(reader, writer, shown).await?)
    }

    /// Opens a stream of the asset service.
    ///
    /// # Errors
    /// [`OpenRegionError`].
    pub(crate) async fn asset_stream(
        &self,
        host: NodeId,
    ) -> Result<(SendStream, RecvStream), OpenRegionError> {
        let session = self.endpoint.session(&host);
        let session = session.ok_or(OpenRegionError::NoSession(host))?;
        let options = OpenOptions {
            version: VERSION,
            ..OpenOptions::default()
        };
        let opened = session.open(Service::Asset, options).await;
        opened.map_err(|error| OpenRegionError::Stream { host, error })
    }
}

/// Serves what is leased to members until `stop`.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut inbound: mpsc::Receiver<InboundStream>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(STREAMS_MAX));
    // Ends what is under way when this is dropped.
    let mut streams = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = inbound.recv() => stream,
        };
        let Some(stream) = stream else { return };
        while streams.try_join_next().is_some() {}
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let shared = Arc::clone(&shared);
        streams.spawn(async move {
            match place {
                Some(_place) => serve_one(&shared, stream).await,
                None => drop::<SendStream>(stream.send),
            }
        });
    }
}

async fn serve_one(shared: &Shared, stream: InboundStream) {
    let peer = stream.session.peer_id();
    match serve_opened(shared, peer, stream).await {
        Ok(operations) => {
            tracing::debug!(peer = %peer.short(), operations, "a stream of an asset ended");
        }
        Err(error) => tracing::debug!(peer = %peer.short(), "a stream of an asset broke: {error}"),
    }
}

/// Serves what the capability opens that the stream begins with; how many operations.
async fn serve_opened(
    shared: &Shared,
    peer: NodeId,
    stream: InboundStream,
) -> Result<u64, ServeRegionError> {
    let InboundStream { send, mut recv, .. } = stream;
    let hello = read_hello(&mut recv).await?;
    let opened = async {
        let capability = LeaseCapability::decode(&hello.capability);
        let capability = capability.map_err(|error| Refusal::Denied(error.to_string()))?;
        let admitted = admitted(shared, &capability, peer).await;
        admitted.map_err(|error| error.refusal())
    };
    match opened.await {
        Ok(Opened::Region(access)) => serve_access(recv, send, &access, || shared.now_ms()).await,
        Ok(Opened::Member(access)) => serve_member(recv, send, &access).await,
        Ok(Opened::Link(tenancy)) => network::serve(shared, &tenancy, peer, recv, send).await,
        Ok(Opened::Cpu(_)) => {
            let text = "a lease of cpu is used by the invoke service";
            let refusal = Refusal::Denied(text.to_owned());
            refuse_stream(send, refusal).await.map(|()| 0)
        }
        Err(refusal) => refuse_stream(send, refusal).await.map(|()| 0),
    }
}
