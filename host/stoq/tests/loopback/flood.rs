//! Floods of handshakes that are begun and never ended, from a few addresses that prove themselves
//! and from many that do not: what they are granted, and who still gets in.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypermesh_stoq::bounds::{
    FIRSTS_OF_STRANGERS, HANDSHAKE_TIME, HANDSHAKES_MAX, HANDSHAKES_OF_KNOWN,
    HANDSHAKES_UNPROVEN_MAX, INCOMING_BYTES_TOTAL,
};
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event};
use tokio::net::UdpSocket;

use crate::harness::{Node, World, ask, id, until, within};
use crate::raw::Raw;

/// Addresses that handshakes are begun from; 127.0.0.0/8 is all of this machine.
const SOURCES: u8 = 8;
/// Handshakes that are begun from each: of all together many times what may be under way.
const HALVES: usize = 250;
/// Addresses that send without end, as if they were forged.
const FORGED: u8 = 250;
/// How often somebody may have to come again while they do. A client hello is two packets, and is
/// sent three times per attempt: one packet in four that gets through would let nine attempts of
/// ten succeed.
const ATTEMPTS_MAX: usize = 20;
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
    async fn new(raw: &Raw, source: u8) -> Self {
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
            socket: UdpSocket::bind((Ipv4Addr::new(127, 0, 2, source), 0))
                .await
                .unwrap(),
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
    let mut refused = 0;
    while node.endpoint.dial(victim.target()).await.is_err() {
        refused += 1;
        assert!(refused < ATTEMPTS_MAX, "never let in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ask(&node.endpoint.session(&victim.id).unwrap(), b"let in").await;
    refused
}

/// What all strangers together may have been granted since `begun`.
fn firsts_max(begun: Instant) -> u64 {
    let seconds = begun.elapsed().as_secs() + 1;
    u64::from(FIRSTS_OF_STRANGERS.burst) + u64::from(FIRSTS_OF_STRANGERS.per_second) * seconds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_is_bounded_and_others_get_in() {
    let world = Arc::new(World::default());
    let begun = Instant::now();
    let victim = Node::start(&world, 2);
    let [before, during, late] = [3, 4, 5].map(|number| Node::start(&world, number));
    let calm = within(before.endpoint.dial(victim.target())).await.unwrap();
    let raw = Raw::new(world.issue(id(1)), &victim);
    let mut floods = Vec::new();
    for source in 1..=SOURCES {
        floods.push(Flood::new(&raw, source).await);
    }
    let resident = resident_bytes();
    // A place is free again after its time, so slow machines see more granted, never at once.
    let turns = |begun: Instant| {
        let turns = begun.elapsed().as_millis() / HANDSHAKE_TIME.as_millis() + 1;
        usize::try_from(turns).unwrap()
    };
    let count = |floods: &[Flood], state| floods.iter().map(|flood| flood.count(state)).sum();

    // Nobody proves an address: few get a place, some are asked to, the rest is not heard.
    for flood in &mut floods {
        flood.speak(State::Waiting).await;
    }
    let (granted, retried): (usize, usize) = (
        count(&floods, State::Granted),
        count(&floods, State::Retried),
    );
    let firsts = victim.endpoint.first_packets();
    println!("unproven: {granted} granted, {retried} asked to come back, {firsts:?}");
    assert!(
        granted <= HANDSHAKES_UNPROVEN_MAX * turns(begun),
        "{granted}"
    );
    assert!(granted > 0 && retried > HANDSHAKES_MAX, "{retried}");
    let refused = get_in(&during, &victim).await;
    println!("a newcomer was refused {refused} times meanwhile");
    ask(&calm, b"unmoved").await;

    // All of them come back with proof: the places are taken, the rest is refused at once.
    for flood in &mut floods {
        flood.speak(State::Retried).await;
    }
    let (granted, refused): (usize, usize) = (
        count(&floods, State::Granted),
        count(&floods, State::Refused),
    );
    println!("proven: {granted} granted, {refused} refused");
    let most = HANDSHAKES_MAX - HANDSHAKES_OF_KNOWN;
    assert!(granted <= most * turns(begun), "{granted}");
    assert!(
        granted > HANDSHAKES_UNPROVEN_MAX && refused > 0,
        "{refused}"
    );
    let grown = resident_bytes().saturating_sub(resident);
    println!("{grown} bytes more in memory");
    let most = INCOMING_BYTES_TOTAL + HANDSHAKES_MAX as u64 * HANDSHAKE_BYTES_MAX;
    assert!(grown < most * turns(begun) as u64, "{grown} of {most}");
    ask(&calm, b"unmoved").await;
    // The places of strangers may all be taken: a peer that had a session does not need one.
    calm.close("on leave");
    let refused = get_in(&before, &victim).await;
    println!("who was here before was refused {refused} times");
    let refused = get_in(&late, &victim).await;
    println!("the last newcomer was refused {refused} times");
    assert_eq!(victim.endpoint.sessions().len(), 3);
}

/// Sends what looks like first packets of handshakes from many addresses until told to stop.
fn forge(victim: SocketAddr, stop: &AtomicBool) -> u64 {
    let sockets = (1..=FORGED)
        .map(|source| std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, 3, source), 0)).unwrap());
    let sockets: Vec<_> = sockets.collect();
    let mut sent = 0_u64;
    let mut packet = [0; 1_200];
    // A long header of QUIC 1 with an id of 20 bytes; to tell that the rest is nothing takes keys.
    packet[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 20]);
    packet[26..30].copy_from_slice(&[0, 0, 0x44, 0x92]);
    for some in sockets.chunks(AT_ONCE).cycle() {
        for socket in some {
            packet[6..14].copy_from_slice(&sent.to_le_bytes());
            // What the system drops is lost as on any way.
            sent += u64::from(socket.send_to(&packet, victim).is_ok());
        }
        if stop.load(Ordering::Relaxed) {
            return sent;
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_forged_addresses_flood_members_return_and_newcomers_get_in() {
    let world = Arc::new(World::default());
    let begun = Instant::now();
    let victim = Node::start(&world, 2);
    let [member, newcomer] = [3, 4].map(|number| Node::start(&world, number));
    let session = within(member.endpoint.dial(victim.target())).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (told, address) = (stop.clone(), victim.address());
    let flood = tokio::task::spawn_blocking(move || forge(address, &told));
    // The burst that strangers are allowed is spent before anybody comes.
    let most = u64::from(FIRSTS_OF_STRANGERS.burst);
    until("it is too much", || {
        victim.endpoint.first_packets().lost > most
    })
    .await;

    ask(&session, b"unmoved").await;
    session.close("on leave");
    let refused = get_in(&member, &victim).await;
    println!("the member was refused {refused} times");
    let refused = get_in(&newcomer, &victim).await;
    println!("the newcomer was refused {refused} times");

    stop.store(true, Ordering::Relaxed);
    let sent = flood.await.unwrap();
    let firsts = victim.endpoint.first_packets();
    println!("{sent} sent, {firsts:?}");
    // Their own packets count as well: some dozens per attempt.
    let own = (ATTEMPTS_MAX as u64) * 2 * 32;
    assert!(firsts.taken <= firsts_max(begun) + own, "{firsts:?}");
    assert!(firsts.lost > most);
}
