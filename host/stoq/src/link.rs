//! One connection between two nodes, with what this end knows about it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use quinn::{Connection, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::authority::Peer;
use crate::bounds::{STREAMS_PER_PEER_FIRST, STREAMS_PER_PEER_MAX};
use crate::circuit::is_place;
use crate::close::CloseReason;
use crate::congestion::Lever;
use crate::endpoint::Shared;
use crate::lane::Lane;
use crate::proto::{Admission, Claim, ControlFrame, Meter, RenewalBudget, Service, TierEstimator};
use crate::session::Direction;
use crate::socket::plain;
use crate::tiering::Counted;

/// One authenticated connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Unlike every other of this endpoint.
    pub(crate) number: u64,
    pub(crate) connection: Connection,
    pub(crate) direction: Direction,
    pub(crate) since: Instant,
    pub(crate) claim: Claim,
    /// Where the peer seems to be, if a third node carries the packets.
    pub(crate) place: Option<SocketAddr>,
    pub(crate) admission: Mutex<Admission>,
    pub(crate) renewals: Mutex<RenewalBudget>,
    /// Datagrams that found no place in the queue of their service, or no service.
    pub(crate) datagrams_lost: AtomicU64,
    pub(crate) shared: Weak<Shared>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) lever: Option<Lever>,
    pub(crate) tier: Mutex<TierEstimator>,
    pub(crate) meter: Mutex<Meter>,
    pub(crate) counted: Mutex<Counted>,
    standing: Mutex<Standing>,
    control: tokio::sync::Mutex<quinn::SendStream>,
    ended: OnceLock<CloseReason>,
    retired: AtomicBool,
    confirmed: AtomicBool,
    widened: AtomicBool,
}

/// Who the peer is, and by which certificates.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) peer: Arc<Peer>,
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
    /// How many rechecks there had been when the authority was asked.
    pub(crate) rechecks: u64,
}

/// What is known of a connection when it becomes a session.
pub(crate) struct Established {
    pub(crate) connection: Connection,
    pub(crate) standing: Standing,
    pub(crate) control: quinn::SendStream,
    pub(crate) claim: Claim,
}

impl Link {
    pub(crate) fn new(number: u64, established: Established, shared: &Arc<Shared>) -> Arc<Self> {
        let direction = if established.claim.dialler == shared.node {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        let cap = shared.cap(&established.standing.peer.id);
        let remote = plain(established.connection.remote_address());
        Arc::new(Self {
            number,
            place: is_place(remote).then_some(remote),
            lane: Arc::new(Lane::new(cap)),
            lever: Lever::of(&established.connection),
            tier: Mutex::default(),
            meter: Mutex::default(),
            counted: Mutex::default(),
            connection: established.connection,
            direction,
            since: Instant::now(),
            claim: established.claim,
            admission: Mutex::default(),
            renewals: Mutex::default(),
            datagrams_lost: AtomicU64::new(0),
            shared: Arc::downgrade(shared),
            standing: Mutex::new(established.standing),
            control: tokio::sync::Mutex::new(established.control),
            ended: OnceLock::new(),
            retired: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
            widened: AtomicBool::new(false),
        })
    }

    pub(crate) fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    /// Takes what the authority said last, unless it is about another node.
    pub(crate) fn stands(&self, standing: Standing) -> Result<(), CloseReason> {
        let mut now = lock(&self.standing);
        if now.peer.id != standing.peer.id {
            let finding = format!(
                "the certificate is of {}, the session of {}",
                standing.peer.id, now.peer.id
            );
            return Err(CloseReason::protocol(finding));
        }
        *now = standing;
        Ok(())
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn end(&self, reason: CloseReason) {
        let (code, text) = reason.to_wire();
        let text = text.to_owned();
        if self.ended.set(reason).is_ok() {
            self.connection.close(code, text.as_bytes());
        }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> CloseReason {
        let error = self.connection.closed().await;
        self.reason(&error)
    }

    /// Why it ended, if it has.
    pub(crate) fn end_reason(&self) -> Option<CloseReason> {
        let error = self.connection.close_reason()?;
        Some(self.reason(&error))
    }

    fn reason(&self, error: &quinn::ConnectionError) -> CloseReason {
        let ours = self.ended.get().cloned();
        ours.unwrap_or_else(|| CloseReason::from_error(error))
    }

    /// The handshake has ended and the connection is a session.
    pub(crate) fn confirm(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    /// Whether what arrives cannot be a replay any more.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Takes a place for an inbound stream; a peer that uses its first places gets the rest.
    pub(crate) fn admit(&self, service: Service) -> bool {
        let (is_admitted, open) = {
            let mut admission = lock(&self.admission);
            (admission.admit(service), admission.open())
        };
        if open >= STREAMS_PER_PEER_FIRST / 2 && !self.widened.swap(true, Ordering::Relaxed) {
            let all = VarInt::from_u32(STREAMS_PER_PEER_MAX + 1);
            self.connection.set_max_concurrent_bi_streams(all);
        }
        is_admitted
    }

    /// From now on another connection takes new streams.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether a third node carries its packets.
    pub(crate) const fn is_relayed(&self) -> bool {
        self.place.is_some()
    }

    /// The connection that carries its packets, if it is relayed and not over.
    pub(crate) fn carrier(&self) -> Option<Arc<Self>> {
        let shared = self.shared.upgrade()?;
        shared.circuits.carrier(self.place?)
    }

    /// Whether it takes new streams.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_retired() && self.connection.close_reason().is_none()
    }

    /// Sends a frame about the session.
    pub(crate) async fn tell(&self, frame: &ControlFrame) -> Result<(), CloseReason> {
        let mut control = self.control.lock().await;
        crate::control::write(&mut control, frame).await
    }

    /// A secret that only the two ends of this connection know.
    pub(crate) fn exporter(&self) -> Result<[u8; 32], CloseReason> {
        let mut secret = [0; 32];
        self.connection
            .export_keying_material(&mut secret, b"stoq/1 credentials", b"")
            .map_err(|_| CloseReason::protocol("TLS exports no secret"))?;
        Ok(secret)
    }
}

/// Locks, also after a panic elsewhere: what is locked here is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
