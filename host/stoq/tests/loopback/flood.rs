//! Handshakes that are begun by the hundred and never ended, from one address that may be forged.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypermesh_stoq::bounds::{HANDSHAKE_TIME, HANDSHAKES_UNPROVEN_MAX};

use crate::harness::{Node, World, ask, id, within};
use crate::raw::Raw;

/// Handshakes that are begun: more than there are places for, proven or not.
const INITIALS: usize = 400;
/// The longest packet that either end sends.
const PACKET_BYTES_MAX: usize = 2_048;

/// What a long header of QUIC version 1 says (RFC 9000, 17.2).
enum Packet {
    Retry,
    /// Of a handshake that the other end has begun; with the id that it chose for itself.
    Handshake(Vec<u8>),
    Other,
}

fn packet(bytes: &[u8]) -> Packet {
    if bytes[0] & 0x80 == 0 {
        return Packet::Other;
    }
    match (bytes[0] >> 4) & 0b11 {
        0b11 => Packet::Retry,
        0b00 | 0b10 => {
            let destination = usize::from(bytes[5]);
            let source = usize::from(bytes[6 + destination]);
            let from = 7 + destination;
            Packet::Handshake(bytes[from..from + source].to_vec())
        }
        _ => Packet::Other,
    }
}

/// Sends the first packets of `INITIALS` handshakes, each with a client hello of its own, from one
/// socket that reads what comes back and answers none of it. Returns the ids of the handshakes that
/// the other end began, and the number of its demands for proof of the address.
fn flood(raw: &Raw, sink: &UdpSocket, node: &Node) -> (HashSet<Vec<u8>>, usize) {
    sink.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let (mut begun, mut retries, mut sent) = (HashSet::new(), 0, HashSet::new());
    let mut buffer = [0; PACKET_BYTES_MAX];
    let mut connecting = Vec::new();
    let deadline = Instant::now() + crate::harness::PATIENCE;
    while sent.len() < INITIALS && Instant::now() < deadline {
        connecting.push(raw.connecting());
        // Hellos on their way out, answers on their way in; silence for a moment ends the round.
        while let Ok((bytes, from)) = sink.recv_from(&mut buffer) {
            let bytes = &buffer[..bytes];
            if from == node.address() {
                match packet(bytes) {
                    Packet::Retry => retries += 1,
                    Packet::Handshake(source) => drop(begun.insert(source)),
                    Packet::Other => {}
                }
            } else if sent.len() < INITIALS {
                sent.insert(bytes[6..6 + usize::from(bytes[5])].to_vec());
                sink.send_to(bytes, node.address()).unwrap();
            }
        }
    }
    assert_eq!(sent.len(), INITIALS, "the flood was not sent in time");
    (begun, retries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn handshakes_that_never_end_hold_few_places_and_an_honest_peer_gets_in() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let raw = Raw::at(world.issue(id(3)), sink.local_addr().unwrap());
    let start = Instant::now();
    let (target, b) = (b.target(), Arc::new(b));
    let flooded = Arc::clone(&b);
    let runtime = tokio::runtime::Handle::current();
    let flooding = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        flood(&raw, &sink, &flooded)
    });
    // Places are held for HANDSHAKE_TIME, so these dials meet a full house.
    let mut honest = 0;
    while honest < 3 || !flooding.is_finished() {
        let session = within(a.endpoint.dial(target.clone())).await.unwrap();
        ask(&session, b"beside a flood").await;
        session.close("again");
        within(session.ended()).await;
        honest += 1;
    }
    let (begun, retries) = flooding.await.unwrap();
    // A place is free again after HANDSHAKE_TIME, and never sooner for these. One more: the honest
    // peer's own may be under way.
    let rounds = usize::try_from(start.elapsed().as_secs() / HANDSHAKE_TIME.as_secs()).unwrap() + 1;
    let places = (HANDSHAKES_UNPROVEN_MAX + 1) * rounds;
    assert!(
        !begun.is_empty() && begun.len() <= places,
        "{} began in {places} places",
        begun.len()
    );
    assert!(retries > 0, "nobody had to prove its address");
}
