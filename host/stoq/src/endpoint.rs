//! The endpoint: one socket, its sessions, and what is asked of all of them together.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use quinn::{Connection, TokioRuntime};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::authority::{Occasion, PeerAuthority};
use crate::bounds::{EVENTS_MAX, HANDSHAKES_MAX, RELAYS_ASKED_MAX, RELAYS_KNOWN_MAX, RETIRED_TIME};
use crate::circuit::{Circuits, Relayed};
use crate::close::{CloseReason, Closer};
use crate::config::{BindError, Config, Served};
use crate::credentials::{self, Credentials, CredentialsError, Shown};
use crate::dial::{DialError, Target, dial};
use crate::early::{Answer, AskError, Question, ask};
use crate::event::SessionEvent;
use crate::gate::{FirstPackets, Gate};
use crate::inbound::InboundStream;
use crate::link::{Established, Link, Standing, lock};
use crate::listen::listen;
use crate::maintain::Maintained;
use crate::proto::{Allowance, ControlFrame, RELAY_VERSION, Service, bounded_text};
use crate::session::{Session, SessionInfo, info};
use crate::table::{Seat, Table};
use crate::tickets::{Given, Kept};
use crate::underlay::Underlay;
use crate::{relaying, socket, tiering, tls, transport};

/// One end of STOQ: dials and is dialled on one UDP port. Clones are the same endpoint; when the
/// last is dropped, its sessions end.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// What all parts of an endpoint share.
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) client: quinn::ClientConfig,
    /// The same for connections that a third node carries.
    pub(crate) relayed_client: quinn::ClientConfig,
    pub(crate) relayed_server: Arc<quinn::ServerConfig>,
    pub(crate) circuits: Arc<Circuits>,
    pub(crate) gate: Arc<Gate>,
    /// Through whom nodes are said to be reached.
    relays: Mutex<HashMap<NodeId, Vec<NodeId>>>,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) authority: Arc<dyn PeerAuthority>,
    pub(crate) services: [Served; Service::ALL.len()],
    pub(crate) table: Mutex<Table>,
    /// One turn per node that is being dialled.
    pub(crate) dialling: Mutex<HashMap<NodeId, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) handshakes: Arc<Semaphore>,
    /// When handshakes of strangers begin, since `begun`.
    pub(crate) starts: Mutex<Allowance>,
    pub(crate) begun: Instant,
    pub(crate) incarnation: u64,
    pub(crate) stop: CancellationToken,
    pub(crate) kept: Arc<Kept>,
    given: Arc<Given>,
    shown: Arc<Shown>,
    /// Bytes per second by peer; operators set them, so they are few.
    caps: Mutex<HashMap<NodeId, u64>>,
    rechecks: AtomicU64,
    events: broadcast::Sender<SessionEvent>,
    attempts: AtomicU64,
    links: AtomicU64,
}

/// Ends everything when the last handle is gone.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close("the endpoint was dropped");
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.fmt(f)
    }
}

impl Endpoint {
    /// Binds the socket and begins to take connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(mut config: Config) -> Result<Self, BindError> {
        let address = config.bind;
        let relaying = relaying(&mut config);
        let in_socket = |source| BindError::Socket { address, source };
        let provider = tls::provider();
        let certified = credentials::load(config.credentials, &provider)?;
        let shown = Arc::new(Shown::new(certified));
        let (given, kept) = (Arc::new(Given::new()), Arc::<Kept>::default());
        let server = transport::server(Arc::new(tls::server(&provider, &shown, &given)?));
        let mut relayed_server = server.clone();
        relayed_server.transport_config(transport::relayed());
        let mut client = quinn::ClientConfig::new(Arc::new(tls::client(&provider, &shown, &kept)?));
        client.transport_config(transport::transport());
        let mut relayed_client = client.clone();
        relayed_client.transport_config(transport::relayed());
        let circuits = Arc::<Circuits>::default();
        let secret = config.reset_secret.as_ref();
        let by_chance = || u64::from_le_bytes(tls::random(&provider));
        let id_key = secret.map_or_else(by_chance, transport::id_key);
        let gate = Arc::new(Gate::new(id_key));
        let underlay = match config.socket {
            Some(socket) => Underlay::over(socket, &circuits, &gate),
            None => socket::bind(address).and_then(|own| Underlay::new(own, &circuits, &gate)),
        };
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            transport::endpoint(secret, id_key),
            Some(server),
            underlay.map_err(in_socket)?,
            Arc::new(TokioRuntime),
        )
        .map_err(in_socket)?;
        let shared = Arc::new(Shared {
            node: config.node,
            quinn,
            client,
            relayed_client,
            relayed_server: Arc::new(relayed_server),
            circuits,
            gate,
            starts: Mutex::default(),
            begun: Instant::now(),
            relays: Mutex::default(),
            authority: config.authority,
            services: config.services,
            table: Mutex::new(Table::new(config.node)),
            dialling: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            incarnation: u64::from_le_bytes(tls::random(&provider)),
            provider,
            stop: CancellationToken::new(),
            kept,
            given,
            shown,
            caps: Mutex::default(),
            rechecks: AtomicU64::new(0),
            events: broadcast::Sender::new(EVENTS_MAX),
            attempts: AtomicU64::new(0),
            links: AtomicU64::new(0),
        });
        tokio::spawn(listen(shared.clone()));
        if let Some(streams) = relaying {
            tokio::spawn(relaying::serve(shared.clone(), streams));
        }
        tokio::spawn(tiering::watch(Arc::downgrade(&shared)));
        Ok(Self {
            _guard: Arc::new(Guard(shared.clone())),
            shared,
        })
    }

    /// The identity that it speaks for.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says, for instance after the socket is gone.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.shared.quinn.local_addr()
    }

    /// The session with `target`: the live one if there is one, else dialled. It returns when
    /// both ends have taken each other.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, target: Target) -> Result<Session, DialError> {
        dial(&self.shared, target).await
    }

    /// Asks one question and takes the answer. An idempotent one goes with the first packets of
    /// the handshake if there is no session but a ticket of an earlier one: the answer is there
    /// after one round trip.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, target: Target, question: Question<'_>) -> Result<Answer, AskError> {
        ask(&self.shared, target, question).await
    }

    /// Keeps a session with `target` until the result is dropped.
    #[must_use = "the session is kept for as long as this lives"]
    pub fn maintain(&self, target: Target) -> Maintained {
        Maintained::start(self.shared.clone(), target)
    }

    /// The live session with a node, if there is one.
    #[must_use]
    pub fn session(&self, node: &NodeId) -> Option<Session> {
        self.shared.session(node)
    }

    /// What is known about every session.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let links = lock(&self.shared.table).all();
        links.iter().map(|link| info(link)).collect()
    }

    /// Caps what streams send to `peer` at so many bytes per second, now and in sessions to come;
    /// `None` lifts the cap.
    pub fn set_cap(&self, peer: NodeId, bytes_per_second: Option<u64>) {
        {
            let mut caps = lock(&self.shared.caps);
            match bytes_per_second {
                Some(rate) => caps.insert(peer, rate),
                None => caps.remove(&peer),
            };
        }
        for link in lock(&self.shared.table).all() {
            if link.standing().peer.id == peer {
                link.lane.set_cap(bytes_per_second);
            }
        }
    }

    /// Says through which nodes `node` can be reached, the best first, for dials to come; none are
    /// forgotten. Relays are asked after the addresses of a target; besides these, peers that may
    /// open the service `relay` here are.
    pub fn set_relays(&self, node: NodeId, relays: &[NodeId]) {
        let mut known = lock(&self.shared.relays);
        if relays.is_empty() {
            known.remove(&node);
        } else if known.len() < RELAYS_KNOWN_MAX || known.contains_key(&node) {
            let first = relays.iter().take(RELAYS_ASKED_MAX).copied();
            known.insert(node, first.collect());
        }
    }

    /// What this endpoint carries for others.
    #[must_use]
    pub fn relayed(&self) -> Relayed {
        self.shared.circuits.relayed()
    }

    /// First packets of handshakes: how many were taken, and how many lost as too many.
    #[must_use]
    pub fn first_packets(&self) -> FirstPackets {
        self.shared.gate.count()
    }

    /// News of sessions from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<SessionEvent> {
        self.shared.events.subscribe()
    }

    /// Asks the authority again about every session and closes those that it refuses; how many
    /// those are.
    #[allow(
        clippy::must_use_candidate,
        reason = "the closing is what counts, not the count"
    )]
    pub fn recheck(&self) -> usize {
        self.shared.given.forget();
        self.shared.kept.forget();
        self.shared.rechecks.fetch_add(1, Ordering::SeqCst);
        let links = lock(&self.shared.table).all();
        let stands = |link: &&Arc<Link>| self.shared.recheck(link);
        links.len() - links.iter().filter(stands).count()
    }

    /// The earliest [`valid_until_ms`](crate::Peer::valid_until_ms) of the peers of open sessions.
    /// After that moment [`Endpoint::recheck`] is due: whoever holds the clock calls it.
    #[must_use]
    pub fn first_end_ms(&self) -> Option<u64> {
        let links = lock(&self.shared.table).all();
        let open = links
            .iter()
            .filter(|link| link.connection.close_reason().is_none());
        open.filter_map(|link| link.standing().peer.valid_until_ms)
            .min()
    }

    /// Shows other credentials from now on: in new handshakes, and to the peers of all sessions
    /// within them. No stream is disturbed.
    ///
    /// # Errors
    /// [`CredentialsError`]; the old ones stay.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<(), CredentialsError> {
        let certified = credentials::load(credentials, &self.shared.provider)?;
        self.shared.shown.replace(certified.clone());
        // Peers' tickets for this node hold the old ones.
        self.shared.kept.forget();
        for link in lock(&self.shared.table).all() {
            let (shared, certified) = (self.shared.clone(), certified.clone());
            tokio::spawn(async move {
                let from_dialler = link.claim.dialler == shared.node;
                let told = match link.exporter() {
                    Ok(exporter) => {
                        credentials::prove(&certified, &shared.provider, &exporter, from_dialler)
                            .map_err(CloseReason::protocol)
                    }
                    Err(reason) => Err(reason),
                };
                match told {
                    // If the session ends meanwhile, nobody is left to be told.
                    Ok(frame) => drop(link.tell(&ControlFrame::Credentials(frame)).await),
                    Err(reason) => link.end(reason),
                }
            });
        }
        Ok(())
    }

    /// Goes on with another socket, on another address: sessions live on, and peers follow.
    ///
    /// # Errors
    /// What the system says about the socket; the old one stays.
    pub fn rebind(&self, socket: UdpSocket) -> std::io::Result<()> {
        let underlay = Underlay::new(socket, &self.shared.circuits, &self.shared.gate)?;
        self.shared.quinn.rebind_abstract(underlay)
    }

    /// Ends all sessions, telling peers `text`, and waits until they know or cannot be reached.
    pub async fn close(&self, text: &str) {
        self.shared.close(text);
        self.shared.quinn.wait_idle().await;
    }
}

impl Shared {
    /// The live session of a node.
    pub(crate) fn session(&self, node: &NodeId) -> Option<Session> {
        let link = lock(&self.table).of_node(node)?;
        link.is_live().then_some(Session(link))
    }

    /// Through whom a node is said to be reached.
    pub(crate) fn relays_of(&self, node: &NodeId) -> Vec<NodeId> {
        lock(&self.relays).get(node).cloned().unwrap_or_default()
    }

    /// Asks the authority about a connection's peer. TLS has checked possession of the key, now
    /// or, in a resumed handshake, in the one before.
    pub(crate) fn judge(
        &self,
        connection: &Connection,
        occasion: Occasion,
    ) -> Result<Standing, CloseReason> {
        let chain = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .ok_or_else(|| CloseReason::protocol("the peer shows no certificate"))?;
        self.standing((*chain).into(), occasion)
    }

    /// Asks the authority about a chain whose key the peer holds.
    pub(crate) fn standing(
        &self,
        chain: Arc<[CertificateDer<'static>]>,
        occasion: Occasion,
    ) -> Result<Standing, CloseReason> {
        let rechecks = self.rechecks.load(Ordering::SeqCst);
        let peer = self
            .authority
            .judge(&chain, occasion)
            .map_err(|refusal| CloseReason::refused(&refusal))?;
        Ok(Standing {
            peer: Arc::new(peer),
            chain,
            rechecks,
        })
    }

    /// Asks again about a session's peer and ends it if it is refused; whether it stands.
    fn recheck(&self, link: &Link) -> bool {
        let judged = self.standing(link.standing().chain, Occasion::Rechecked);
        let refused = judged.and_then(|standing| link.stands(standing));
        refused.map_err(|reason| link.end(reason)).is_ok()
    }

    /// A connection whose peer is known; it is no session yet.
    pub(crate) fn link(self: &Arc<Self>, established: Established) -> Arc<Link> {
        let number = self.links.fetch_add(1, Ordering::Relaxed);
        Link::new(number, established, self)
    }

    /// Makes a session of a connection that both ends want, unless another survives it.
    pub(crate) fn seat(self: &Arc<Self>, link: &Arc<Link>) -> Result<(), CloseReason> {
        let seat = lock(&self.table).seat(link);
        match seat {
            Seat::Full => return Err(CloseReason::Full { by: Closer::Us }),
            Seat::Lost => return Err(CloseReason::Replaced),
            Seat::First => self.tell(SessionEvent::Up(Session(link.clone()))),
            Seat::Displaced(old) => retire(old, link),
        }
        self.gate.know(link.connection.remote_address());
        link.confirm();
        // A recheck between the judgement and the seat did not see this session.
        if link.standing().rechecks != self.rechecks.load(Ordering::SeqCst) {
            self.recheck(link);
        }
        Ok(())
    }

    /// Takes the seat of a connection that has ended, if it had one.
    pub(crate) fn leave(&self, link: &Link, reason: CloseReason) {
        let was_session = lock(&self.table).leave(link);
        if was_session {
            // It may have moved since it came.
            self.gate.know(link.connection.remote_address());
            let peer = link.standing().peer.id;
            self.tell(SessionEvent::Down { peer, reason });
        }
    }

    pub(crate) fn cap(&self, peer: &NodeId) -> Option<u64> {
        lock(&self.caps).get(peer).copied()
    }

    pub(crate) fn tell(&self, event: SessionEvent) {
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    pub(crate) fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn jitter(&self) -> u16 {
        u16::from_le_bytes(tls::random(&self.provider))
    }

    fn close(&self, text: &str) {
        let text = bounded_text(text);
        self.stop.cancel();
        let by = Closer::Us;
        for link in lock(&self.table).all() {
            let text = text.clone();
            link.end(CloseReason::Shutdown { by, text });
        }
        let reason = CloseReason::Shutdown { by, text };
        let (code, text) = reason.to_wire();
        self.quinn.close(code, text.as_bytes());
    }
}

/// Lets `old` serve the streams that it has for a while. If the peer was started again there is
/// nobody at its other end.
fn retire(old: Arc<Link>, new: &Link) {
    old.retire();
    let restarted = old.claim.peer_incarnation != new.claim.peer_incarnation;
    tokio::spawn(async move {
        if !restarted {
            tokio::time::sleep(RETIRED_TIME).await;
        }
        old.end(CloseReason::Replaced);
    });
}

/// The streams of relays, unless someone else serves them.
fn relaying(config: &mut Config) -> Option<mpsc::Receiver<InboundStream>> {
    let served = config.services.get(Service::Relay.index());
    let is_free = served.is_some_and(|served| served.streams.is_none());
    is_free.then(|| config.streams(Service::Relay, RELAY_VERSION..=RELAY_VERSION))
}
