//! Connections that this node makes over leases of its transport: for its own guests and, where its
//! operator allows, for those of other nodes. Knows no WIT.

use std::time::Duration;

use assets::{
    CONNECTIONS_PER_LINK_MAX, HOST_BYTES_MAX, LinkDone, LinkError, LinkOp, ServeRegionError, Way,
    answer_link, read_link_request,
};
use stoq::{RecvStream, SendStream};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use types::NodeId;

use crate::memory::LinkTenancy;
use crate::shared::Shared;

/// Longest that is dialled, the lookup of a name included.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// A connection, and its place among those of its link.
pub(super) struct Dialled {
    pub(super) stream: TcpStream,
    pub(super) place: OwnedSemaphorePermit,
}

/// Connects, for a guest of `presenter`.
pub(super) async fn dial(
    shared: &Shared,
    tenancy: &LinkTenancy,
    presenter: NodeId,
    (host, port): (&str, u16),
) -> Result<Dialled, LinkError> {
    if tenancy.is_over(shared.now_ms()) {
        return Err(LinkError::Ended);
    }
    // Nothing but what can stand in a pattern: the resolver must not read it differently.
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-.:[]".contains(&c);
    if !(1..=HOST_BYTES_MAX).contains(&host.len()) || !host.bytes().all(plain) {
        return Err(LinkError::NoHost);
    }
    // What this node's own guests may is in their manifests.
    let mut allowed = shared.lease_dials.iter();
    if presenter != shared.node && !allowed.any(|pattern| pattern.covers(host, port)) {
        return Err(LinkError::NotAllowed);
    }
    let most = u32::try_from(CONNECTIONS_PER_LINK_MAX).unwrap_or(u32::MAX);
    let place = tenancy.used().place().ok_or(LinkError::TooMany(most))?;
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |why: String| LinkError::Failed(format!("{host}:{port}: {why}"));
    let stream = timeout(DIAL_TIME, TcpStream::connect((inner, port))).await;
    let stream = stream.map_err(|_| failed(format!("no answer in {DIAL_TIME:?}")))?;
    let stream = stream.map_err(|error| failed(error.to_string()))?;
    // What a guest writes is a piece of its own choice; waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    Ok(Dialled { stream, place })
}

/// What a link carried.
pub(super) fn used(shared: &Shared, tenancy: &LinkTenancy) -> LinkDone {
    let used = tenancy.used().used();
    LinkDone::Usage {
        bytes_per_s: used.bytes_per_s,
        sent_bytes: used.sent_bytes,
        received_bytes: used.received_bytes,
        connections: used.connections,
        left_ms: tenancy.left_ms(shared.now_ms()),
    }
}

/// Answers what another node asks of a link, and is its connection then. Returns what was answered.
pub(crate) async fn serve(
    shared: &Shared,
    tenancy: &LinkTenancy,
    presenter: NodeId,
    mut recv: RecvStream,
    mut send: SendStream,
) -> Result<u64, ServeRegionError> {
    let bytes_per_s = tenancy.amount().0;
    let (host, port) = match read_link_request(&mut recv, &mut send, bytes_per_s).await? {
        LinkOp::Connect { host, port } => (host, port),
        LinkOp::Usage => {
            answer_link(&mut send, Ok(used(shared, tenancy))).await?;
            send.shutdown().await?;
            return Ok(1);
        }
    };
    let dialled = dial(shared, tenancy, presenter, (&host, port)).await;
    let Dialled { mut stream, place } = match dialled {
        Ok(dialled) => dialled,
        Err(error) => {
            answer_link(&mut send, Err(error)).await?;
            send.shutdown().await?;
            return Ok(1);
        }
    };
    answer_link(&mut send, Ok(LinkDone::Connected)).await?;
    let (mut read, mut write) = stream.split();
    let link = tenancy.used();
    let out = link.carry(Way::Out, &mut recv, &mut write);
    let back = link.carry(Way::In, &mut read, &mut send);
    let carried = async { tokio::try_join!(out, back) };
    tokio::select! {
        carried = carried => {
            carried?;
        }
        // Both ends are dropped: the peer sees the stream break, and what was dialled the end.
        () = tenancy.over() => {}
    }
    drop(place);
    Ok(1)
}
