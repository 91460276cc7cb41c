//! Which members live: SWIM with suspicion (`foca`) as a state machine. Time and randomness come in
//! as arguments, datagrams leave as values. Never changes who is a member.
//!
//! Rules beyond SWIM's, because a member may lie:
//! - a datagram counts only if its sender, whom the session proves, is who it says and a member;
//! - what it tells about nodes that are no members is left out;
//! - a node's incarnation is at first the time of its start, and none is believed that is further
//!   ahead than [`INCARNATION_AHEAD_MAX_MS`]: so a node can always outrank what was said about it;
//! - it outranks lies about itself at most once in [`RENEW_PAUSE_MS`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use foca::{
    Codec as _, Config, Foca, Header, Identity, Member, Message, NoCustomBroadcast, Notification,
    PeriodicParams, PostcardCodec, Runtime, State, Timer,
};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};
use types::NodeId;

/// Largest datagram: what fits the smallest packet that every path carries.
pub const DATAGRAM_BYTES_MAX: usize = 1_100;

/// Pause between probes of one node; each probes one member at a time.
const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// Time for an answer before others are asked to try: more than the round trip around the earth.
const PROBE_TIME: Duration = Duration::from_millis(400);

/// How long a suspect has to say that it lives: enough for the suspicion to reach it and for its
/// word to come back, each with a loss.
const SUSPECT_TIME: Duration = Duration::from_secs(3);

/// Others that are asked to try a member that does not answer.
const INDIRECT_PROBES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// How often a node passes on one piece of news; a few more than the logarithm of any fabric's size.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::MIN.saturating_add(9);

/// Pause between datagrams that carry news only, and how many members get one.
const GOSSIP_PERIOD: Duration = Duration::from_millis(200);
const GOSSIP_MEMBERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// Pause between greetings to members that are down: how partitions heal.
const DOWN_PERIOD: Duration = Duration::from_secs(5);
const DOWN_MEMBERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// Pause between questions for members that this node may have missed.
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(30);

/// How far an incarnation may be ahead of this node's clock.
const INCARNATION_AHEAD_MAX_MS: u64 = 10 * 60 * 1_000;

/// Pause between incarnations of this node: each costs all others a little.
const RENEW_PAUSE_MS: u64 = 1_000;

/// What one node believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// Nothing was heard of it.
    Unknown,
    /// It answers this node or others.
    Alive,
    /// It did not answer and has a moment to say that it lives.
    Suspect,
    /// It did not say so.
    Down,
}

impl Liveness {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this datagram, if there is a session; if not, it is lost, which is part of the protocol.
    Send {
        /// To whom.
        to: NodeId,
        /// At most [`DATAGRAM_BYTES_MAX`].
        datagram: Bytes,
    },
    /// A member that was not known or down lives.
    Up(NodeId),
    /// A member that lived is down, as this node or others found.
    Down(NodeId),
}

/// A node as SWIM sees it: a restart, or a refutation of its death, is another identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Incarnate {
    node: NodeId,
    incarnation: u64,
}

impl Identity for Incarnate {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        let incarnation = self.incarnation.checked_add(1)?;
        Some(Self {
            incarnation,
            ..*self
        })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.incarnation > adversary.incarnation
    }
}

/// What one node knows of the liveness of others.
pub struct Swim {
    foca: Foca<Incarnate, PostcardCodec, ChaCha8Rng, NoCustomBroadcast>,
    node: NodeId,
    /// Unix milliseconds at the moment that this machine calls 0.
    started_at_ms: u64,
    members: BTreeSet<NodeId>,
    /// When each member was heard by this node itself.
    heard: BTreeMap<NodeId, u64>,
    renewed_at_ms: Option<u64>,
    out: Outbox,
}

impl Swim {
    /// A node that knows nobody yet. All times that follow are milliseconds since this moment,
    /// which is `started_at_ms` by the Unix clock.
    #[must_use]
    pub fn new(node: NodeId, started_at_ms: u64, seed: [u8; 32]) -> Self {
        let identity = Incarnate {
            node,
            incarnation: started_at_ms,
        };
        let rng = ChaCha8Rng::from_seed(seed);
        Self {
            foca: Foca::new(identity, config(), rng, PostcardCodec),
            node,
            started_at_ms,
            members: BTreeSet::new(),
            heard: BTreeMap::new(),
            renewed_at_ms: None,
            out: Outbox::default(),
        }
    }

    /// Who the members are from now on. Who is none any more is not heard and not spoken of.
    pub fn set_members(&mut self, now_ms: u64, members: BTreeSet<NodeId>) {
        self.out.now_ms = now_ms;
        let is_gone = |member: &&Member<Incarnate>| !members.contains(&member.id().node);
        let gone: Vec<_> = self.foca.iter_members().filter(is_gone).cloned().collect();
        self.heard.retain(|node, _| members.contains(node));
        self.members = members;
        let down = gone.iter().map(|member| Member::down(*member.id()));
        let applied = self.foca.apply_many(down, false, &mut self.out);
        note(applied);
    }

    /// A member has a session with this node: it is greeted.
    pub fn greet(&mut self, now_ms: u64, peer: NodeId) {
        self.out.now_ms = now_ms;
        if peer == self.node || !self.members.contains(&peer) {
            return;
        }
        let anyone = Incarnate {
            node: peer,
            incarnation: 0,
        };
        note(self.foca.announce(anyone, &mut self.out));
    }

    /// Takes a datagram of a session with `from`.
    pub fn handle_datagram(&mut self, now_ms: u64, from: NodeId, datagram: &[u8]) {
        self.out.now_ms = now_ms;
        let Some(told) = self.admit(now_ms, from, datagram) else {
            return;
        };
        self.heard.insert(from, now_ms);
        note(self.foca.handle_data(&told, &mut self.out));
    }

    /// Does what is due. To be called when [`Swim::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.out.now_ms = now_ms;
        while let Some(first) = self.out.timers.first_entry() {
            if first.key().0 > now_ms {
                return;
            }
            let timer = first.remove();
            note(self.foca.handle_timer(timer, &mut self.out));
        }
    }

    /// When something is due next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let (due_ms, _) = self.out.timers.keys().next()?;
        Some(*due_ms)
    }

    /// The next thing to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    /// What is believed of every node that was heard of.
    #[must_use]
    pub fn liveness(&self) -> BTreeMap<NodeId, Liveness> {
        let of = |member: &Member<Incarnate>| match member.state() {
            State::Alive => Liveness::Alive,
            State::Suspect => Liveness::Suspect,
            State::Down => Liveness::Down,
        };
        let members = self.foca.iter_membership_state();
        members
            .map(|member| (member.id().node, of(member)))
            .collect()
    }

    /// When this node itself heard a member last.
    #[must_use]
    pub fn heard_at_ms(&self, node: &NodeId) -> Option<u64> {
        self.heard.get(node).copied()
    }

    /// What a datagram tells that may be believed, as a datagram; nothing if it is refused.
    fn admit(&mut self, now_ms: u64, from: NodeId, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return None;
        }
        let mut rest = datagram;
        let header: Header<Incarnate> = PostcardCodec.decode_header(&mut rest).ok()?;
        let others = match &header.message {
            Message::PingReq { target: other, .. }
            | Message::IndirectPing { origin: other, .. }
            | Message::IndirectAck { target: other, .. }
            | Message::ForwardedAck { origin: other, .. } => Some(other),
            // Nothing of ours travels in these.
            Message::Broadcast => return None,
            _ => None,
        };
        let speaks_for_itself = header.src.node == from && from != self.node;
        let known = |id: &Incarnate| self.is_believable(now_ms, id);
        if !speaks_for_itself || !known(&header.src) || others.is_some_and(|other| !known(other)) {
            return None;
        }
        if header.dst.node == self.node && known(&header.dst) {
            self.outrank(now_ms, header.dst.incarnation);
        }
        if header.message == Message::TurnUndead && header.dst == *self.foca.identity() {
            if !self.may_renew(now_ms) {
                return None;
            }
            self.renewed_at_ms = Some(now_ms);
        }
        let mut told = Vec::with_capacity(datagram.len());
        PostcardCodec.encode_header(&header, &mut told).ok()?;
        if rest.len() >= 2 {
            let updates = self.admit_updates(now_ms, &mut rest)?;
            told.extend_from_slice(&u16::try_from(updates.len()).ok()?.to_be_bytes());
            for update in updates {
                PostcardCodec.encode_member(&update, &mut told).ok()?;
            }
        }
        rest.is_empty().then_some(told)
    }

    /// Reads the news of a datagram and leaves out what may not be believed.
    fn admit_updates(&mut self, now_ms: u64, rest: &mut &[u8]) -> Option<Vec<Member<Incarnate>>> {
        let count = rest.get_u16();
        let mut kept = Vec::new();
        for _ in 0..count {
            let update: Member<Incarnate> = PostcardCodec.decode_member(&mut *rest).ok()?;
            let id = *update.id();
            if !self.is_believable(now_ms, &id) {
                continue;
            }
            if id.node == self.node {
                self.outrank(now_ms, id.incarnation);
                let is_renewal = update.state() == State::Down;
                let is_current = id == *self.foca.identity();
                if !is_current || (is_renewal && !self.may_renew(now_ms)) {
                    continue;
                }
                if is_renewal {
                    self.renewed_at_ms = Some(now_ms);
                }
            }
            kept.push(update);
        }
        Some(kept)
    }

    fn is_believable(&self, now_ms: u64, id: &Incarnate) -> bool {
        let latest = self.started_at_ms.saturating_add(now_ms);
        let latest = latest.saturating_add(INCARNATION_AHEAD_MAX_MS);
        let is_known = id.node == self.node || self.members.contains(&id.node);
        is_known && id.incarnation <= latest
    }

    /// Becomes newer than an incarnation of this node that others speak of: one from before a
    /// restart after which the clock was set back, or a lie.
    fn outrank(&mut self, now_ms: u64, incarnation: u64) {
        if incarnation <= self.foca.identity().incarnation || !self.may_renew(now_ms) {
            return;
        }
        self.renewed_at_ms = Some(now_ms);
        let newer = Incarnate {
            node: self.node,
            incarnation: incarnation.saturating_add(1),
        };
        note(self.foca.change_identity(newer, &mut self.out));
    }

    fn may_renew(&self, now_ms: u64) -> bool {
        self.renewed_at_ms
            .is_none_or(|renewed| now_ms.saturating_sub(renewed) >= RENEW_PAUSE_MS)
    }
}

impl std::fmt::Debug for Swim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let identity = self.foca.identity();
        f.debug_struct("Swim")
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

/// Where `foca` leaves what it wants.
#[derive(Debug, Default)]
struct Outbox {
    now_ms: u64,
    /// By due time, then in the order in which they were set.
    timers: BTreeMap<(u64, u64), Timer<Incarnate>>,
    timers_set: u64,
    effects: VecDeque<Effect>,
}

impl Runtime<Incarnate> for Outbox {
    fn notify(&mut self, notification: Notification<'_, Incarnate>) {
        match notification {
            Notification::MemberUp(id) => self.effects.push_back(Effect::Up(id.node)),
            Notification::MemberDown(id) => self.effects.push_back(Effect::Down(id.node)),
            _ => {}
        }
    }

    fn send_to(&mut self, to: Incarnate, data: &[u8]) {
        self.effects.push_back(Effect::Send {
            to: to.node,
            datagram: Bytes::copy_from_slice(data),
        });
    }

    fn submit_after(&mut self, event: Timer<Incarnate>, after: Duration) {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.timers_set += 1;
        let key = (self.now_ms.saturating_add(after_ms), self.timers_set);
        self.timers.insert(key, event);
    }
}

const fn config() -> Config {
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_TIME,
        num_indirect_probes: INDIRECT_PROBES,
        max_transmissions: TRANSMISSIONS,
        suspect_to_down_after: SUSPECT_TIME,
        // Bounded by the members, since nobody else is heard of; each returns as another identity.
        remove_down_after: None,
        max_packet_size: NonZeroUsize::MIN.saturating_add(DATAGRAM_BYTES_MAX - 1),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams {
            frequency: ANNOUNCE_PERIOD,
            num_members: NonZeroUsize::MIN,
        }),
        periodic_announce_to_down_members: Some(PeriodicParams {
            frequency: DOWN_PERIOD,
            num_members: DOWN_MEMBERS,
        }),
        periodic_gossip: Some(PeriodicParams {
            frequency: GOSSIP_PERIOD,
            num_members: GOSSIP_MEMBERS,
        }),
    }
}

/// What goes wrong costs one datagram or one probe, which the protocol bears.
fn note(result: Result<(), foca::Error>) {
    if let Err(error) = result {
        tracing::debug!("liveness: {error}");
    }
}

#[cfg(test)]
mod lies;
