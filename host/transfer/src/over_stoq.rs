//! Fetching and serving over STOQ sessions. Who is a peer, and that there are sessions, is the
//! endpoint's business.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stoq::{Endpoint, InboundStream, OpenOptions, RecvStream, SendStream, Service};
use storage::GROUP_BYTES;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use types::NodeId;

use crate::bounds::STREAMS_PER_PEER_MAX;
use crate::driver::Sources;
use crate::fetch_types::Pace;
use crate::serve::{ServeError, Served, Server};
use crate::wire::Refusal;

/// Version of the artifact service that this crate speaks.
pub const ARTIFACT_VERSION: u16 = 1;

/// No request takes longer: it has at most 64 MiB, and a fetch gives silent ones up far earlier.
const REQUEST_TIME: Duration = Duration::from_secs(600);

/// Chunks of a tier per request: with them, what the requests of one session have in flight is more
/// than its window, so that no request is waited for.
const CHUNKS_PER_REQUEST: u64 = 16;

/// The peers that an endpoint has sessions with; each bears what the tier of its session says.
#[derive(Debug)]
pub struct Sessions {
    endpoint: Endpoint,
}

impl Sessions {
    /// Asks peers over the sessions of `endpoint`. To have sessions is the caller's business.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }
}

impl Sources for Sessions {
    type Reader = RecvStream;
    type Writer = SendStream;

    async fn open(&self, peer: NodeId) -> io::Result<(RecvStream, SendStream)> {
        let session = self.endpoint.session(&peer);
        let session = session.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, "there is no session with it")
        })?;
        let options = OpenOptions {
            version: ARTIFACT_VERSION,
            deadline: Some(REQUEST_TIME),
            trace: None,
            idempotent: true,
        };
        let opened = session.open(Service::Artifact, options).await;
        let (writer, reader) = opened.map_err(io::Error::other)?;
        Ok((reader, writer))
    }

    fn pace(&self, peer: NodeId) -> Pace {
        let Some(session) = self.endpoint.session(&peer) else {
            return Pace::default();
        };
        let settings = session.settings();
        let groups = u64::from(settings.chunk_bytes) * CHUNKS_PER_REQUEST / GROUP_BYTES;
        let groups = u32::try_from(groups).unwrap_or(u32::MAX);
        Pace {
            asks: NonZeroU32::new(settings.bulk_streams).unwrap_or(NonZeroU32::MIN),
            groups: NonZeroU32::new(groups).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// Answers the streams that come from `inbound` until the endpoint is gone; `ended` hears of each.
/// One peer has at most [`STREAMS_PER_PEER_MAX`] answered at once.
pub async fn serve_sessions(
    server: Server,
    mut inbound: mpsc::Receiver<InboundStream>,
    ended: impl Fn(NodeId, Result<Served, ServeError>) + Send + Sync + 'static,
) {
    let ended = Arc::new(ended);
    let places = Places::default();
    // Ends what is under way when this is dropped.
    let mut answers = JoinSet::new();
    while let Some(InboundStream {
        session,
        send,
        recv,
        ..
    }) = inbound.recv().await
    {
        while answers.try_join_next().is_some() {}
        let peer = session.peer_id();
        let (server, ended, place) = (server.clone(), Arc::clone(&ended), places.take(peer));
        answers.spawn(async move {
            let served = match &place {
                Some(_) => server.serve(recv, send).await,
                None => Server::refuse(send, Refusal::Busy).await,
            };
            ended(peer, served);
        });
    }
}

/// How many streams each peer has answered now.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<HashMap<NodeId, usize>>>);

struct Place(Places, NodeId);

impl Places {
    fn take(&self, peer: NodeId) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(peer).or_default();
        if *count >= STREAMS_PER_PEER_MAX {
            return None;
        }
        *count += 1;
        Some(Place(self.clone(), peer))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.1);
            }
        }
    }
}
