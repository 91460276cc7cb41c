//! What members tell each other about where they are and who lives, and what relays are told.

use std::collections::BTreeSet;

use discovery::{AddressRecord, Exchange, SignedRecord, Swim};
use stoq::proto::{PREFIX_BYTES, RELAY_FRAME_BYTES_MAX, RelayFrame, Tag, decode, encode};
use trust::SecretKey;
use types::{FabricId, NodeId};

use crate::Target;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "discovery_record",
        covers: &["SignedRecord::decode"],
        run: record,
        seeds: || vec![signed().encode()],
    },
    Target {
        name: "discovery_exchange",
        covers: &["Exchange::handle_message"],
        run: exchange,
        seeds: exchanges,
    },
    Target {
        name: "discovery_swim",
        covers: &["Swim::handle_datagram"],
        run: swim,
        seeds: swims,
    },
    Target {
        name: "stoq_relay",
        covers: &["stoq::decode", "Tag::split"],
        run: relay,
        seeds: relays,
    },
];

const FABRIC: FabricId = FabricId::from_bytes([5; 32]);
/// 2027.
const NOW_MS: u64 = 1_800_000_000_000;

fn key() -> SecretKey {
    SecretKey::from_seed(&[3; 32])
}

fn members() -> BTreeSet<NodeId> {
    [key().public(), NodeId::from_bytes([7; 32])].into()
}

fn signed() -> SignedRecord {
    let record = AddressRecord {
        fabric: FABRIC,
        node: key().public(),
        sequence: NOW_MS,
        expires_at_ms: NOW_MS + 1_000,
        addresses: vec![([203, 0, 113, 7], 7400).into()],
        relays: vec![NodeId::from_bytes([7; 32])],
    };
    record.sign(&key()).expect("a record within its rules")
}

fn record(bytes: &[u8]) {
    if let Ok(signed) = SignedRecord::decode(&FABRIC, bytes) {
        assert_eq!(signed.encode(), bytes);
    }
}

/// An exchange of a member that knows one record and has one peer.
fn one_exchange() -> Exchange {
    let mut exchange = Exchange::new(FABRIC, key().public(), [1; 32]);
    exchange.set_members(NOW_MS, members());
    exchange
        .publish(NOW_MS, signed())
        .expect("a member's own record");
    exchange.peer_up(NodeId::from_bytes([7; 32]));
    exchange
}

fn exchange(bytes: &[u8]) {
    let mut exchange = one_exchange();
    let peer = NodeId::from_bytes([7; 32]);
    // Any outcome is one: it only must not panic.
    let _ = exchange.handle_message(NOW_MS, peer, bytes);
    while exchange.poll_sending().is_some() {}
}

fn exchanges() -> Vec<Vec<u8>> {
    let mut exchange = one_exchange();
    let sendings = std::iter::from_fn(|| exchange.poll_sending());
    sendings.map(|sending| sending.message).collect()
}

/// A member that has greeted another.
fn one_swim() -> Swim {
    let mut swim = Swim::new(key().public(), NOW_MS, [1; 32]);
    swim.set_members(0, members());
    swim.greet(1, NodeId::from_bytes([7; 32]));
    swim
}

fn swim(datagram: &[u8]) {
    let mut swim = one_swim();
    swim.handle_datagram(2, NodeId::from_bytes([7; 32]), datagram);
    swim.handle_timeout(10_000);
    while swim.poll_effect().is_some() {}
}

fn swims() -> Vec<Vec<u8>> {
    let other = NodeId::from_bytes([7; 32]);
    let mut swim = Swim::new(other, NOW_MS, [2; 32]);
    swim.set_members(0, members());
    swim.greet(1, key().public());
    let effects = std::iter::from_fn(|| swim.poll_effect());
    let datagrams = effects.filter_map(|effect| match effect {
        discovery::Effect::Send { datagram, .. } => Some(datagram.to_vec()),
        _ => None,
    });
    datagrams.collect()
}

fn relay(bytes: &[u8]) {
    let _ = Tag::split(bytes);
    if let Ok(frame) = decode::<RelayFrame>(bytes) {
        let again = encode(&frame, RELAY_FRAME_BYTES_MAX).expect("a frame within its bound");
        assert_eq!(again.get(PREFIX_BYTES..), Some(bytes), "{frame:?}");
    }
}

fn relays() -> Vec<Vec<u8>> {
    let target = NodeId::from_bytes([7; 32]);
    let frames = [
        RelayFrame::Reach { leg: 1, target },
        RelayFrame::Carry {
            leg: 300,
            source: target,
        },
        RelayFrame::Ready,
    ];
    let encoded = frames.iter().filter_map(|frame| {
        let frame = encode(frame, RELAY_FRAME_BYTES_MAX).ok()?;
        frame.get(PREFIX_BYTES..).map(<[u8]>::to_vec)
    });
    encoded.collect()
}
