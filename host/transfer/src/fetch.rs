//! The plan of a fetch: which part is asked of which peer, and what happens when peers are slow,
//! silent, gone or lying. Pure: time comes in with events, requests leave as effects, slices are
//! checked and stored by whoever drives it.
//!
//! Rules. A group is asked of one peer at a time, except that an idle peer is also asked for what
//! another has owed for long ([`Patience::hedge_after`]). What a peer does not send in time goes back
//! and the peer gets a strike and a pause; at the third in a row it is dropped. A slice that does not
//! belong to the artifact, a size that was disproven and a broken protocol drop the peer at once. A
//! peer that has nothing of what is missing is asked again from time to time. The size of an artifact
//! is believed once the last group, as the first slice of all, has been checked against it.

mod asks;
mod peers;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use storage::{GROUP_BYTES, GroupSet, group_count};
use types::{Digest, NodeId};

use crate::bounds::{BUSY_MAX, PEERS_MAX, STRIKES_MAX};
use crate::fetch_types::{AskId, Effect, Event, NoSourceError, Pace, Patience, PeerFailure, Start};
use crate::wire::Refusal;

use peers::{Ask, Peer, Purpose};

/// One artifact on its way from several peers. Times are since any moment before all of them.
#[derive(Debug)]
pub struct Fetch {
    digest: Digest,
    patience: Patience,
    now: Duration,
    /// The proven size.
    bytes: Option<u64>,
    stored: GroupSet,
    /// What is neither stored nor owed by anybody.
    missing: GroupSet,
    peers: BTreeMap<NodeId, Peer>,
    asks: BTreeMap<AskId, Ask>,
    asks_made: u64,
    effects: VecDeque<Effect>,
    ended: bool,
}

impl Fetch {
    /// Begins at `now`. Of `peers`, the first 16 are asked; without any, the fetch fails at once.
    #[must_use]
    pub fn new(
        now: Duration,
        digest: Digest,
        start: Start,
        peers: &[(NodeId, Pace)],
        patience: Patience,
    ) -> Self {
        let mut fetch = Self {
            digest,
            patience,
            now,
            bytes: None,
            stored: GroupSet::new(),
            missing: GroupSet::new(),
            peers: BTreeMap::new(),
            asks: BTreeMap::new(),
            asks_made: 0,
            effects: VecDeque::new(),
            ended: false,
        };
        if let Start::Partial { bytes, held } = start {
            fetch.bytes = Some(bytes);
            fetch.missing = GroupSet::from(0..group_count(bytes));
            for groups in held.ranges() {
                fetch.missing.remove(groups);
            }
            fetch.stored = held;
        }
        for (peer, pace) in peers {
            fetch.found(*peer, *pace);
        }
        fetch.go_on();
        fetch
    }

    /// Takes in what happened at `now`.
    pub fn handle_event(&mut self, now: Duration, event: Event) {
        if self.ended {
            return;
        }
        self.now = self.now.max(now);
        self.take(event);
        self.expire();
        self.go_on();
    }

    /// What is to be done next; none if nothing is.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle_event`] with [`Event::Tick`] if nothing else happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let silences = self
            .asks
            .values()
            .map(|ask| ask.heard_at + self.patience.silence);
        let hedges = self
            .asks
            .values()
            .map(|ask| ask.asked_at + self.patience.hedge_after);
        let pauses = self.peers.values().filter_map(|peer| peer.not_before);
        // Hedges that are due were considered already.
        let later = hedges.chain(pauses).filter(|at| *at > self.now);
        silences.chain(later).min()
    }

    /// Bytes of the artifact that are here.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let Some(bytes) = self.bytes else { return 0 };
        let size = |group: u64| bytes.min(group.saturating_mul(GROUP_BYTES));
        let ranges = self.stored.ranges().iter();
        ranges
            .map(|range| size(range.end) - size(range.start))
            .sum()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::PeerFound { peer, pace } => self.found(peer, pace),
            Event::Paced { peer, pace } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.pace = pace;
                }
            }
            Event::Has { ask, bytes, held } => self.has(ask, bytes, held),
            Event::Stored { ask, groups, bytes } => self.stored(ask, &groups, bytes),
            Event::Bad { ask, groups } => self.drop_peer_of(ask, PeerFailure::BadSlice { groups }),
            Event::Lacks { ask, groups } => self.lacks(ask, &groups),
            Event::Refused { ask, refusal } => self.refused(ask, refusal),
            Event::Ended { ask } => self.answered(ask),
            Event::Broke { ask, reason } => {
                if let Some(peer) = self.give_back(ask) {
                    self.strike(peer, PeerFailure::Unreachable(reason));
                }
            }
            Event::Violated { ask, reason } => {
                self.drop_peer_of(ask, PeerFailure::Violated(reason));
            }
        }
    }

    fn found(&mut self, peer: NodeId, pace: Pace) {
        if self.peers.len() < PEERS_MAX {
            self.peers.entry(peer).or_insert_with(|| Peer::new(pace));
        }
    }

    fn has(&mut self, ask: AskId, bytes: u64, held: GroupSet) {
        let Some(ask) = self.asks.get_mut(&ask) else {
            return;
        };
        ask.heard_at = self.now;
        let id = ask.peer;
        match self.bytes {
            Some(proven) if proven != bytes => {
                let claimed = bytes;
                self.drop_peer(id, PeerFailure::WrongSize { claimed, proven });
            }
            _ => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.claimed = Some(bytes);
                    peer.has = Some(held);
                }
            }
        }
    }

    fn stored(&mut self, id: AskId, groups: &Range<u64>, bytes: u64) {
        let Some(ask) = self.asks.get_mut(&id) else {
            // Too late to count for the request, but it is here.
            if self.bytes == Some(bytes) {
                self.keep(groups, None);
            }
            return;
        };
        ask.heard_at = self.now;
        if let Some(peer) = self.peers.get_mut(&ask.peer) {
            peer.delivered();
        }
        if self.bytes.is_none() {
            self.proven(bytes);
        }
        self.keep(groups, Some(id));
    }

    /// Everything that was claimed can be judged from now on.
    fn proven(&mut self, bytes: u64) {
        self.bytes = Some(bytes);
        self.missing = GroupSet::from(0..group_count(bytes));
        let wrong = |(id, peer): (&NodeId, &Peer)| {
            let claimed = peer.claimed.filter(|claimed| *claimed != bytes)?;
            peer.failure.is_none().then_some((*id, claimed))
        };
        let wrong: Vec<_> = self.peers.iter().filter_map(wrong).collect();
        for (peer, claimed) in wrong {
            let proven = bytes;
            self.drop_peer(peer, PeerFailure::WrongSize { claimed, proven });
        }
    }

    fn keep(&mut self, groups: &Range<u64>, from: Option<AskId>) {
        self.stored.insert(groups.clone());
        self.missing.remove(groups);
        // Something moves: those who have nothing of use yet are worth waiting for.
        self.peers.values_mut().for_each(|peer| peer.polls = 0);
        let mut settled = Vec::new();
        for (id, ask) in &mut self.asks {
            let owed = !ask.left.is_empty();
            ask.left.remove(groups);
            if Some(*id) == from {
                ask.coming.remove(groups);
            }
            if owed && ask.left.is_empty() {
                settled.push(*id);
            }
        }
        for id in settled {
            let ask = self.asks.remove(&id);
            if ask.is_some_and(|ask| !ask.coming.is_empty()) {
                // What it still sends is of no use to anybody.
                self.effects.push_back(Effect::Cancel { ask: id });
            }
        }
    }

    fn lacks(&mut self, id: AskId, groups: &GroupSet) {
        let (Some(ask), Some(total)) = (self.asks.get_mut(&id), self.bytes.map(group_count)) else {
            // Who has not even the last group has nothing to prove that it has anything.
            self.drop_peer_of(id, PeerFailure::Refused(Refusal::Absent));
            return;
        };
        ask.heard_at = self.now;
        let back = ask.left.intersection(groups);
        for range in groups.ranges() {
            ask.coming.remove(range);
        }
        back.ranges()
            .iter()
            .for_each(|range| ask.left.remove(range));
        if let Some(peer) = self.peers.get_mut(&ask.peer) {
            let has = peer.has_of(total);
            groups.ranges().iter().for_each(|range| has.remove(range));
        }
        self.unowe(back);
    }

    fn refused(&mut self, ask: AskId, refusal: Refusal) {
        let Some(id) = self.give_back(ask) else {
            return;
        };
        let pause = self.now + self.patience.pause;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if refusal == Refusal::Busy && peer.busy < BUSY_MAX {
            if peer.not_before.is_none() {
                peer.busy += 1;
                peer.not_before = Some(pause);
            }
        } else {
            self.drop_peer(id, PeerFailure::Refused(refusal));
        }
    }

    fn answered(&mut self, id: AskId) {
        let Some(ask) = self.asks.get(&id) else {
            return;
        };
        let owes = match ask.purpose {
            Purpose::Size => self.bytes.is_none(),
            Purpose::Groups => !ask.left.is_empty(),
            Purpose::Poll => false,
        };
        let peer = self.give_back(id);
        if let (true, Some(peer)) = (owes, peer) {
            let reason = "the answer ended early".to_owned();
            self.strike(peer, PeerFailure::Unreachable(reason));
        }
    }

    /// Requests that were silent for too long.
    fn expire(&mut self) {
        let silent = |ask: &Ask| ask.heard_at + self.patience.silence <= self.now;
        let expired: Vec<AskId> = self
            .asks
            .iter()
            .filter(|(_, ask)| silent(ask))
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            if let Some(peer) = self.give_back(id) {
                self.effects.push_back(Effect::Cancel { ask: id });
                self.strike(peer, PeerFailure::Silent(self.patience.silence));
            }
        }
    }

    /// Ends a request; what it owed is owed by nobody. Says whose it was.
    fn give_back(&mut self, id: AskId) -> Option<NodeId> {
        let ask = self.asks.remove(&id)?;
        self.unowe(ask.left);
        Some(ask.peer)
    }

    fn unowe(&mut self, mut back: GroupSet) {
        // Some may be owed by a second peer.
        for other in self.asks.values() {
            other
                .left
                .ranges()
                .iter()
                .for_each(|range| back.remove(range));
        }
        self.missing.extend(back.ranges().iter().cloned());
    }

    fn strike(&mut self, id: NodeId, failure: PeerFailure) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.not_before.is_some() {
            // All requests of one broken way end together: that is one strike.
            return;
        }
        peer.strikes += 1;
        if peer.strikes >= STRIKES_MAX {
            self.drop_peer(id, failure);
        } else {
            peer.not_before = Some(self.now + self.patience.pause * peer.strikes);
        }
    }

    fn drop_peer_of(&mut self, ask: AskId, failure: PeerFailure) {
        if let Some(peer) = self.asks.get(&ask).map(|ask| ask.peer) {
            self.drop_peer(peer, failure);
        }
    }

    fn drop_peer(&mut self, id: NodeId, failure: PeerFailure) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.failure.is_some() {
            return;
        }
        peer.failure = Some(failure.clone());
        peer.not_before = None;
        let of_peer = self.asks.iter().filter(|(_, ask)| ask.peer == id);
        let asks: Vec<AskId> = of_peer.map(|(ask, _)| *ask).collect();
        for ask in asks {
            self.give_back(ask);
            self.effects.push_back(Effect::Cancel { ask });
        }
        self.effects
            .push_back(Effect::Dropped { peer: id, failure });
    }

    /// Asks whoever can be asked, and ends if there is nothing more to do.
    fn go_on(&mut self) {
        for peer in self.peers.values_mut() {
            peer.not_before = peer.not_before.filter(|at| *at > self.now);
        }
        if let Some(total) = self.bytes.map(group_count) {
            if self.stored.count() == total {
                return self.end(Effect::Whole);
            }
            self.ask_for_groups();
            self.ask_the_idle(total);
        } else {
            self.ask_for_size();
        }
        if self.peers.values().all(|peer| peer.failure.is_some()) {
            let peers = self.peers.iter();
            let failed = NoSourceError {
                digest: self.digest,
                missing: self
                    .bytes
                    .map(|bytes| group_count(bytes) - self.stored.count()),
                peers: peers
                    .filter_map(|(id, peer)| Some((*id, peer.failure.clone()?)))
                    .collect(),
            };
            self.end(Effect::Failed(failed));
        }
    }

    fn end(&mut self, last: Effect) {
        self.ended = true;
        for ask in std::mem::take(&mut self.asks).into_keys() {
            self.effects.push_back(Effect::Cancel { ask });
        }
        self.effects.push_back(last);
    }
}
