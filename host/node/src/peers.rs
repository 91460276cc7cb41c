//! Other nodes: the endpoint, who is spoken to, and what is carried. Decides nothing about who is
//! trusted (`authority`), and nothing about the ledger.

mod artifacts;
mod authority;
mod book;
mod carriage;
mod control;
mod credentials;
mod entrance;
mod expiry;
mod gossip;
mod join;
mod keeping;
mod lan;
mod mesh;
mod orders;
mod regions;
mod relay;
mod remote;
mod renewal;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use consensus::Carrier;
use ledger::{CertificateFact, Membership};
use stoq::{
    CloseReason, Closer, DialError, Direction, Endpoint, InboundStream, Service, Session,
    SessionEvent, SessionInfo,
};
use storage::Artifacts;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use transfer::ARTIFACT_VERSION;
use trust::{IssuedCertificate, SecretKey, Standing};
use types::{Digest, FabricId, NodeId};

use crate::clock::unix_ms;
use crate::peers::artifacts::ArtifactPeers;
use crate::peers::authority::Authority;
use crate::peers::book::{Book, Known, Source};
use crate::peers::carriage::Carriage;
use crate::peers::control::SessionDial;
use crate::peers::gossip::{Gossip, Inbound};
use crate::peers::keeping::Keeping;
use crate::peers::renewal::Renewals;
use crate::shared::Shared;

pub(crate) use artifacts::FetchError;
use authority::{BLOCKED, is_stranger};
pub(crate) use authority::{label, standing};
pub(crate) use book::read_again as read_book_again;
pub use credentials::CredentialsError;
pub use entrance::{Entrance, ParseEntranceError};
pub use join::{BootstrapError, JoinError};
pub(crate) use join::{bootstrap, join};
pub use lan::{LanNode, nodes_on_lan};
pub(crate) use mesh::{CarryError, NoReplica};
pub(crate) use orders::AskMemberError;
pub(crate) use regions::OpenRegionError;
pub use remote::{RemoteNode, remote};

/// What the secret of stateless resets is derived for.
const RESET_PURPOSE: &str = "hypermesh 2026-11 stoq stateless reset 1";

/// A bound endpoint that nobody listens to yet.
pub(crate) struct Opened {
    pub(crate) endpoint: Endpoint,
    authority: Arc<Authority>,
    consensus: mpsc::Receiver<InboundStream>,
    control: mpsc::Receiver<InboundStream>,
    artifacts: mpsc::Receiver<InboundStream>,
    orders: mpsc::Receiver<InboundStream>,
    regions: mpsc::Receiver<InboundStream>,
    gossip: Inbound,
    mdns: bool,
    certificate: IssuedCertificate,
    certificate_path: PathBuf,
    book: Book,
    listening: Option<SocketAddr>,
    advertised: Vec<SocketAddr>,
}

/// Where and how an endpoint opens.
pub(crate) struct Opening<'a> {
    pub(crate) fabric: FabricId,
    pub(crate) identity: &'a SecretKey,
    /// Where others reach this node; it only dials out if none.
    pub(crate) listen: Option<SocketAddr>,
    /// What others are told instead of the address it listens at.
    pub(crate) advertise: &'a [SocketAddr],
    /// Whether it speaks to the local network by multicast DNS.
    pub(crate) mdns: bool,
    pub(crate) certificate_path: PathBuf,
    pub(crate) book_path: PathBuf,
}

/// Why a node cannot speak to others.
#[derive(Debug, thiserror::Error)]
pub enum OpenPeersError {
    /// No certificate.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No socket.
    #[error("cannot listen for peers on {0}; choose another address with --stoq")]
    Bind(#[from] stoq::BindError),
}

impl Opened {
    pub(crate) fn open(opening: Opening<'_>) -> Result<Self, OpenPeersError> {
        let Opening {
            fabric,
            identity,
            listen,
            advertise,
            mdns,
            certificate_path,
            book_path,
        } = opening;
        let certificate = credentials::at_start(&certificate_path, identity, &fabric)?;
        let authority = Arc::new(Authority::new(fabric));
        let anywhere = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
        let mut config = stoq::Config::new(
            identity.public(),
            listen.unwrap_or(anywhere),
            credentials::shown(&certificate),
            authority.clone(),
        );
        config.reset_secret(*identity.derived(RESET_PURPOSE));
        let consensus = config.streams(Service::Consensus, carriage::VERSION..=carriage::VERSION);
        let control = config.streams(Service::Control, control::VERSION..=control::VERSION);
        let artifacts = config.streams(Service::Artifact, ARTIFACT_VERSION..=ARTIFACT_VERSION);
        let orders = config.streams(Service::Invoke, orders::VERSION..=mesh::VERSION);
        let regions = config.streams(Service::Asset, regions::VERSION..=regions::VERSION);
        let gossip = Inbound {
            datagrams: config.datagrams(Service::Gossip),
            streams: config.streams(Service::Gossip, gossip::VERSION..=gossip::VERSION),
        };
        let endpoint = Endpoint::bind(config)?;
        let book = Book::open(book_path);
        for (peer, rate) in book.caps() {
            endpoint.set_cap(peer, Some(rate));
        }
        let listening = listen.and_then(|_| endpoint.local_address().ok());
        let advertised = match (advertise, listening) {
            ([], Some(address)) => reached_at(address),
            (given, _) => given.to_vec(),
        };
        Ok(Self {
            endpoint,
            authority,
            consensus,
            control,
            artifacts,
            orders,
            regions,
            gossip,
            mdns,
            certificate,
            certificate_path,
            book,
            listening,
            advertised,
        })
    }

    /// What the ledger is told of the certificate that this node begins with.
    pub(crate) fn fact(&self) -> CertificateFact {
        credentials::fact(&self.certificate)
    }

    /// Remembers where those are with whom this node founds a fabric.
    pub(crate) fn meet(&mut self, founders: &[(NodeId, Vec<SocketAddr>)]) {
        self.book.learn(Source::Ticket, founders);
    }

    /// Remembers where a ticket said that members are.
    pub(crate) fn enter(&mut self, entrances: &[SocketAddr]) {
        self.book.enter(entrances);
    }
}

/// Whether a connection was refused because the ledger blames its peer.
const fn is_of_blocked(reason: &CloseReason) -> bool {
    let CloseReason::Refused { by, code, .. } = reason else {
        return false;
    };
    matches!(by, Closer::Us) && *code == BLOCKED
}

/// The addresses of this machine at which a socket bound to `address` is reached, those that reach
/// farthest first.
fn reached_at(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let Ok(interfaces) = if_addrs::get_if_addrs() else {
        return Vec::new();
    };
    let mut found: Vec<IpAddr> = interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|ip| match ip {
            IpAddr::V4(_) => true,
            // One that is good on one link only says nothing without the link.
            IpAddr::V6(ip) => address.is_ipv6() && !ip.is_unicast_link_local(),
        })
        .collect();
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    found.dedup();
    let on_port = |ip| SocketAddr::new(ip, address.port());
    found.into_iter().map(on_port).collect()
}

/// A node's relations with others.
pub(crate) struct Peers {
    endpoint: Endpoint,
    carriage: Arc<Carriage>,
    renewals: Renewals,
    artifacts: ArtifactPeers,
    /// Why a peer refused this node, once one did.
    refused: watch::Sender<Option<String>>,
    kept: Arc<Keeping>,
    gossip: Gossip,
    book: Mutex<Book>,
    listening: Option<SocketAddr>,
    advertised: Vec<SocketAddr>,
}

impl Peers {
    /// Begins to speak and to listen. The result goes into `shared`.
    pub(crate) fn start(
        opened: Opened,
        shared: &Arc<Shared>,
        carrier: Carrier,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let Opened {
            endpoint,
            authority,
            consensus,
            control,
            artifacts,
            orders,
            regions,
            gossip,
            mdns,
            certificate,
            certificate_path,
            book,
            listening,
            advertised,
        } = opened;
        let (carriage, blocked) = Carriage::start(carrier);
        authority.heed(blocked.clone());
        authority.attach(Arc::downgrade(shared));
        let path = certificate_path;
        let renewals = Renewals::start(shared, endpoint.clone(), path, certificate, stop);
        let (gossip, prepared) = gossip::prepare(gossip, mdns);
        let peers = Arc::new(Self {
            carriage,
            renewals,
            artifacts: ArtifactPeers::new(endpoint.clone()),
            refused: watch::Sender::new(None),
            kept: Arc::new(Keeping::new(endpoint.clone(), blocked)),
            gossip,
            book: Mutex::new(book),
            listening,
            advertised,
            endpoint,
        });
        let events = peers.endpoint.events();
        tokio::spawn(Arc::clone(&peers).watch(events, stop.clone()));
        tokio::spawn(Arc::clone(&peers.kept).heed());
        let until_stop = stop.clone().cancelled_owned();
        let expiring = expiry::recheck_at_ends(peers.endpoint.clone(), Arc::new(unix_ms));
        tokio::spawn(async move {
            tokio::select! {
                () = until_stop => {}
                () = expiring => {}
            }
        });
        tokio::spawn(Arc::clone(&peers).read_messages(consensus));
        tokio::spawn(artifacts::serve(shared.artifacts.clone(), artifacts));
        tokio::spawn(regions::serve(Arc::clone(shared), regions, stop.clone()));
        tokio::spawn(control::serve(Arc::clone(shared), control, stop.clone()));
        tokio::spawn(orders::serve(Arc::clone(shared), orders, stop.clone()));
        tokio::spawn(Arc::clone(&peers).keep(stop.clone()));
        let ledger = Arc::downgrade(shared);
        tokio::spawn(relay::keep(Arc::clone(&peers), ledger, stop.clone()));
        // Who came before the ledger could be asked was taken for a stranger.
        peers.standing_changed(shared);
        peers.resume();
        gossip::start(&peers, shared, prepared, stop);
        peers
    }

    /// The ledger says something new about members, certificates or roles.
    pub(crate) fn standing_changed(&self, shared: &Shared) {
        let closed = self.endpoint.recheck();
        if closed > 0 {
            tracing::info!("closed {closed} sessions of peers that are not heard any more");
        }
        for info in self.endpoint.sessions() {
            self.carriage.rank(&info.peer.id, is_stranger(&info.peer));
        }
        let state = shared.state();
        let gone = |peer: &NodeId| {
            let member = state.view.member(peer).ok().flatten();
            member.is_some_and(|member| member.membership != Membership::Member)
        };
        for peer in self.kept.forget(gone) {
            self.book().forget(&peer);
        }
    }

    /// Gives this node a new certificate; returns its fingerprint once it is logged and shown.
    pub(crate) async fn renew(&self) -> Result<Digest, String> {
        self.renewals.renew().await
    }

    /// Brings an artifact here that is missing.
    ///
    /// # Errors
    /// [`FetchError`] if no member has it.
    pub(crate) async fn fetch(
        &self,
        artifacts: &Artifacts,
        digest: Digest,
    ) -> Result<(), FetchError> {
        self.artifacts.fetch(artifacts, digest).await
    }

    /// Caps what is sent to a peer, or lifts the cap.
    pub(crate) fn cap(&self, peer: NodeId, bytes_per_s: Option<u64>) {
        self.book().cap(peer, bytes_per_s);
        self.endpoint.set_cap(peer, bytes_per_s);
    }

    pub(crate) fn certificate(&self) -> Digest {
        self.renewals.shown()
    }

    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        self.endpoint.sessions()
    }

    /// The admin API of a peer, if there is a session with it.
    pub(crate) fn admin_of(&self, peer: &NodeId) -> Option<admin::Client> {
        let session = self.endpoint.session(peer)?;
        Some(admin::Client::over(Arc::new(SessionDial(session))))
    }

    pub(crate) const fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    pub(crate) fn advertised(&self) -> &[SocketAddr] {
        &self.advertised
    }

    /// Where a member may be, and who says so; the best first.
    pub(crate) fn known(&self, peer: &NodeId) -> Vec<Known> {
        self.book().of(peer).to_vec()
    }

    /// What is known of the liveness of others, and what they say about themselves.
    pub(crate) const fn gossip(&self) -> &Gossip {
        &self.gossip
    }

    /// Ends all sessions.
    pub(crate) async fn close(&self) {
        self.kept.clear();
        self.endpoint.close("the node is stopping").await;
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn watch(
        self: Arc<Self>,
        mut events: broadcast::Receiver<SessionEvent>,
        stop: CancellationToken,
    ) {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(SessionEvent::Up(session)) => self.session_up(&session),
                Ok(SessionEvent::Down { peer, reason }) => {
                    tracing::info!(peer = %peer.short(), "session down: {reason}");
                    self.carriage.remove(&peer);
                    self.session_ended(&reason);
                }
                Ok(SessionEvent::Refused { remote, reason }) => {
                    self.session_ended(&reason);
                    if is_of_blocked(&reason) {
                        // The log was told when it was blocked; it may knock often.
                        tracing::debug!(%remote, "refused a connection: {reason}");
                    } else {
                        tracing::info!(%remote, "refused a connection: {reason}");
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!("missed {missed} events of sessions");
                    self.resume();
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Takes the sessions as they are, after events were missed.
    fn resume(&self) {
        let live: BTreeSet<_> = self.sessions().iter().map(|info| info.peer.id).collect();
        for peer in self.carriage.peers() {
            if !live.contains(&peer) {
                self.carriage.remove(&peer);
            }
        }
        for session in live.iter().filter_map(|peer| self.endpoint.session(peer)) {
            self.session_up(&session);
        }
    }

    fn session_up(&self, session: &Session) {
        let peer = session.peer();
        let info = session.info();
        let via = info.via.map(|relay| relay.short());
        tracing::info!(peer = %peer.id.short(), remote = %info.remote, via, standing = peer.label, "session up");
        if matches!(standing(&peer), Standing::Operator(_)) {
            return;
        }
        self.carriage.add(session, is_stranger(&peer));
        if info.direction == Direction::Outbound {
            // Where a relay is says nothing about the peer.
            if info.via.is_none() {
                self.book().note(peer.id, info.remote);
            }
            self.keep_session(peer.id);
        }
    }

    /// Peers that refuse this node's certificate, and not the node, are shown another one: the
    /// identity is good, and no session is left in which a new one could be logged first.
    fn refused_by_peer(&self, code: u32) {
        if trust::Refusal::is_about_one_certificate(code) {
            self.renewals.replace();
        }
    }

    fn session_ended(&self, reason: &CloseReason) {
        if let CloseReason::Refused {
            by: Closer::Peer,
            code,
            ..
        } = reason
        {
            self.refused_by_peer(*code);
        }
    }

    fn dial_failed(&self, error: &DialError) {
        if let DialError::RefusedByPeer { code, text } = error {
            self.refused_by_peer(*code);
            if !trust::Refusal::is_about_one_certificate(*code) {
                self.refused.send_replace(Some(text.clone()));
            }
        }
    }

    /// Returns when a peer refuses this node, whatever certificate it shows; says why.
    pub(crate) async fn refused(&self) -> String {
        let mut refused = self.refused.subscribe();
        let said = refused.wait_for(Option::is_some).await;
        // Copied before anything else is waited for: a look holds a lock.
        let said = said.map(|text| text.clone().unwrap_or_default());
        match said {
            Ok(text) => text,
            // The sender is in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    async fn read_messages(self: Arc<Self>, mut streams: mpsc::Receiver<InboundStream>) {
        while let Some(stream) = streams.recv().await {
            let carriage = Arc::clone(&self.carriage);
            tokio::spawn(async move { carriage.read(stream).await });
        }
    }
}
