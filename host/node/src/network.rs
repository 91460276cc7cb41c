//! Leased transport as guests of this node use it, whether its host is here or elsewhere. Knows no WIT;
//! signs for a guest and gives it no key.

mod dial;

use std::io;
use std::sync::Arc;

use assets::{LinkDone, LinkError, LinkOp, OpenRemoteError, Refusal, Way, ask_link};
use futures::FutureExt as _;
use orchestrator::ReplicaKey;
use runtime::{
    AssetError, Awaited, Connecting, Network, NetworkConnection, NetworkError, NetworkLink,
    NetworkUsage,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use trust::LeaseCapability;
use types::{Amount, AssetType, Capability, ComponentSpec, LeaseId};

use crate::memory::asking::{Asking, Held};
use crate::memory::{AdmitError, LinkTenancy, Opened, admitted};
use crate::peers::OpenRegionError;
use crate::shared::Shared;

pub(crate) use dial::serve;
use dial::{Dialled, dial, used};

/// Leased transport for one replica.
struct GuestNetwork {
    shared: Arc<Shared>,
    replica: ReplicaKey,
    asking: Arc<Asking>,
}

/// A link that a guest has. Dropping it closes its connections.
struct GuestLink {
    shared: Arc<Shared>,
    capability: LeaseCapability,
    held: Arc<Held>,
    closed: CancellationToken,
}

/// A connection that a guest has.
struct GuestConnection(Arc<Ends>);

/// Both ways of a connection. Where this node has the lease, it counts them.
struct Ends {
    shared: Arc<Shared>,
    lease: LeaseId,
    reader: Mutex<Box<dyn AsyncRead + Send + Unpin>>,
    writer: Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
    here: Option<(Arc<LinkTenancy>, OwnedSemaphorePermit)>,
    /// With its link.
    closed: CancellationToken,
}

/// What a component's replica gets of leased transport, by its grants.
pub(crate) fn of(
    shared: &Arc<Shared>,
    replica: &ReplicaKey,
    spec: &ComponentSpec,
) -> Option<Arc<dyn Network>> {
    let rate = spec.capabilities.iter().find_map(|right| match right {
        Capability::Network { rate } => Some(*rate),
        _ => None,
    })?;
    let granted = Amount(rate.as_u64());
    Some(Arc::new(GuestNetwork {
        shared: Arc::clone(shared),
        replica: replica.clone(),
        asking: Arc::new(Asking::new(AssetType::Network, granted)),
    }))
}

impl std::fmt::Debug for GuestNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestNetwork").field(&self.replica).finish()
    }
}

impl std::fmt::Debug for GuestLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestLink").field(&self.capability).finish()
    }
}

impl std::fmt::Debug for GuestConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestConnection")
            .field(&self.0.lease)
            .finish()
    }
}

impl Drop for GuestLink {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl Network for GuestNetwork {
    fn allocate(&self, bytes_per_s: u64, term_ms: u64) -> Awaited<Arc<dyn NetworkLink>> {
        let leased = self
            .asking
            .lease(&self.shared, Amount(bytes_per_s), term_ms);
        let shared = Arc::clone(&self.shared);
        async move {
            let held = leased.await?;
            let capability = held.lease.capability()?;
            let link = GuestLink {
                shared,
                capability,
                held,
                closed: CancellationToken::new(),
            };
            Ok(Arc::new(link) as Arc<dyn NetworkLink>)
        }
        .boxed()
    }
}

impl NetworkLink for GuestLink {
    fn connect(&self, host: String, port: u16) -> Connecting<Arc<dyn NetworkConnection>> {
        let (shared, capability) = (Arc::clone(&self.shared), self.capability.clone());
        let (lease, closed) = (self.held.lease.lease, self.closed.clone());
        async move {
            let ends = match tenancy_here(&shared, &capability).await? {
                Some(tenancy) => {
                    let dialled = dial(&shared, &tenancy, shared.node, (&host, port)).await;
                    let Dialled { stream, place } = dialled.map_err(not_linked)?;
                    let (reader, writer) = stream.into_split();
                    Ends {
                        shared,
                        lease,
                        reader: Mutex::new(Box::new(reader)),
                        writer: Mutex::new(Box::new(writer)),
                        here: Some((tenancy, place)),
                        closed,
                    }
                }
                None => {
                    let connect = LinkOp::Connect { host, port };
                    let (answer, reader, writer) = asked(&shared, &capability, &connect).await?;
                    match answer {
                        LinkDone::Connected => Ends {
                            shared,
                            lease,
                            reader: Mutex::new(reader),
                            writer: Mutex::new(writer),
                            here: None,
                            closed,
                        },
                        LinkDone::Usage { .. } => return Err(odd().into()),
                    }
                }
            };
            Ok(Arc::new(GuestConnection(Arc::new(ends))) as Arc<dyn NetworkConnection>)
        }
        .boxed()
    }

    fn usage(&self) -> Awaited<NetworkUsage> {
        let (shared, capability) = (Arc::clone(&self.shared), self.capability.clone());
        async move { usage(&shared, &capability).await }.boxed()
    }

    fn renew(&self, term_ms: u64) -> Awaited<()> {
        let renewed = self.held.renew(term_ms);
        let (shared, capability) = (Arc::clone(&self.shared), self.capability.clone());
        async move {
            renewed.await?;
            // The host may have ended the link by its own clock before it heard of it.
            usage(&shared, &capability).await.map(|_| ())
        }
        .boxed()
    }
}

async fn usage(shared: &Shared, capability: &LeaseCapability) -> Result<NetworkUsage, AssetError> {
    let done = match tenancy_here(shared, capability).await? {
        Some(tenancy) => used(shared, &tenancy),
        None => {
            let asked = asked(shared, capability, &LinkOp::Usage).await;
            let asked = asked.map_err(|error| match error {
                NetworkError::Asset(error) => error,
                NetworkError::Failed(text) => AssetError::Unavailable(text),
            });
            asked?.0
        }
    };
    match done {
        LinkDone::Usage {
            bytes_per_s,
            sent_bytes,
            received_bytes,
            connections,
            left_ms,
        } => Ok(NetworkUsage {
            bytes_per_s,
            sent_bytes,
            received_bytes,
            connections,
            left_ms,
        }),
        LinkDone::Connected => Err(odd()),
    }
}

/// The link that a capability is for, if this node has it.
async fn tenancy_here(
    shared: &Shared,
    capability: &LeaseCapability,
) -> Result<Option<Arc<LinkTenancy>>, AssetError> {
    if capability.subject().host != shared.node {
        return Ok(None);
    }
    let admitted = admitted(shared, capability, shared.node).await;
    match admitted.map_err(|error: AdmitError| refused(error.refusal()))? {
        Opened::Link(tenancy) if tenancy.is_over(shared.now_ms()) => Err(AssetError::Ended),
        Opened::Link(tenancy) => Ok(Some(tenancy)),
        Opened::Region(_) | Opened::Member(_) | Opened::Cpu(_) => Err(odd()),
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Asks the node that has the lease; the stream is the connection then, if that was asked for.
async fn asked(
    shared: &Shared,
    capability: &LeaseCapability,
    operation: &LinkOp,
) -> Result<(LinkDone, Reader, Writer), NetworkError> {
    let host = capability.subject().host;
    let peers = shared.peers.get();
    let peers = peers.ok_or_else(|| unavailable(OpenRegionError::NoSession(host)))?;
    let stream = peers.asset_stream(host).await;
    let (mut writer, mut reader) = stream.map_err(unavailable)?;
    let shown = capability.sealed().encode().to_vec();
    let answer = ask_link(&mut reader, &mut writer, shown, operation).await;
    let answer = answer.map_err(|error| match error {
        OpenRemoteError::Refused(refusal) => refused(refusal),
        error @ OpenRemoteError::Lost(_) => AssetError::Lost(error.to_string()),
    })?;
    let done = answer.map_err(not_linked)?;
    Ok((done, Box::new(reader), Box::new(writer)))
}

impl Ends {
    /// Does something with the connection, unless its link closes meanwhile.
    async fn unless_over<T>(
        &self,
        act: impl Future<Output = io::Result<T>>,
    ) -> Result<T, NetworkError> {
        let over = async {
            match &self.here {
                Some((tenancy, _)) => tenancy.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(AssetError::Ended.into()),
            () = over => Err(AssetError::Ended.into()),
            done = act => done.map_err(|error| self.broke(&error)),
        }
    }

    /// Why it broke: a host resets what its leases end.
    fn broke(&self, error: &io::Error) -> NetworkError {
        let latest_ms = self.shared.memory.clock().latest_ms(self.shared.now_ms());
        let record = self.shared.state().view.lease(&self.lease);
        // State that cannot be read ends the node elsewhere.
        let record = record.ok().flatten();
        if record.is_none_or(|record| latest_ms >= record.expires_ms) {
            return AssetError::Ended.into();
        }
        match error.kind() {
            io::ErrorKind::ConnectionAborted if self.here.is_none() => {
                AssetError::Lost(error.to_string()).into()
            }
            _ => NetworkError::Failed(format!("the connection broke: {error}")),
        }
    }
}

impl NetworkConnection for GuestConnection {
    fn read(&self, bytes_max: usize) -> Connecting<Vec<u8>> {
        let ends = Arc::clone(&self.0);
        async move {
            let read = async {
                let mut reader = ends.reader.lock().await;
                if let Some((tenancy, _)) = &ends.here {
                    return tenancy.used().read(Way::In, &mut *reader, bytes_max).await;
                }
                let mut bytes = vec![0; bytes_max];
                let count = reader.read(&mut bytes).await?;
                bytes.truncate(count);
                Ok(bytes)
            };
            ends.unless_over(read).await
        }
        .boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> Connecting<()> {
        let ends = Arc::clone(&self.0);
        async move {
            let written = async {
                let mut writer = ends.writer.lock().await;
                if let Some((tenancy, _)) = &ends.here {
                    return tenancy.used().write(Way::Out, &mut *writer, &bytes).await;
                }
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            ends.unless_over(written).await
        }
        .boxed()
    }

    fn finish(&self) -> Connecting<()> {
        let ends = Arc::clone(&self.0);
        async move {
            let finished = async { ends.writer.lock().await.shutdown().await };
            ends.unless_over(finished).await
        }
        .boxed()
    }
}

/// An answer to another question: a host that is not as it should be.
fn odd() -> AssetError {
    AssetError::Lost("the link's host answered something else than it was asked".to_owned())
}

fn unavailable(error: impl std::fmt::Display) -> AssetError {
    AssetError::Unavailable(error.to_string())
}

fn refused(refusal: Refusal) -> AssetError {
    match refusal {
        Refusal::Denied(text) => AssetError::Denied(text),
        Refusal::NoLease => AssetError::Ended,
        Refusal::Unable(text) => AssetError::Unavailable(text),
    }
}

fn not_linked(error: LinkError) -> NetworkError {
    let text = error.to_string();
    NetworkError::Asset(match error {
        LinkError::Failed(_) => return NetworkError::Failed(text),
        LinkError::Ended => AssetError::Ended,
        LinkError::NotAllowed => AssetError::Denied(text),
        LinkError::TooMany(_) => AssetError::Quota(text),
        LinkError::NoHost => AssetError::Invalid(text),
    })
}
