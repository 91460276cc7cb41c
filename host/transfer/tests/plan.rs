//! The plan of a fetch against simulated peers that are honest, slow, silent, gone, lying or lacking
//! parts, in simulated time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use hypermesh_transfer::{
    AskId, Effect, Event, Fetch, GroupSpan, NoSourceError, Pace, Patience, PeerFailure, Refusal,
    Start, Wanted,
};
use proptest::collection::vec;
use proptest::prelude::*;
use storage::{GROUP_BYTES, GroupSet, group_count, slices_of};
use types::{Digest, NodeId};

/// Nothing that is simulated lasts longer: whoever waits for ever is found.
const END: Duration = Duration::from_secs(3_600);

/// What a peer does. Slices come one after the other, `slice_ms` apart.
#[derive(Debug, Clone)]
struct Peer {
    slice_ms: u64,
    /// The groups that it has, as a pattern: group `g` is there if bit `g % 8` is set.
    pattern: u8,
    /// When it has everything; for those that lack parts now.
    complete_at_ms: Option<u64>,
    /// After so many slices, of all requests together, it does this for ever.
    turns_after: u64,
    turn: Turn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Never,
    Lies,
    Stalls,
    Vanishes,
    EndsEarly,
    Busy,
    Violates,
    ClaimsOtherSize,
}

const HONEST: Peer = Peer {
    slice_ms: 10,
    pattern: 0xff,
    complete_at_ms: None,
    turns_after: 0,
    turn: Turn::Never,
};

fn id(number: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(number).unwrap(); 32])
}

fn pace(asks: u32, groups: u32) -> Pace {
    let number = |number| NonZeroU32::new(number).unwrap();
    Pace {
        asks: number(asks),
        groups: number(groups),
    }
}

struct World {
    bytes: u64,
    peers: Vec<Peer>,
    pace: Pace,
    fetch: Fetch,
    now: Duration,
    /// Events to come, in order of time; the number keeps those of one moment in order.
    coming: BTreeMap<(Duration, u64), Event>,
    numbered: u64,
    slices: Vec<u64>,
    /// Requests in flight: of whom, and for which groups that did not come yet.
    open: BTreeMap<AskId, (usize, GroupSet)>,
    stored: GroupSet,
    stored_by: Vec<u64>,
    dropped: BTreeMap<NodeId, PeerFailure>,
    lied: BTreeSet<usize>,
}

impl World {
    fn new(bytes: u64, peers: Vec<Peer>, pace: Pace, start: Start) -> Self {
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
    fn run(&mut self) -> Result<(), NoSourceError> {
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
        assert_eq!(self.open.insert(ask, (number, owed)), None);
        let peer = self.peers[number].clone();
        let total = group_count(self.bytes);
        let complete = peer
            .complete_at_ms
            .is_some_and(|at| Duration::from_millis(at) <= self.now);
        let has =
            |group: &u64| complete || *group == total - 1 || peer.pattern >> (group % 8) & 1 == 1;
        let held: GroupSet = if complete || peer.pattern == 0xff {
            GroupSet::from(0..total)
        } else {
            (0..total)
                .filter(has)
                .map(|group| group..group + 1)
                .collect()
        };
        let turned = self.slices[number] >= peer.turns_after;
        let mut at = peer.slice_ms;
        match peer.turn {
            Turn::Stalls if turned => return,
            Turn::Vanishes if turned => {
                let reason = "connection lost".to_owned();
                return self.later(at, Event::Broke { ask, reason });
            }
            Turn::Busy if turned => {
                let refusal = Refusal::Busy;
                return self.later(at, Event::Refused { ask, refusal });
            }
            _ => {}
        }
        let other = u64::from(peer.turn == Turn::ClaimsOtherSize && turned);
        let bytes = self.bytes + other;
        self.later(
            at,
            Event::Has {
                ask,
                bytes,
                held: held.clone(),
            },
        );
        let asked = match wanted {
            Wanted::Last => GroupSet::from(total - 1..total),
            Wanted::Groups(spans) => {
                let groups = GroupSpan::set(spans);
                assert!(groups.count() <= u64::from(self.pace.groups.get()));
                groups
            }
        };
        let there = asked.intersection(&held);
        let mut lacks = asked;
        there.ranges().iter().for_each(|range| lacks.remove(range));
        if !lacks.is_empty() {
            let groups = lacks;
            self.later(at, Event::Lacks { ask, groups });
        }
        for groups in there.ranges().iter().cloned().flat_map(slices_of) {
            at += peer.slice_ms;
            self.slices[number] += 1;
            let turned = self.slices[number] > peer.turns_after;
            match peer.turn {
                Turn::Lies if turned => return self.later(at, Event::Bad { ask, groups }),
                Turn::ClaimsOtherSize if turned => {
                    return self.later(at, Event::Bad { ask, groups });
                }
                Turn::Stalls if turned => return,
                Turn::EndsEarly if turned => return self.later(at, Event::Ended { ask }),
                Turn::Violates if turned => {
                    let reason = "nonsense".to_owned();
                    return self.later(at, Event::Violated { ask, reason });
                }
                Turn::Vanishes if turned => {
                    let reason = "connection lost".to_owned();
                    return self.later(at, Event::Broke { ask, reason });
                }
                _ => {}
            }
            let bytes = self.bytes;
            self.later(at, Event::Stored { ask, groups, bytes });
        }
        self.later(at, Event::Ended { ask });
    }
}

fn world(groups: u64, peers: Vec<Peer>) -> World {
    World::new(groups * GROUP_BYTES, peers, pace(2, 64), Start::Unknown)
}

#[test]
fn three_sources_share_the_work() {
    let mut one = world(3_000, vec![HONEST]);
    one.run().unwrap();
    let mut three = world(3_000, vec![HONEST; 3]);
    three.run().unwrap();
    assert!(three.now * 5 < one.now * 2, "{:?} {:?}", three.now, one.now);
    assert!(
        three.stored_by.iter().all(|slices| *slices > 50),
        "{:?}",
        three.stored_by
    );
    assert!(three.dropped.is_empty());
}

#[test]
fn a_liar_is_named_and_the_rest_comes_from_others() {
    let liar = Peer {
        turn: Turn::Lies,
        turns_after: 5,
        ..HONEST
    };
    let mut world = world(1_000, vec![HONEST, liar, HONEST]);
    world.run().unwrap();
    assert_eq!(world.dropped.len(), 1);
    assert!(matches!(
        world.dropped[&id(1)],
        PeerFailure::BadSlice { .. }
    ));
}

#[test]
fn a_claim_of_another_size_is_disproven() {
    let liar = Peer {
        turn: Turn::ClaimsOtherSize,
        slice_ms: 1,
        ..HONEST
    };
    let mut world = world(100, vec![liar.clone(), HONEST]);
    world.run().unwrap();
    assert!(world.dropped.contains_key(&id(0)));
    let late = Peer {
        slice_ms: 500,
        ..liar
    };
    let mut world = World {
        ..self::world(100_000, vec![late, HONEST])
    };
    world.run().unwrap();
    let (proven, claimed) = (100_000 * GROUP_BYTES, 100_000 * GROUP_BYTES + 1);
    assert_eq!(
        world.dropped[&id(0)],
        PeerFailure::WrongSize { claimed, proven }
    );
}

#[test]
fn what_a_silent_or_slow_peer_owes_goes_to_others() {
    let silent = Peer {
        turn: Turn::Stalls,
        turns_after: 3,
        ..HONEST
    };
    let mut world = self::world(500, vec![silent, HONEST]);
    world.run().unwrap();
    assert!(
        world.now < Duration::from_secs(4),
        "{:?}: nobody waits for its timeout",
        world.now
    );
    let slow = Peer {
        slice_ms: 3_000,
        ..HONEST
    };
    let mut world = self::world(500, vec![slow, HONEST]);
    world.run().unwrap();
    assert!(
        world.now < Duration::from_secs(4) && world.dropped.is_empty(),
        "{:?}",
        world.now
    );
}

#[test]
fn partial_peers_complete_each_other_and_grow() {
    let part = |pattern| Peer { pattern, ..HONEST };
    let mut world = self::world(800, vec![part(0x0f), part(0xf0)]);
    world.run().unwrap();
    let growing = Peer {
        pattern: 1,
        complete_at_ms: Some(1_500),
        ..HONEST
    };
    let mut world = self::world(800, vec![growing]);
    world.run().unwrap();
    assert!(world.now > Duration::from_millis(1_500));
}

#[test]
fn when_nobody_is_left_each_is_named_with_its_reason() {
    let peer = |turn, turns_after| Peer {
        turn,
        turns_after,
        ..HONEST
    };
    let peers = vec![
        peer(Turn::Lies, 4),
        peer(Turn::Stalls, 4),
        peer(Turn::Vanishes, 4),
        Peer {
            pattern: 0x0f,
            ..HONEST
        },
        peer(Turn::Violates, 4),
        peer(Turn::Busy, 4),
    ];
    let mut world = self::world(4_000, peers);
    let error = world.run().unwrap_err();
    let missing = 4_000 - world.stored.count();
    assert_eq!(error.missing, Some(missing));
    let reasons: Vec<String> = error
        .peers
        .iter()
        .map(|(_, failure)| failure.to_string())
        .collect();
    assert!(reasons[0].starts_with("it sent a bad slice of groups"));
    assert_eq!(
        reasons[1..],
        [
            "it was silent for 10s, 3 times".to_owned(),
            "it could not be reached: connection lost".to_owned(),
            format!("it does not have the {missing} groups that are missing"),
            "it broke the protocol: nonsense".to_owned(),
            "it is busy".to_owned(),
        ]
    );
    let text = error.to_string();
    assert!(
        text.contains(&id(3).short()) && text.contains("no peer is left"),
        "{text}"
    );
}

#[test]
fn without_peers_it_fails_at_once_and_whole_it_ends_at_once() {
    let error = world(5, vec![]).run().unwrap_err();
    assert_eq!((error.missing, error.peers.len()), (None, 0));
    let held = GroupSet::from(0..5);
    let bytes = 5 * GROUP_BYTES;
    World::new(bytes, vec![], pace(1, 1), Start::Partial { bytes, held })
        .run()
        .unwrap();
}

fn peer() -> impl Strategy<Value = Peer> {
    let turn = prop_oneof![
        4 => Just(Turn::Never),
        1 => Just(Turn::Lies),
        1 => Just(Turn::Stalls),
        1 => Just(Turn::Vanishes),
        1 => Just(Turn::EndsEarly),
        1 => Just(Turn::Busy),
        1 => Just(Turn::Violates),
        1 => Just(Turn::ClaimsOtherSize),
    ];
    let pattern = prop_oneof![3 => Just(0xff), 2 => any::<u8>()];
    let complete = prop::option::of(0..2_000_u64);
    (1..2_000_u64, pattern, complete, 0..40_u64, turn).prop_map(
        |(slice_ms, pattern, complete_at_ms, turns_after, turn)| Peer {
            slice_ms,
            pattern,
            complete_at_ms,
            turns_after,
            turn,
        },
    )
}

proptest! {
    #[test]
    fn random_peers_end_in_the_artifact_or_in_all_their_names(
        bytes in 0..2_000 * GROUP_BYTES,
        peers in vec(peer(), 0..7),
        (asks, groups) in (1..6_u32, 1..200_u32),
        held in prop::option::of(vec((0..2_000_u64, 0..300_u64), 0..5)),
    ) {
        let total = group_count(bytes);
        let start = held.map_or(Start::Unknown, |held| {
            let all = GroupSet::from(0..total);
            let held: GroupSet = held.into_iter().map(|(first, count)| first..first + count).collect();
            Start::Partial { bytes, held: held.intersection(&all) }
        });
        let mut world = World::new(bytes, peers.clone(), pace(asks, groups), start);
        let result = world.run();
        for liar in &world.lied {
            prop_assert!(world.dropped.contains_key(&id(*liar)), "a liar stays");
        }
        let honest = |peer: &Peer| peer.turn == Turn::Never;
        for (peer, failure) in &world.dropped {
            let dropped = &peers[usize::from(peer.as_bytes()[0])];
            let lacking = matches!(failure, PeerFailure::Lacks { .. }) && dropped.pattern != 0xff;
            prop_assert!(!honest(dropped) || lacking, "{dropped:?} was dropped: {failure}");
        }
        let complete = |peer: &Peer| honest(peer) && peer.pattern == 0xff;
        match result {
            Ok(()) => {}
            Err(error) => {
                prop_assert!(!peers.iter().any(complete), "{error}");
                prop_assert_eq!(error.peers.len(), peers.len());
                let named: BTreeMap<_, _> = error.peers.into_iter().collect();
                prop_assert_eq!(named, world.dropped);
            }
        }
    }
}
