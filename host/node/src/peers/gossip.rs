//! Finding members and noticing dead ones: drives what `discovery` decides over STOQ's gossip
//! service. Never decides who is a member, and believes no other node's word that a session is dead.

mod hints;
mod wire;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use discovery::{
    AddressRecord, Effect, Exchange, Hint, Lan, Liveness, RECORD_LIFE_MS, Sightings, Swim,
};
use ledger::Membership;
use stoq::{Endpoint, InboundDatagram, InboundStream, Service, SessionEvent};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::clock::unix_ms;
use crate::peers::Peers;
use crate::peers::authority::is_member;
use crate::peers::book::Source;
use crate::peers::gossip::hints::{lan, sighted};
use crate::peers::gossip::wire::{close_if_silent, read_streams, send};
use crate::shared::Shared;

/// Version of the gossip service on the wire.
pub(crate) const VERSION: u16 = 1;

/// Pause between looks at members and sessions, beside those that events cause.
const LOOK: Duration = Duration::from_secs(1);

/// Messages of peers that wait to be read; the next digests make up for those that find no place.
const INBOX_MAX: usize = 64;

/// Messages that are being sent; as above.
const SENDING_MAX: usize = 256;

/// A record is signed again after this part of its life: a node that is away for hours is found.
const RECORD_RENEWAL_MS: u64 = RECORD_LIFE_MS / 3;

/// Pause between records of this node: twice the pause that others keep between those they take.
const RECORD_PAUSE_MS: u64 = 2 * discovery::RECORD_PAUSE_MS;

/// Pause between hints about one member that are followed: each begins to dial anew, and anybody on
/// the local network could keep a dial from ending.
const HINT_PAUSE_MS: u64 = 10_000;

/// Pause between questions for a sign of life to one peer: a member that lies about it could make
/// this node ask all the time.
const ASK_PAUSE_MS: u64 = 5_000;

/// What is known of another node.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) liveness: Liveness,
    /// When this node itself heard it last, Unix milliseconds.
    pub(crate) heard_at_ms: Option<u64>,
    /// What it says about itself.
    pub(crate) record: Option<AddressRecord>,
}

/// What arrives over the gossip service.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) datagrams: mpsc::Receiver<InboundDatagram>,
    pub(crate) streams: mpsc::Receiver<InboundStream>,
}

/// What the rest of the node sees and says of discovery.
#[derive(Debug)]
pub(crate) struct Gossip {
    sights: watch::Receiver<Arc<BTreeMap<NodeId, Sight>>>,
    relays: watch::Sender<Vec<NodeId>>,
}

impl Gossip {
    /// Everything that is known of other nodes, as of a second ago or less.
    pub(crate) fn sights(&self) -> Arc<BTreeMap<NodeId, Sight>> {
        Arc::clone(&self.sights.borrow())
    }

    /// The members through which this node is reached, as its record says.
    pub(crate) fn relays(&self) -> Vec<NodeId> {
        self.relays.borrow().clone()
    }

    /// Names the members through which this node is reached; its record says so at once. More than
    /// a record holds are left out.
    #[allow(dead_code, reason = "relaying fills it in")]
    pub(crate) fn reached_through(&self, mut relays: Vec<NodeId>) {
        relays.truncate(discovery::RELAYS_MAX);
        self.relays.send_if_modified(|known| {
            let changed = *known != relays;
            *known = relays;
            changed
        });
    }
}

/// Discovery before it runs.
pub(crate) struct Prepared {
    sights: watch::Sender<Arc<BTreeMap<NodeId, Sight>>>,
    relays: watch::Receiver<Vec<NodeId>>,
    inbound: Inbound,
    mdns: bool,
}

/// The handle, and what [`start`] needs.
pub(crate) fn prepare(inbound: Inbound, mdns: bool) -> (Gossip, Prepared) {
    let (sights, seen) = watch::channel(Arc::default());
    let (told, relays) = watch::channel(Vec::new());
    let gossip = Gossip {
        sights: seen,
        relays: told,
    };
    let prepared = Prepared {
        sights,
        relays,
        inbound,
        mdns,
    };
    (gossip, prepared)
}

/// Begins to find members, until `stop`.
pub(crate) fn start(
    peers: &Arc<Peers>,
    shared: &Arc<Shared>,
    prepared: Prepared,
    stop: &CancellationToken,
) {
    let Some((swim_seed, exchange_seed)) = seed().zip(seed()) else {
        tracing::error!("the system gives no randomness: members are not looked for");
        return;
    };
    let started_at_ms = unix_ms();
    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    tokio::spawn(read_streams(prepared.inbound.streams, inbox));
    let (lan, sightings) = match prepared.mdns {
        true => lan(peers, shared).unzip(),
        false => (None, None),
    };
    let finding = Finding {
        endpoint: peers.endpoint.clone(),
        peers: Arc::downgrade(peers),
        shared: Arc::clone(shared),
        started: Instant::now(),
        started_at_ms,
        swim: Swim::new(shared.node, started_at_ms, swim_seed),
        exchange: Exchange::new(shared.fabric, shared.node, exchange_seed),
        height: None,
        members: BTreeSet::new(),
        live: BTreeSet::new(),
        renew_at_ms: 0,
        signed_at_ms: 0,
        signed_relays: Vec::new(),
        relays: prepared.relays,
        sights: prepared.sights,
        sending: JoinSet::new(),
        hints: BTreeMap::new(),
        hinted_at_ms: BTreeMap::new(),
        asked_at_ms: BTreeMap::new(),
        _lan: lan,
    };
    let arriving = Arriving {
        datagrams: prepared.inbound.datagrams,
        messages,
        events: peers.endpoint.events(),
        sightings,
    };
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = finding.run(arriving) => {}
        }
    });
}

fn seed() -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).ok().map(|()| seed)
}

/// What wakes discovery.
struct Arriving {
    datagrams: mpsc::Receiver<InboundDatagram>,
    messages: mpsc::Receiver<(NodeId, Vec<u8>)>,
    events: broadcast::Receiver<SessionEvent>,
    sightings: Option<Sightings>,
}

/// The state machines of discovery and what they are driven with.
struct Finding {
    endpoint: Endpoint,
    peers: Weak<Peers>,
    shared: Arc<Shared>,
    started: Instant,
    started_at_ms: u64,
    swim: Swim,
    exchange: Exchange,
    /// The ledger's height when the members were read.
    height: Option<u64>,
    members: BTreeSet<NodeId>,
    /// Members with a session.
    live: BTreeSet<NodeId>,
    renew_at_ms: u64,
    signed_at_ms: u64,
    signed_relays: Vec<NodeId>,
    relays: watch::Receiver<Vec<NodeId>>,
    sights: watch::Sender<Arc<BTreeMap<NodeId, Sight>>>,
    sending: JoinSet<()>,
    /// Hints that are not followed yet, and when one was, by member.
    hints: BTreeMap<NodeId, Vec<SocketAddr>>,
    hinted_at_ms: BTreeMap<NodeId, u64>,
    /// When a member was asked for a sign of life.
    asked_at_ms: BTreeMap<NodeId, u64>,
    /// Keeps the announcement.
    _lan: Option<Lan>,
}

impl Finding {
    async fn run(mut self, mut arriving: Arriving) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.swim.next_timeout();
            let due = due.map_or(LOOK, |due_ms| {
                Duration::from_millis(due_ms.saturating_sub(self.now_ms()))
            });
            tokio::select! {
                Some(datagram) = arriving.datagrams.recv() => self.datagram(&datagram),
                Some((from, message)) = arriving.messages.recv() => self.message(from, &message),
                event = arriving.events.recv() => match event {
                    Ok(event) => self.event(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.look(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = look.tick() => self.look(),
                Ok(()) = self.relays.changed() => self.look(),
                hint = sighted(arriving.sightings.as_ref()) => self.hint(hint),
                () = tokio::time::sleep(due) => {}
            }
            self.swim.handle_timeout(self.now_ms());
            self.carry_out();
        }
    }

    /// Milliseconds since the start.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sessions of others than members may be many, and are not looked at.
    fn event(&mut self, event: &SessionEvent) {
        let peer = match event {
            SessionEvent::Up(session) => session.peer_id(),
            SessionEvent::Down { peer, .. } => *peer,
            SessionEvent::Refused { .. } => return,
        };
        if self.members.contains(&peer) {
            self.look();
        }
    }

    fn datagram(&mut self, datagram: &InboundDatagram) {
        let peer = datagram.session.peer();
        if is_member(&peer) {
            let now_ms = self.now_ms();
            self.swim
                .handle_datagram(now_ms, peer.id, &datagram.payload);
        }
    }

    fn message(&mut self, from: NodeId, message: &[u8]) {
        match self.exchange.handle_message(unix_ms(), from, message) {
            Ok(heard) => self.learn(&heard.news),
            Err(error) => tracing::warn!(peer = %from.short(), "records are refused: {error}"),
        }
    }

    /// Members that have a new record are dialled where it says.
    fn learn(&self, news: &[NodeId]) {
        let records = news
            .iter()
            .filter_map(|node| self.exchange.records().of(node));
        let said: Vec<_> = records
            .map(|signed| (signed.node(), signed.record().addresses.clone()))
            .collect();
        if let Some(peers) = self.peers.upgrade() {
            peers.learn(Source::Record, &said);
        }
    }

    /// A hint counts if it is about a member; whoever answers there must be that member.
    fn hint(&mut self, hint: Hint) {
        let is_other = hint.fabric == self.shared.fabric && hint.node != self.shared.node;
        if is_other && self.members.contains(&hint.node) {
            self.hints.insert(hint.node, hint.addresses);
            self.follow_hints();
        }
    }

    /// Follows the newest hint about each member, unless one was followed a moment ago.
    fn follow_hints(&mut self) {
        let now_ms = self.now_ms();
        self.hints.retain(|node, _| self.members.contains(node));
        self.hinted_at_ms
            .retain(|_, hinted| now_ms.saturating_sub(*hinted) < HINT_PAUSE_MS);
        let is_due = |node: &NodeId| !self.hinted_at_ms.contains_key(node);
        let due = self.hints.extract_if(.., |node, _| is_due(node));
        let due: Vec<_> = due.collect();
        if let (false, Some(peers)) = (due.is_empty(), self.peers.upgrade()) {
            peers.learn(Source::Lan, &due);
        }
        let followed = due.into_iter().map(|(node, _)| (node, now_ms));
        self.hinted_at_ms.extend(followed);
    }

    /// Takes members, sessions and time as they are now.
    fn look(&mut self) {
        let (now_ms, unix_ms) = (self.now_ms(), unix_ms());
        self.read_members(now_ms, unix_ms);
        let has_session = |node: &&NodeId| {
            let session = self.endpoint.session(node);
            session.is_some_and(|session| is_member(&session.peer()))
        };
        let live: BTreeSet<NodeId> = self.members.iter().filter(has_session).copied().collect();
        for gone in self.live.difference(&live) {
            self.exchange.peer_down(gone);
        }
        for new in live.difference(&self.live) {
            self.exchange.peer_up(*new);
        }
        self.live = live;
        let liveness = self.swim.liveness();
        for peer in &self.live {
            // Until it answers: a greeting may be lost, or come before the peer knows this member.
            if matches!(liveness.get(peer), None | Some(Liveness::Down)) {
                self.swim.greet(now_ms, *peer);
            }
        }
        let is_down = |peer: &&NodeId| liveness.get(peer) == Some(&Liveness::Down);
        let down: Vec<NodeId> = self.live.iter().filter(is_down).copied().collect();
        for peer in down {
            self.ask(peer);
        }
        self.follow_hints();
        self.publish(unix_ms);
        self.exchange.handle_timeout(unix_ms);
        self.show(&liveness);
    }

    fn read_members(&mut self, now_ms: u64, unix_ms: u64) {
        let state = self.shared.state();
        let height = state.view.height();
        if self.height == Some(height) {
            return;
        }
        // State that cannot be read ends the node elsewhere.
        let Ok(all) = state.view.members() else {
            return;
        };
        drop(state);
        self.height = Some(height);
        let members = all
            .into_iter()
            .filter(|(_, member)| member.membership == Membership::Member);
        let members: BTreeSet<NodeId> = members.map(|(node, _)| node).collect();
        if members != self.members {
            self.exchange.set_members(unix_ms, members.clone());
            self.swim.set_members(now_ms, members.clone());
            self.members = members;
        }
    }

    /// Signs this node's record anew if it is time, or something else is to be said.
    fn publish(&mut self, unix_ms: u64) {
        let relays = self.relays.borrow_and_update().clone();
        let is_due = unix_ms >= self.renew_at_ms
            || relays != self.signed_relays
            || self.exchange.is_outranked();
        let is_due = is_due && unix_ms.abs_diff(self.signed_at_ms) >= RECORD_PAUSE_MS;
        let (true, true, Some(peers)) = (
            is_due,
            self.members.contains(&self.shared.node),
            self.peers.upgrade(),
        ) else {
            return;
        };
        let sequence = unix_ms.max(self.exchange.own_sequence().saturating_add(1));
        let record = AddressRecord {
            fabric: self.shared.fabric,
            node: self.shared.node,
            sequence,
            expires_at_ms: sequence.saturating_add(RECORD_LIFE_MS),
            addresses: discovery::advertisable(&peers.advertised),
            relays: relays.clone(),
        };
        let signed = record.sign(self.shared.signer.key());
        let published = signed
            .map_err(|problem| problem.to_string())
            .and_then(|signed| {
                let taken = self.exchange.publish(unix_ms, signed);
                taken.map_err(|refused| refused.to_string())
            });
        if let Err(error) = published {
            tracing::warn!("this node's addresses are not told to others: {error}");
        }
        self.signed_at_ms = unix_ms;
        self.renew_at_ms = unix_ms.saturating_add(RECORD_RENEWAL_MS);
        self.signed_relays = relays;
    }

    /// Shows the rest of the node what is known.
    fn show(&self, liveness: &BTreeMap<NodeId, Liveness>) {
        let others = self
            .members
            .iter()
            .filter(|node| **node != self.shared.node);
        let sight = |node: &NodeId| Sight {
            liveness: liveness.get(node).copied().unwrap_or(Liveness::Unknown),
            heard_at_ms: self
                .swim
                .heard_at_ms(node)
                .map(|heard_ms| self.started_at_ms.saturating_add(heard_ms)),
            record: self
                .exchange
                .records()
                .of(node)
                .map(|signed| signed.record().clone()),
        };
        let sights = others.map(|node| (*node, sight(node))).collect();
        self.sights.send_replace(Arc::new(sights));
    }

    /// Sees whether the session of a member that is said to be down is dead, unless it did a moment
    /// ago.
    fn ask(&mut self, peer: NodeId) {
        let now_ms = self.now_ms();
        self.asked_at_ms
            .retain(|_, asked| now_ms.saturating_sub(*asked) < ASK_PAUSE_MS);
        if let Entry::Vacant(unasked) = self.asked_at_ms.entry(peer) {
            unasked.insert(now_ms);
            tracing::info!(peer = %peer.short(), "the member is said to be down");
            tokio::spawn(close_if_silent(self.endpoint.clone(), peer));
        }
    }

    /// Does what the state machines ask for.
    fn carry_out(&mut self) {
        while let Some(effect) = self.swim.poll_effect() {
            match effect {
                Effect::Send { to, datagram } => {
                    if let Some(session) = self.endpoint.session(&to)
                        && let Err(error) = session.send_datagram(Service::Gossip, &datagram)
                    {
                        tracing::debug!(peer = %to.short(), "{error}");
                    }
                }
                Effect::Up(peer) => tracing::debug!(peer = %peer.short(), "the member is alive"),
                Effect::Down(peer) => self.ask(peer),
            }
        }
        while self.sending.try_join_next().is_some() {}
        while let Some(sending) = self.exchange.poll_sending() {
            if self.sending.len() < SENDING_MAX {
                self.sending.spawn(send(self.endpoint.clone(), sending));
            }
        }
    }
}
