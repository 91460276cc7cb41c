//! Nodes under a flood of first packets from strangers. Real processes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::discovery::listening;
use crate::harness::{Fabric, Running, eventually};
use crate::joining::{acquainted, founder, joining, members, ticket};

/// Addresses that send; all of 127.0.0.0/8 is this machine.
const SOURCES: u8 = 250;
/// Packets between two pauses.
const BURST: usize = 16;
/// Pause between bursts: 2,000 packets a second, twice what strangers are allowed.
const PAUSE: Duration = Duration::from_millis(8);
/// How often a newcomer may have to come. One packet in two gets through, and each attempt sends
/// six, of which one is enough.
const ATTEMPTS_MAX: usize = 8;

/// Packets that look as if they began handshakes, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(victim: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = Some(std::thread::spawn(move || flood(victim, &told)));
        Self { stop, thread }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn flood(victim: SocketAddr, stop: &AtomicBool) {
    let bind = |source| UdpSocket::bind((Ipv4Addr::new(127, 0, 4, source), 0)).unwrap();
    let sockets: Vec<UdpSocket> = (1..=SOURCES).map(bind).collect();
    // A long header of QUIC 1 with an id of 20 bytes.
    let mut packet = [0; 1_200];
    packet[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 20]);
    packet[26..30].copy_from_slice(&[0, 0, 0x44, 0x92]);
    let mut number = 0_u64;
    for some in sockets.chunks(BURST).cycle() {
        for socket in some {
            number += 1;
            packet[6..14].copy_from_slice(&number.to_le_bytes());
            // What the system drops is lost as on any way.
            let _ = socket.send_to(&packet, victim);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Joins, or says that it could not.
fn try_join(ticket: &str) -> Option<Fabric> {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Running::new(&mut joining(folder.path(), ticket, &[]));
    let log = || fs::read_to_string(folder.path().join("node.log")).unwrap();
    let joined = eventually("the join ends", || {
        let is_up = log().contains("is up");
        (is_up || process.has_ended()).then_some(is_up)
    });
    if !joined {
        println!("{}", log());
    }
    joined.then_some(Fabric { process, folder })
}

#[test]
fn while_strangers_flood_a_member_returns_and_a_ticket_lets_a_newcomer_in() {
    let founder = founder();
    let invited = ticket(&founder);
    let member = crate::joining::join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let flood = Flood::start(listening(&founder).parse().unwrap());
    member.process.signal(Signal::KILL);
    let folder = member.folder;
    drop(member.process);
    let member = Fabric::start_in(folder, &[]);
    acquainted(&founder, &member);
    let newcomer = (0..ATTEMPTS_MAX).find_map(|_| try_join(&invited));
    let newcomer = newcomer.expect("it is let in");
    acquainted(&founder, &newcomer);
    drop(flood);
    assert_eq!(members(&founder).len(), 3);
}
