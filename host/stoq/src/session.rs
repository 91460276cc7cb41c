//! Sessions: the authenticated relation with one peer, usable from both ends, whoever dialled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use types::NodeId;

use crate::authority::Peer;
use crate::bounds::OPEN_TIME;
use crate::close::{CloseReason, Closer};
use crate::link::{Link, lock};
use crate::proto::{
    FrameError, Measured, Service, StreamHeader, Tier, TierSettings, TraceId, bounded_text,
};
use crate::read::RecvStream;
use crate::socket::plain;
use crate::write::SendStream;

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer dialled this node.
    Inbound,
    /// This node dialled the peer.
    Outbound,
}

/// The relation with one peer. Clones are the same session; dropping them does not end it.
#[derive(Debug, Clone)]
pub struct Session(pub(crate) Arc<Link>);

/// What a request brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOptions {
    /// Version of the service's own protocol.
    pub version: u16,
    /// Time until both ends reset the stream, answered or not.
    pub deadline: Option<Duration>,
    /// The request that this stream belongs to.
    pub trace: Option<TraceId>,
    /// Whether asking twice has the effect of asking once.
    pub idempotent: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            version: 1,
            deadline: None,
            trace: None,
            idempotent: false,
        }
    }
}

/// A stream that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The session has ended.
    #[error("the session has ended: {0}")]
    SessionEnded(CloseReason),
    /// The peer allows no more streams at the moment, and none ended in time.
    #[error("the peer allows no more streams at the moment")]
    Busy,
    /// The header has no encoding.
    #[error("the stream header: {0}")]
    Header(#[from] FrameError),
}

/// A datagram that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendDatagramError {
    /// The session has ended.
    #[error("the session has ended: {0}")]
    SessionEnded(CloseReason),
    /// The path takes no datagrams of this size at the moment.
    #[error("a datagram may have {bytes_max} bytes at the moment, not {bytes}")]
    TooLong {
        /// What should be sent.
        bytes: usize,
        /// What the path takes.
        bytes_max: usize,
    },
}

/// What this end knows about a session.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Who.
    pub peer: Arc<Peer>,
    /// Where to, at the moment; if the session is relayed, where the relay is.
    pub remote: SocketAddr,
    /// The node that relays it, if it is relayed.
    pub via: Option<NodeId>,
    /// Who dialled.
    pub direction: Direction,
    /// How long it has lasted.
    pub age: Duration,
    /// Round trip time.
    pub rtt: Duration,
    /// Packets sent and lost, of the current path.
    pub packets_sent: u64,
    /// Those of them that were lost.
    pub packets_lost: u64,
    /// Bytes sent, with all headers but those of UDP and IP.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Inbound streams that are open now.
    pub streams_in: u32,
    /// Inbound datagrams that found no place.
    pub datagrams_lost: u64,
    /// What its path carries.
    pub tier: Tier,
    /// What the tier means: bulk transfers spread and cut by it.
    pub settings: TierSettings,
    /// What its path showed, if it carried anything worth measuring.
    pub measured: Option<Measured>,
    /// The operator's cap, in bytes per second.
    pub cap: Option<u64>,
    /// Largest packet that the path takes.
    pub mtu_bytes: u16,
    /// Whether another connection has taken its place.
    pub is_retired: bool,
}

impl Session {
    /// Who the peer is, as its authority said last.
    #[must_use]
    pub fn peer(&self) -> Arc<Peer> {
        self.0.standing().peer
    }

    /// The peer's identity.
    #[must_use]
    pub fn peer_id(&self) -> NodeId {
        self.0.standing().peer.id
    }

    /// The certificates that the peer showed last, leaf first.
    #[must_use]
    pub fn peer_chain(&self) -> Arc<[CertificateDer<'static>]> {
        self.0.standing().chain
    }

    /// Whether a third node carries its packets.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.current().is_relayed()
    }

    /// Who dialled.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.0.direction
    }

    /// Whether new streams can be opened.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.current().is_live()
    }

    /// Opens a stream to `service`. Nothing travels before the first write, flush or finish: the
    /// header goes with it, and the peer's reply with its first data.
    ///
    /// # Errors
    /// [`OpenError`]. A refusal shows when the reply is read.
    pub async fn open(
        &self,
        service: Service,
        options: OpenOptions,
    ) -> Result<(SendStream, RecvStream), OpenError> {
        open_on(&self.current(), service, options).await
    }

    /// Sends one datagram: it arrives once, or not at all. When too many wait, the oldest is lost.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn send_datagram(&self, service: Service, payload: &[u8]) -> Result<(), SendDatagramError> {
        let link = self.current();
        let bytes_max = self.datagram_bytes_max();
        let too_long = || SendDatagramError::TooLong {
            bytes: payload.len(),
            bytes_max,
        };
        if payload.len() > bytes_max {
            return Err(too_long());
        }
        let mut datagram = BytesMut::with_capacity(payload.len() + 1);
        datagram.put_u8(service.number());
        datagram.extend_from_slice(payload);
        let sent = link.connection.send_datagram(Bytes::from(datagram));
        sent.map_err(|error| match error {
            quinn::SendDatagramError::ConnectionLost(error) => {
                let reason = link.end_reason();
                SendDatagramError::SessionEnded(reason.unwrap_or(CloseReason::from_error(&error)))
            }
            _ => too_long(),
        })
    }

    /// Most payload bytes of a datagram at the moment; it grows as the path is explored.
    #[must_use]
    pub fn datagram_bytes_max(&self) -> usize {
        let path = self.current().connection.max_datagram_size();
        path.unwrap_or(0).saturating_sub(1)
    }

    /// What its tier means at the moment: how to spread and cut a bulk transfer.
    #[must_use]
    pub fn settings(&self) -> TierSettings {
        lock(&self.current().tier).settings()
    }

    /// What this end knows about it.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        info(&self.current())
    }

    /// Waits for the end, and says why. A connection that is replaced by another is not the end.
    pub async fn ended(&self) -> CloseReason {
        let mut link = self.0.clone();
        loop {
            let reason = link.ended().await;
            let successor = Self(link.clone()).current();
            if reason != CloseReason::Replaced || !successor.is_live() {
                return reason;
            }
            link = successor;
        }
    }

    /// Ends the session; the peer reads the first 256 bytes of `text`.
    pub fn close(&self, text: &str) {
        self.current().end(CloseReason::Shutdown {
            by: Closer::Us,
            text: bounded_text(text),
        });
    }

    /// The connection of this session now: its own, or the one that replaced it.
    fn current(&self) -> Arc<Link> {
        if self.0.is_live() {
            return self.0.clone();
        }
        let shared = self.0.shared.upgrade();
        let successor =
            shared.and_then(|shared| lock(&shared.table).of_node(&self.0.standing().peer.id));
        successor.unwrap_or_else(|| self.0.clone())
    }
}

/// Opens a stream over this very connection.
pub(crate) async fn open_on(
    link: &Link,
    service: Service,
    options: OpenOptions,
) -> Result<(SendStream, RecvStream), OpenError> {
    let deadline = options.deadline.map(|left| Instant::now() + left);
    let wait = options.deadline.unwrap_or(OPEN_TIME).min(OPEN_TIME);
    let (send, recv) = tokio::time::timeout(wait, link.connection.open_bi())
        .await
        .map_err(|_| OpenError::Busy)?
        .map_err(|error| {
            let reason = link.end_reason();
            OpenError::SessionEnded(reason.unwrap_or(CloseReason::from_error(&error)))
        })?;
    // It fails only for streams that have ended.
    let _ = send.set_priority(service.priority());
    let first = header(service, options).to_frame()?;
    Ok((
        SendStream::new(send, &first, deadline, link.lane.clone(), None),
        RecvStream::of_reply(recv, deadline),
    ))
}

pub(crate) const fn header(service: Service, options: OpenOptions) -> StreamHeader {
    StreamHeader {
        service,
        version: options.version,
        deadline: options.deadline,
        trace: options.trace,
        idempotent: options.idempotent,
    }
}

pub(crate) fn info(link: &Link) -> SessionInfo {
    let stats = link.connection.stats();
    let (tier, settings) = {
        let estimator = lock(&link.tier);
        (estimator.tier(), estimator.settings())
    };
    let carrier = link.carrier();
    let outermost = carrier.as_deref().unwrap_or(link);
    SessionInfo {
        peer: link.standing().peer,
        remote: plain(outermost.connection.remote_address()),
        via: carrier.as_ref().map(|relay| relay.standing().peer.id),
        direction: link.direction,
        age: link.since.elapsed(),
        rtt: stats.path.rtt,
        packets_sent: stats.path.sent_packets,
        packets_lost: stats.path.lost_packets,
        bytes_sent: stats.udp_tx.bytes,
        bytes_received: stats.udp_rx.bytes,
        streams_in: lock(&link.admission).open(),
        tier,
        settings,
        measured: lock(&link.meter).measured(),
        cap: link.lane.cap(),
        datagrams_lost: link.datagrams_lost.load(Ordering::Relaxed),
        mtu_bytes: stats.path.current_mtu,
        is_retired: link.is_retired(),
    }
}
