//! Peers in simulated time, and the plan of a fetch among them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use hypermesh_transfer::{
    AskId, Effect, Event, Fetch, GroupSpan, NoSourceError, Pace, Patience, PeerFailure, Refusal,
    Start, Wanted,
};
use storage::{GroupSet, group_count, slices_of};
use types::{Digest, NodeId};

/// Nothing that is simulated lasts longer: whoever waits for ever is found.
const END: Duration = Duration::from_secs(3_600);

/// What a peer does. Slices come one after the other, `slice_ms` apart.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) slice_ms: u64,
    /// The groups that it has, as a pattern: group `g` is there if bit `g % 8` is set.
    pub(crate) pattern: u8,
    /// When it has everything; for those that lack parts now.
    pub(crate) complete_at_ms: Option<u64>,
    /// After so many slices, of all requests together, it does this for ever.
    pub(crate) turns_after: u64,
    pub(crate) turn: Turn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Never,
    Lies,
    Stalls,
    Vanishes,
    EndsEarly,
    Busy,
    Violates,
    ClaimsOtherSize,
}

pub(crate) const HONEST: Peer = Peer {
    slice_ms: 10,
    pattern: 0xff,
    complete_at_ms: None,
    turns_after: 0,
    turn: Turn::Never,
};

pub(crate) fn id(number: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(number).unwrap(); 32])
}

pub(crate) fn pace(asks: u32, groups: u32) -> Pace {
    let number = |number| NonZeroU32::new(number).unwrap();
    Pace {
        asks: number(asks),
        groups: number(groups),
    }
}

pub(crate) struct World {
    bytes: u64,
    peers: Vec<Peer>,
    pace: Pace,
    fetch: Fetch,
    pub(crate) now: Duration,
    /// Events to come, in order of time; the number keeps those of one moment in order.
    coming: BTreeMap<(Duration, u64), Event>,
    numbered: u64,
    slices: Vec<u64>,
    /// Requests in flight: of whom, and for which groups that did not come yet.
    open: BTreeMap<AskId, (usize, GroupSet)>,
    pub(crate) stored: GroupSet,
    pub(crate) stored_by: Vec<u64>,
    pub(crate) dropped: BTreeMap<NodeId, PeerFailure>,
    pub(crate) lied: BTreeSet<usize>,
}

impl World {
    pub(crate) fn new(bytes: u64, peers: Vec<Peer>, pace: Pace, start: Start) -> Self {
        let paced: Vec<_> = (0..peers.len()).map(|number| (id(number), pace)).collect();
        let patience = Patience::default();
        let stored = match &start {
            Start::Unknown => GroupSet::new(),
            Start::Partial { held, .. } => held.clone(),
        };
        let digest = Digest::of(b"wanted");
        Self {
            bytes,
            slices: vec![0; peers.len()],
            stored_by: vec![0; peers.len()],
            peers,
            pace,
            fetch: Fetch::new(Duration::ZERO, digest, start, &paced, patience),
            now: Duration::ZERO,
            coming: BTreeMap::new(),
            numbered: 0,
            open: BTreeMap::new(),
            stored,
            dropped: BTreeMap::new(),
            lied: BTreeSet::new(),
        }
    }

    /// Runs until the fetch ends.
    pub(crate) fn run(&mut self) -> Result<(), NoSourceError> {
        loop {
            while let Some(effect) = self.fetch.poll_effect() {
                match effect {
                    Effect::Ask { ask, peer, wanted } => self.ask(ask, peer, &wanted),
                    Effect::Cancel { ask } => {
                        self.open.remove(&ask);
                    }
                    Effect::Dropped { peer, failure } => {
                        assert_eq!(self.dropped.insert(peer, failure), None);
                    }
                    Effect::Whole => {
                        assert_eq!(self.fetch.stored_bytes(), self.bytes);
                        let all = GroupSet::from(0..group_count(self.bytes));
                        assert_eq!((&self.stored, self.fetch.next_timeout()), (&all, None));
                        return Ok(());
                    }
                    Effect::Failed(error) => return Err(error),
                }
            }
            let timeout = self.fetch.next_timeout().expect("it waits for nothing");
            let next = self.coming.first_key_value().map(|((at, _), _)| *at);
            let event = if next.is_some_and(|next| next <= timeout) {
                let ((at, _), event) = self.coming.pop_first().unwrap();
                self.now = at;
                event
            } else {
                assert!(timeout >= self.now, "it waits for the past");
                self.now = timeout;
                Event::Tick
            };
            assert!(self.now < END, "it never ends");
            self.deliver(event);
        }
    }

    fn deliver(&mut self, event: Event) {
        let ask = match &event {
            Event::Has { ask, .. } | Event::Stored { ask, .. } | Event::Bad { ask, .. } => *ask,
            Event::Lacks { ask, .. } | Event::Refused { ask, .. } | Event::Ended { ask } => *ask,
            Event::Broke { ask, .. } | Event::Violated { ask, .. } => *ask,
            _ => return self.fetch.handle_event(self.now, event),
        };
        let Some(peer) = self.open.get(&ask).map(|(peer, _)| *peer) else {
            // Cancelled: whoever drives it no longer listens.
            return;
        };
        match &event {
            Event::Stored { groups, .. } => {
                self.stored.insert(groups.clone());
                self.stored_by[peer] += 1;
                let (_, owed) = self.open.get_mut(&ask).unwrap();
                if !owed.is_empty() {
                    owed.remove(groups);
                    if owed.is_empty() {
                        // All came: the next request may be made before the stream has ended.
                        self.open.remove(&ask);
                    }
                }
            }
            Event::Lacks { groups, .. } => {
                let (_, owed) = self.open.get_mut(&ask).unwrap();
                groups.ranges().iter().for_each(|range| owed.remove(range));
            }
            Event::Bad { .. } => {
                self.lied.insert(peer);
            }
            _ => {}
        }
        if !matches!(
            event,
            Event::Has { .. } | Event::Stored { .. } | Event::Lacks { .. }
        ) {
            self.open.remove(&ask);
        }
        self.fetch.handle_event(self.now, event);
    }

    fn later(&mut self, after_ms: u64, event: Event) {
        self.numbered += 1;
        let at = self.now + Duration::from_millis(after_ms);
        self.coming.insert((at, self.numbered), event);
    }

    fn ask(&mut self, ask: AskId, peer: NodeId, wanted: &Wanted) {
        assert!(!self.dropped.contains_key(&peer), "a dropped peer is asked");
        let number = usize::from(peer.as_bytes()[0]);
        let of_peer = |(other, _): &&(usize, GroupSet)| *other == number;
        let in_flight = self.open.values().filter(of_peer).count();
        assert!(
            in_flight < self.pace.asks.get() as usize,
            "too many requests at once"
        );
        let owed = match wanted {
            Wanted::Last => GroupSet::new(),
            Wanted::Groups(spans) => GroupSpan::set(spans),
        };
        assert!(owed.count() <= u64::from(self.pace.groups.get()));
        assert_eq!(self.open.insert(ask, (number, owed.clone())), None);
        let peer = self.peers[number].clone();
        let turned = self.slices[number] >= peer.turns_after;
        match peer.turn {
            Turn::Stalls if turned => {}
            Turn::Vanishes if turned => self.later(peer.slice_ms, vanished(ask)),
            Turn::Busy if turned => {
                let refusal = Refusal::Busy;
                self.later(peer.slice_ms, Event::Refused { ask, refusal });
            }
            _ => {
                let total = group_count(self.bytes);
                let asked = match wanted {
                    Wanted::Last => GroupSet::from(total - 1..total),
                    Wanted::Groups(_) => owed,
                };
                self.answer(ask, number, asked);
            }
        }
    }

    /// What a peer has now.
    fn held(&self, peer: &Peer) -> GroupSet {
        let total = group_count(self.bytes);
        let complete = peer
            .complete_at_ms
            .is_some_and(|at| Duration::from_millis(at) <= self.now);
        if complete || peer.pattern == 0xff {
            return GroupSet::from(0..total);
        }
        let has = |group: &u64| *group == total - 1 || peer.pattern >> (group % 8) & 1 == 1;
        (0..total)
            .filter(has)
            .map(|group| group..group + 1)
            .collect()
    }

    fn answer(&mut self, ask: AskId, number: usize, asked: GroupSet) {
        let peer = self.peers[number].clone();
        let held = self.held(&peer);
        let mut at = peer.slice_ms;
        let lies = peer.turn == Turn::ClaimsOtherSize && self.slices[number] >= peer.turns_after;
        let bytes = self.bytes + u64::from(lies);
        let there = asked.intersection(&held);
        self.later(at, Event::Has { ask, bytes, held });
        let mut groups = asked;
        there.ranges().iter().for_each(|range| groups.remove(range));
        if !groups.is_empty() {
            self.later(at, Event::Lacks { ask, groups });
        }
        for groups in there.ranges().iter().cloned().flat_map(slices_of) {
            at += peer.slice_ms;
            self.slices[number] += 1;
            if self.slices[number] > peer.turns_after {
                let reason = "nonsense".to_owned();
                match peer.turn {
                    Turn::Never | Turn::Busy => {}
                    Turn::Lies | Turn::ClaimsOtherSize => {
                        return self.later(at, Event::Bad { ask, groups });
                    }
                    Turn::Stalls => return,
                    Turn::EndsEarly => return self.later(at, Event::Ended { ask }),
                    Turn::Violates => return self.later(at, Event::Violated { ask, reason }),
                    Turn::Vanishes => return self.later(at, vanished(ask)),
                }
            }
            let bytes = self.bytes;
            self.later(at, Event::Stored { ask, groups, bytes });
        }
        self.later(at, Event::Ended { ask });
    }
}

fn vanished(ask: AskId) -> Event {
    let reason = "connection lost".to_owned();
    Event::Broke { ask, reason }
}
