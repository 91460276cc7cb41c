//! A flood of handshakes that are begun and never ended: what it is granted, and who still gets in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypermesh_stoq::bounds::{
    HANDSHAKE_TIME, HANDSHAKES_MAX, HANDSHAKES_UNPROVEN_MAX, INCOMING_BYTES_TOTAL,
};
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event};
use tokio::net::UdpSocket;

use crate::harness::{Node, PATIENCE, World, ask, id, within};
use crate::raw::Raw;

/// Handshakes that are begun: many times what may be under way.
const HALVES: usize = 2_000;
/// Handshakes that are begun before answers are looked at: what comes must not be lost in buffers.
const AT_ONCE: usize = 16;
/// What one handshake may cost the victim, and with it the half that begins it, which lives in this
/// process, too: twice what it does. Without a bound all halves would take three times the sum.
const HANDSHAKE_BYTES_MAX: u64 = 128 << 10;

/// Clients in one socket that say what they must to be heard, and no more.
struct Flood {
    socket: UdpSocket,
    victim: SocketAddr,
    endpoint: Endpoint,
    halves: HashMap<ConnectionHandle, Half>,
}

struct Half {
    connection: Connection,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Asked to prove the address.
    Retried,
    /// The victim did its part of the handshake.
    Granted,
    Refused,
}

impl Flood {
    async fn new(raw: &Raw) -> Self {
        let config = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(config, None, false, None);
        let halves = (0..HALVES).map(|_| {
            let begun = endpoint.connect(Instant::now(), raw.config.clone(), raw.address, "b.stoq");
            let (handle, connection) = begun.unwrap();
            let state = State::Waiting;
            (handle, Half { connection, state })
        });
        let halves = halves.collect();
        Self {
            socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            victim: raw.address,
            endpoint,
            halves,
        }
    }

    /// Sends what those in `state` have to say now, and hears the answers.
    async fn speak(&mut self, state: State) {
        let those = self.halves.iter().filter(|(_, half)| half.state == state);
        let those: Vec<ConnectionHandle> = those.map(|(handle, _)| *handle).collect();
        for some in those.chunks(AT_ONCE) {
            for handle in some {
                let half = self.halves.get_mut(handle).unwrap();
                let mut packets = Vec::new();
                while let Some(sent) =
                    half.connection
                        .poll_transmit(Instant::now(), 1, &mut packets)
                {
                    let packet = &packets[..sent.size];
                    // What the system drops is lost as on any way.
                    let _ = self.socket.send_to(packet, self.victim).await;
                    packets.clear();
                }
            }
            self.hear(Duration::from_millis(5)).await;
        }
        self.hear(Duration::from_millis(300)).await;
    }

    /// Takes answers until none comes for `pause`.
    async fn hear(&mut self, pause: Duration) {
        let mut packet = vec![0; 65_536];
        while let Ok(heard) = tokio::time::timeout(pause, self.socket.recv(&mut packet)).await {
            let bytes = packet[..heard.unwrap()].into();
            let now = Instant::now();
            let mut answer = Vec::new();
            let event = self
                .endpoint
                .handle(now, self.victim, None, None, bytes, &mut answer);
            let Some(DatagramEvent::ConnectionEvent(handle, event)) = event else {
                continue;
            };
            let is_retry = packet[0] & 0xf0 == 0xf0;
            let half = self.halves.get_mut(&handle).unwrap();
            half.connection.handle_event(event);
            if is_retry && half.state == State::Waiting {
                half.state = State::Retried;
            }
            while let Some(event) = half.connection.poll() {
                half.state = match event {
                    Event::HandshakeDataReady => State::Granted,
                    Event::ConnectionLost { .. } if half.state != State::Granted => State::Refused,
                    _ => half.state,
                };
            }
        }
    }

    fn count(&self, state: State) -> usize {
        let all = self.halves.values();
        all.filter(|half| half.state == state).count()
    }
}

/// Bytes of this process that are in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

/// Dials until it is let in: whoever is refused may come again.
async fn get_in(node: &Node, victim: &Node) -> usize {
    let begun = Instant::now();
    let mut refused = 0;
    while node.endpoint.dial(victim.target()).await.is_err() {
        refused += 1;
        assert!(begun.elapsed() < PATIENCE, "never let in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ask(&node.endpoint.session(&victim.id).unwrap(), b"let in").await;
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_is_bounded_and_others_get_in() {
    let world = Arc::new(World::default());
    let victim = Node::start(&world, 2);
    let [before, during, late] = [3, 4, 5].map(|number| Node::start(&world, number));
    let calm = within(before.endpoint.dial(victim.target())).await.unwrap();
    let raw = Raw::new(world.issue(id(1)), &victim);
    let mut flood = Flood::new(&raw).await;
    let resident = resident_bytes();
    let begun = Instant::now();
    // A place is free again after its time, so slow machines see more granted, never at once.
    let turns = |begun: Instant| {
        let turns = begun.elapsed().as_millis() / HANDSHAKE_TIME.as_millis() + 1;
        usize::try_from(turns).unwrap()
    };

    // Nobody proves an address: most are asked to, and get no place.
    flood.speak(State::Waiting).await;
    let (granted, retried) = (flood.count(State::Granted), flood.count(State::Retried));
    println!("unproven: {granted} granted, {retried} asked to come back");
    assert!(
        granted <= HANDSHAKES_UNPROVEN_MAX * turns(begun),
        "{granted}"
    );
    assert!(granted > 0 && retried > HALVES / 2, "{retried}");
    let refused = get_in(&during, &victim).await;
    println!("a newcomer was refused {refused} times meanwhile");
    ask(&calm, b"unmoved").await;

    // All of them come back with proof: the places are taken, the rest is refused at once.
    flood.speak(State::Retried).await;
    let (granted, refused) = (flood.count(State::Granted), flood.count(State::Refused));
    println!("proven: {granted} granted, {refused} refused");
    assert!(granted <= HANDSHAKES_MAX * turns(begun), "{granted}");
    assert!(
        granted > HANDSHAKES_UNPROVEN_MAX && refused > 0,
        "{refused}"
    );
    let grown = resident_bytes().saturating_sub(resident);
    println!("{grown} bytes more in memory");
    let most = INCOMING_BYTES_TOTAL + HANDSHAKES_MAX as u64 * HANDSHAKE_BYTES_MAX;
    assert!(grown < most * turns(begun) as u64, "{grown} of {most}");
    ask(&calm, b"unmoved").await;
    let refused = get_in(&late, &victim).await;
    println!("the last newcomer was refused {refused} times");
    assert_eq!(victim.endpoint.sessions().len(), 3);
}
