//! Liveness over a simulated network: time, loss and delay are the test's, so every run is the same
//! for its seed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise; its numbers are small"
)]

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_discovery::{DATAGRAM_BYTES_MAX, Effect, Liveness, Swim};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use trust::SecretKey;
use types::NodeId;

const START_MS: u64 = 1_800_000_000_000;
const PERIOD_MS: u64 = 1_000;
/// Within so many periods all others have a killed one of ten down: about two until it is probed,
/// three as a suspect, and what a loss of one datagram in ten adds.
const DOWN_PERIODS: u64 = 10;

struct World {
    seed: u64,
    now_ms: u64,
    rng: ChaCha8Rng,
    ids: Vec<NodeId>,
    nodes: Vec<Option<Swim>>,
    wire: BTreeMap<(u64, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    loss_percent: u64,
    /// One way, of everything to and from a node.
    delay_ms: Vec<u64>,
    /// Nodes of different sides do not hear each other.
    side: Vec<u8>,
    /// What each node said about others.
    told: Vec<Vec<Effect>>,
}

impl World {
    fn new(count: usize, seed: u64) -> Self {
        let key = |number: usize| SecretKey::from_seed(&[number as u8 + 1; 32]).public();
        let ids: Vec<NodeId> = (0..count).map(key).collect();
        let mut world = Self {
            seed,
            now_ms: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            wire: BTreeMap::new(),
            sent: 0,
            loss_percent: 0,
            delay_ms: vec![5; count],
            side: vec![0; count],
            told: vec![Vec::new(); count],
            ids,
        };
        for at in 0..count {
            let node = world.node(at);
            world.nodes.push(Some(node));
        }
        world
    }

    /// Everyone joined through the first, and greets it again while nothing is heard of it.
    fn greet(&mut self) {
        for at in 1..self.nodes.len() {
            let (now_ms, first) = (self.now_ms, self.ids[0]);
            if let Some(node) = &mut self.nodes[at]
                && !node.liveness().contains_key(&first)
            {
                node.greet(now_ms, first);
            }
        }
    }

    fn node(&mut self, at: usize) -> Swim {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let mut node = Swim::new(self.ids[at], START_MS + self.now_ms, seed);
        node.set_members(0, self.ids.iter().copied().collect());
        node
    }

    /// Each node's clock begins with it; only nodes that start at 0 are driven here.
    fn run(&mut self, periods: u64) {
        for _ in 0..periods {
            self.greet();
            self.run_until(self.now_ms + PERIOD_MS);
        }
    }

    fn run_until(&mut self, until: u64) {
        loop {
            self.carry();
            let timers = self.nodes.iter().flatten().filter_map(Swim::next_timeout);
            let arrivals = self.wire.keys().map(|key| key.0);
            let next = timers.chain(arrivals).min().unwrap_or(until);
            if next > until {
                self.now_ms = until;
                return;
            }
            self.now_ms = self.now_ms.max(next);
            while let Some(first) = self.wire.first_entry() {
                if first.key().0 > self.now_ms {
                    break;
                }
                let (from, to, datagram) = first.remove();
                let from = self.ids[from];
                if let Some(node) = &mut self.nodes[to] {
                    node.handle_datagram(self.now_ms, from, &datagram);
                }
            }
            for node in self.nodes.iter_mut().flatten() {
                node.handle_timeout(self.now_ms);
            }
        }
    }

    /// Puts what nodes send on the wire, or loses it.
    fn carry(&mut self) {
        for from in 0..self.nodes.len() {
            while let Some(effect) = self.nodes[from].as_mut().and_then(Swim::poll_effect) {
                let Effect::Send { to, datagram } = effect else {
                    self.told[from].push(effect);
                    continue;
                };
                assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
                let to = self.ids.iter().position(|id| *id == to).unwrap();
                self.sent += 1;
                let lost = self.rng.next_u64() % 100 < self.loss_percent;
                if lost || self.side[from] != self.side[to] {
                    continue;
                }
                let jitter = self.rng.next_u64() % 20;
                let at = self.now_ms + self.delay_ms[from] + self.delay_ms[to] + jitter;
                self.wire
                    .insert((at, self.sent), (from, to, datagram.to_vec()));
            }
        }
    }

    fn liveness(&self, at: usize, of: usize) -> Liveness {
        let node = self.nodes[at].as_ref().unwrap();
        let all = node.liveness();
        all.get(&self.ids[of]).copied().unwrap_or(Liveness::Unknown)
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let count = self.nodes.len();
        let all = (0..count).flat_map(move |at| (0..count).map(move |of| (at, of)));
        all.filter(|(at, of)| at != of && self.nodes[*at].is_some())
    }

    #[track_caller]
    fn all_alive(&self) {
        for (at, of) in self.pairs() {
            let liveness = self.liveness(at, of);
            assert_eq!(
                liveness,
                Liveness::Alive,
                "{of} to {at}, seed {}",
                self.seed
            );
        }
    }

    /// Whom a node declared down.
    fn downs(&self, at: usize) -> BTreeSet<usize> {
        let position = |id: &NodeId| self.ids.iter().position(|known| known == id).unwrap();
        let told = self.told[at].iter().filter_map(|effect| match effect {
            Effect::Down(id) => Some(position(id)),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn all_learn_of_all_through_one() {
    let mut world = World::new(10, 1);
    world.run(10);
    world.all_alive();
}

#[test]
fn a_killed_node_is_declared_down_by_all_and_nobody_else_is() {
    for seed in 0..20 {
        let mut world = World::new(10, seed);
        world.loss_percent = 10;
        world.run(20);
        world.nodes[3] = None;
        world.run(DOWN_PERIODS);
        for (at, of) in world.pairs() {
            let liveness = world.liveness(at, of);
            match of {
                3 => assert_eq!(liveness, Liveness::Down, "to {at}, seed {seed}"),
                _ => assert_ne!(liveness, Liveness::Down, "{of} to {at}, seed {seed}"),
            }
        }
        world.run(20);
        for at in (0..10).filter(|at| *at != 3) {
            assert_eq!(world.downs(at), BTreeSet::from([3]), "by {at}, seed {seed}");
        }
    }
}

/// Its answers come too late for a probe and in time for a suspicion.
#[test]
fn a_slow_node_is_suspected_and_refutes_it() {
    let mut suspected = 0;
    for seed in 0..10 {
        let mut world = World::new(10, seed);
        world.run(10);
        world.delay_ms[4] = 700;
        for _ in 0..60 {
            world.run(1);
            let others = (0..10).filter(|at| *at != 4);
            let suspects = others.filter(|at| world.liveness(*at, 4) == Liveness::Suspect);
            suspected += suspects.count();
        }
        for at in 0..10 {
            assert!(world.downs(at).is_empty(), "by {at}, seed {seed}");
        }
        world.delay_ms[4] = 5;
        world.run(15);
        world.all_alive();
    }
    assert!(suspected > 0, "the delay was too short to be noticed");
}

#[test]
fn a_partition_heals() {
    for seed in 0..10 {
        let mut world = World::new(10, seed);
        world.loss_percent = 5;
        world.run(10);
        for at in 5..10 {
            world.side[at] = 1;
        }
        world.run(40);
        for (at, of) in world.pairs() {
            let same_side = (at < 5) == (of < 5);
            let expected = if same_side {
                Liveness::Alive
            } else {
                Liveness::Down
            };
            assert_eq!(
                world.liveness(at, of),
                expected,
                "{of} to {at}, seed {seed}"
            );
        }
        world.side = vec![0; 10];
        world.loss_percent = 0;
        world.run(60);
        world.all_alive();
    }
}

/// What is said in the name of others, or by strangers, is not heard.
#[test]
fn only_members_are_heard_and_only_for_themselves() {
    let mut world = World::new(3, 7);
    world.run(5);
    world.all_alive();
    let stranger = SecretKey::from_seed(&[99; 32]).public();
    let mut seed = [0; 32];
    world.rng.fill_bytes(&mut seed);
    let mut outside = Swim::new(stranger, START_MS, seed);
    outside.set_members(0, world.ids.iter().copied().collect());
    outside.greet(0, world.ids[0]);
    let Some(Effect::Send { datagram, .. }) = outside.poll_effect() else {
        unreachable!("a greeting is sent at once");
    };
    let now_ms = world.now_ms;
    let (first, second) = (world.ids[0], world.ids[1]);
    let node = world.nodes[0].as_mut().unwrap();
    while node.poll_effect().is_some() {}
    for from in [stranger, second, first] {
        node.handle_datagram(now_ms, from, &datagram);
        assert_eq!(node.poll_effect(), None, "an answer to {from}");
    }
    assert!(!node.liveness().contains_key(&stranger));
    // One that is put out is not heard any more, and counts as down at once.
    let left = BTreeSet::from([first, world.ids[2]]);
    node.set_members(now_ms, left);
    assert_eq!(node.poll_effect(), Some(Effect::Down(second)));
}

#[test]
fn any_bytes_of_a_member_are_borne() {
    let mut world = World::new(4, 8);
    world.run(5);
    for _ in 0..20_000 {
        let mut bytes = vec![0; (world.rng.next_u64() % 200) as usize];
        world.rng.fill_bytes(&mut bytes);
        let (now_ms, from) = (world.now_ms, world.ids[1]);
        let node = world.nodes[0].as_mut().unwrap();
        node.handle_datagram(now_ms, from, &bytes);
    }
    world.run(10);
    world.all_alive();
}
