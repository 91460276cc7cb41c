//! The plan of a fetch against simulated peers that are honest, slow, silent, gone, lying or lacking
//! parts, in simulated time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use hypermesh_transfer::{PeerFailure, Start};
use proptest::collection::vec;
use proptest::prelude::*;
use storage::{GROUP_BYTES, GroupSet, group_count};

use crate::world::{HONEST, Peer, Turn, World, id, pace};

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
    let mut world = self::world(100_000, vec![late, HONEST]);
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
    #![proptest_config(ProptestConfig::with_cases(100))]

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
