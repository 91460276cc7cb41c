//! Nodes that exchange records over a simulated network come to have the same ones.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise; its numbers are small"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hypermesh_discovery::{
    AddressRecord, DecodeRecordError, Exchange, MESSAGE_BYTES_MAX, RECORD_LIFE_MS, RECORD_PAUSE_MS,
    ReadMessageError, Sending, SignedRecord, Taken,
};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use trust::SecretKey;
use types::{FabricId, NodeId};

const NOW_MS: u64 = 1_800_000_000_000;

fn fabric() -> FabricId {
    FabricId::of(b"fabric")
}

fn key(number: usize) -> SecretKey {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

fn signed(number: usize, sequence: u64) -> SignedRecord {
    let key = key(number);
    let record = AddressRecord {
        fabric: fabric(),
        node: key.public(),
        sequence,
        expires_at_ms: sequence + RECORD_LIFE_MS,
        addresses: vec![([192, 0, 2, 1], 7_400).into()],
        relays: Vec::new(),
    };
    record.sign(&key).unwrap()
}

/// Nodes, and the messages between them that are under way.
struct World {
    nodes: BTreeMap<NodeId, Exchange>,
    ids: Vec<NodeId>,
    links: BTreeSet<(NodeId, NodeId)>,
    wire: VecDeque<(NodeId, Sending)>,
    /// One message in so many is lost, by chance.
    lose_one_in: u64,
    rng: ChaCha8Rng,
    sent: usize,
    now_ms: u64,
}

impl World {
    fn new(count: usize) -> Self {
        let ids: Vec<NodeId> = (0..count).map(|number| key(number).public()).collect();
        let members: BTreeSet<NodeId> = ids.iter().copied().collect();
        let node = |(number, id): (usize, &NodeId)| {
            let mut exchange = Exchange::new(fabric(), *id, [number as u8; 32]);
            exchange.set_members(NOW_MS, members.clone());
            exchange.publish(NOW_MS, signed(number, NOW_MS)).unwrap();
            (*id, exchange)
        };
        Self {
            nodes: ids.iter().enumerate().map(node).collect(),
            ids,
            links: BTreeSet::new(),
            wire: VecDeque::new(),
            lose_one_in: u64::MAX,
            rng: ChaCha8Rng::seed_from_u64(0),
            sent: 0,
            now_ms: NOW_MS,
        }
    }

    fn link(&mut self, one: usize, other: usize) {
        let (one, other) = (self.ids[one], self.ids[other]);
        for (from, to) in [(one, other), (other, one)] {
            if self.links.insert((from, to)) {
                self.nodes.get_mut(&from).unwrap().peer_up(to);
            }
        }
    }

    /// Carries messages until none is under way.
    fn settle(&mut self) {
        self.now_ms += RECORD_PAUSE_MS;
        loop {
            for (id, node) in &mut self.nodes {
                while let Some(sending) = node.poll_sending() {
                    assert!(sending.message.len() <= MESSAGE_BYTES_MAX);
                    assert!(
                        self.links.contains(&(*id, sending.to)),
                        "sent without a session"
                    );
                    self.sent += 1;
                    if !self.rng.next_u64().is_multiple_of(self.lose_one_in) {
                        self.wire.push_back((*id, sending));
                    }
                }
            }
            let Some((from, Sending { to, message })) = self.wire.pop_front() else {
                return;
            };
            let node = self.nodes.get_mut(&to).unwrap();
            node.handle_message(self.now_ms, from, &message).unwrap();
        }
    }

    fn known(&self, at: usize) -> BTreeMap<NodeId, u64> {
        let records = self.nodes[&self.ids[at]].records();
        let known = records
            .iter()
            .map(|signed| (signed.node(), signed.record().sequence));
        known.collect()
    }

    fn agrees(&self) -> bool {
        let first = self.known(0);
        first.len() == self.ids.len() && (1..self.ids.len()).all(|at| self.known(at) == first)
    }
}

#[test]
fn two_that_meet_have_the_same_records_however_many() {
    let mut world = World::new(2);
    let all: BTreeSet<NodeId> = (0..300).map(|number| key(number).public()).collect();
    for id in world.ids.clone() {
        world
            .nodes
            .get_mut(&id)
            .unwrap()
            .set_members(NOW_MS, all.clone());
    }
    // The first has heard of 298 others from somebody, the second of none.
    let other = key(299).public();
    for number in 2..300 {
        let mut teller = Exchange::new(fabric(), key(number).public(), [0; 32]);
        teller.set_members(NOW_MS, all.clone());
        teller.peer_up(world.ids[0]);
        let _ = teller.poll_sending();
        teller.publish(NOW_MS, signed(number, NOW_MS)).unwrap();
        let sending = teller.poll_sending().unwrap();
        let first = world.nodes.get_mut(&world.ids[0]).unwrap();
        first
            .handle_message(NOW_MS, other, &sending.message)
            .unwrap();
    }
    world.link(0, 1);
    world.settle();
    assert_eq!(world.known(0).len(), 300);
    assert_eq!(world.known(1), world.known(0));
    assert!(world.sent < 30, "{} messages", world.sent);
}

#[test]
fn a_bad_record_is_refused_with_all_that_came_with_it() {
    let mut world = World::new(2);
    world.link(0, 1);
    let (from, at) = (world.ids[0], world.ids[1]);
    let node = world.nodes.get_mut(&at).unwrap();
    while node.poll_sending().is_some() {}
    let good = signed(0, NOW_MS + 1).encode();
    // A message of records is its number, their count and they.
    let message = |records: &[&[u8]]| {
        let count = u8::try_from(records.len()).unwrap();
        [&[1, count][..], &records.concat()].concat()
    };
    let mut forged = signed(1, NOW_MS + 2).encode();
    *forged.last_mut().unwrap() ^= 1;
    let refused = node.handle_message(NOW_MS, from, &message(&[&good, &forged]));
    assert_eq!(
        refused,
        Err(ReadMessageError::Record(DecodeRecordError::Signature {
            node: at
        }))
    );
    assert!(node.records().of(&from).is_none(), "nothing of it is kept");
    let heard = node
        .handle_message(NOW_MS, from, &message(&[&good]))
        .unwrap();
    assert_eq!(heard.news, [from]);
    let heard = node
        .handle_message(NOW_MS, from, &message(&[&good]))
        .unwrap();
    assert!(heard.news.is_empty(), "the same again is no news");
}

#[test]
fn a_node_outranks_its_own_record_from_before_its_clock_was_set_back() {
    let mut world = World::new(2);
    world.link(0, 1);
    world.settle();
    let later = NOW_MS + 60_000;
    let first = world.ids[0];
    world
        .nodes
        .get_mut(&first)
        .unwrap()
        .publish(NOW_MS + RECORD_PAUSE_MS, signed(0, later))
        .unwrap();
    world.settle();
    // It starts again, and its clock is a minute behind.
    let mut again = Exchange::new(fabric(), first, [9; 32]);
    again.set_members(NOW_MS, world.ids.iter().copied().collect());
    again.publish(NOW_MS, signed(0, NOW_MS)).unwrap();
    world.nodes.insert(first, again);
    world.links.clear();
    world.link(0, 1);
    world.settle();
    let again = world.nodes.get_mut(&first).unwrap();
    assert!(again.is_outranked());
    assert_eq!(again.own_sequence(), later);
    let taken = again.publish(NOW_MS + RECORD_PAUSE_MS, signed(0, later + 1));
    assert_eq!(taken, Ok(Taken::New));
    assert!(!again.is_outranked());
    world.settle();
    assert_eq!(world.known(1)[&first], later + 1);
}

proptest! {
    // Failures print their input; a fixed bug becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// In any connected fabric, with any loss, rounds bring all to the same records.
    #[test]
    fn all_converge(
        count in 2_usize..12,
        extra in prop::collection::vec((0_usize..12, 0_usize..12), 0..10),
        lose_one_in in 2_u64..20,
        seed in any::<u64>(),
    ) {
        let mut world = World::new(count);
        world.lose_one_in = lose_one_in;
        world.rng = ChaCha8Rng::seed_from_u64(seed);
        for at in 1..count {
            world.link(at / 2, at);
        }
        for (one, other) in extra {
            if one % count != other % count {
                world.link(one % count, other % count);
            }
        }
        world.settle();
        let mut rounds = 0;
        while !world.agrees() {
            rounds += 1;
            prop_assert!(rounds < 200, "no agreement after {} rounds", rounds);
            for node in world.nodes.values_mut() {
                let due = node.next_timeout();
                node.handle_timeout(due.max(1));
            }
            world.settle();
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut world = World::new(2);
        let (from, at) = (world.ids[0], world.ids[1]);
        let node = world.nodes.get_mut(&at).unwrap();
        let _ = node.handle_message(NOW_MS, from, &bytes);
        prop_assert!(node.records().of(&from).is_none());
    }
}
