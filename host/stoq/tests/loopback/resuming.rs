//! Tickets: requests that travel with the first packets, and why that is safe.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hypermesh_stoq::{
    Answer, AskError, CertificateDer, DialError, InboundStream, Occasion, OpenOptions, Peer,
    PeerAuthority, PeerRefusal, Question, Service, Target,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::harness::{Node, PATIENCE, REVOKED, World, id, until, within};
use crate::relay::Relay;

const IDEMPOTENT: OpenOptions = OpenOptions {
    version: 1,
    deadline: None,
    trace: None,
    idempotent: true,
};

fn question(options: OpenOptions) -> Question<'static> {
    Question {
        service: Service::Control,
        options,
        request: b"count me",
        answer_bytes_max: 100,
    }
}

/// Answers on `control` and counts: the effect that a replay must not have.
fn counting(node: &mut Node) -> Arc<AtomicUsize> {
    let counter = Arc::new(AtomicUsize::new(0));
    let (_, unused) = mpsc::channel(1);
    let streams = std::mem::replace(&mut node.control, unused);
    tokio::spawn(count(streams, counter.clone()));
    counter
}

async fn count(mut streams: mpsc::Receiver<InboundStream>, counter: Arc<AtomicUsize>) {
    while let Some(mut stream) = streams.recv().await {
        if stream.recv.read_to_end(100).await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
            stream.send.write_all(b"counted").await.unwrap();
            stream.send.finish().await.unwrap();
        }
    }
}

/// A session that leaves tickets behind, and its end.
async fn warm(a: &Node, b: &Node, target: &Target) {
    let session = within(a.endpoint.dial(target.clone())).await.unwrap();
    crate::harness::ask(&session, b"tickets come with the first bytes").await;
    session.close("warmed up");
    until("it has ended", || {
        a.endpoint.sessions().is_empty() && b.endpoint.sessions().is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_idempotent_request_travels_with_the_first_packets() {
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    let counter = counting(&mut b);
    // Without a ticket, and with one.
    let ask = || within(a.endpoint.ask(b.target(), question(IDEMPOTENT)));
    let answer = |was_early| Answer {
        bytes: b"counted".to_vec(),
        was_early,
    };
    assert_eq!(ask().await.unwrap(), answer(false));
    // Within a session, early makes no sense.
    assert_eq!(ask().await.unwrap(), answer(false));
    a.endpoint.session(&b.id).unwrap().close("once more");
    until("gone", || {
        a.endpoint.sessions().is_empty() && b.endpoint.sessions().is_empty()
    })
    .await;
    assert_eq!(ask().await.unwrap(), answer(true));
    assert_eq!(counter.load(Ordering::SeqCst), 3);
    // The connection becomes a session like any other.
    until("a session", || a.endpoint.session(&b.id).is_some()).await;
    until("at both ends", || b.endpoint.session(&a.id).is_some()).await;
    crate::harness::ask(&b.endpoint.session(&a.id).unwrap(), b"back").await;
}

#[tokio::test]
async fn other_requests_wait_for_the_handshake() {
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    let counter = counting(&mut b);
    warm(&a, &b, &b.target()).await;
    let asked = within(a.endpoint.ask(b.target(), question(OpenOptions::default()))).await;
    assert!(!asked.unwrap().was_early);
    assert_eq!(counter.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn replayed_first_packets_have_no_second_effect() {
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    let counter = counting(&mut b);
    let relay = Relay::start(b.address(), Duration::ZERO).await;
    let target = Target {
        node: Some(b.id),
        addresses: vec![relay.address],
    };
    warm(&a, &b, &target).await;
    relay.sent.lock().unwrap().clear();
    let asked = within(a.endpoint.ask(target, question(IDEMPOTENT)))
        .await
        .unwrap();
    assert!(asked.was_early);
    assert_eq!(counter.load(Ordering::SeqCst), 1);

    // All that the client sent, again, from elsewhere: as it was, while the session lives and
    // after it has ended.
    let captured = relay.sent.lock().unwrap().clone();
    assert!(!captured.is_empty());
    for ended in [false, true] {
        if ended {
            until("a session", || a.endpoint.session(&b.id).is_some()).await;
            a.endpoint.session(&b.id).unwrap().close("over");
            until("gone", || b.endpoint.sessions().is_empty()).await;
        }
        replay(&captured, b.address(), ended).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(counter.load(Ordering::SeqCst), 1, "ended: {ended}");
    }
    assert!(b.endpoint.sessions().is_empty());
}

/// Sends `packets` from another address; if `answered`, until the server answers, which it does
/// when it has forgotten the connection that they were of.
async fn replay(packets: &[Vec<u8>], server: SocketAddr, answered: bool) {
    let attacker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let started = tokio::time::Instant::now();
    loop {
        for packet in packets {
            attacker.send_to(packet, server).await.unwrap();
        }
        let mut answer = [0; 2_048];
        let heard = attacker.recv_from(&mut answer);
        if !answered
            || tokio::time::timeout(Duration::from_millis(200), heard)
                .await
                .is_ok()
        {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the server never answers");
    }
}

/// Counts how often it is asked within handshakes that come in.
struct Counting(Arc<World>, AtomicUsize);

impl PeerAuthority for Counting {
    fn judge(&self, chain: &[CertificateDer<'_>], occasion: Occasion) -> Result<Peer, PeerRefusal> {
        if occasion == Occasion::Accepted {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        self.0.judge(chain, occasion)
    }
}

#[tokio::test]
async fn a_resumed_handshake_of_a_revoked_peer_is_refused() {
    let world = Arc::new(World::default());
    let a = Node::start(&world, 1);
    let counting_world = Arc::new(Counting(world.clone(), AtomicUsize::new(0)));
    let mut b = Node::with(counting_world.clone(), 2, world.issue(id(2)));
    let counter = counting(&mut b);
    warm(&a, &b, &b.target()).await;
    let before = counting_world.1.load(Ordering::SeqCst);
    world.revoke(a.id);
    // b has not been told to recheck: its tickets are still good for TLS.
    let error = within(a.endpoint.ask(b.target(), question(IDEMPOTENT)))
        .await
        .unwrap_err();
    let AskError::Dial(DialError::RefusedByPeer { code, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(code, REVOKED);
    assert_eq!(counter.load(Ordering::SeqCst), 0);
    // Once for the ticket, once for the full handshake that a refused ticket leads to.
    assert_eq!(counting_world.1.load(Ordering::SeqCst) - before, 2);
}

#[tokio::test]
async fn a_recheck_makes_all_tickets_worthless() {
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    let counter = counting(&mut b);
    warm(&a, &b, &b.target()).await;
    assert_eq!(b.endpoint.recheck(), 0);
    let asked = within(a.endpoint.ask(b.target(), question(IDEMPOTENT)))
        .await
        .unwrap();
    assert!(!asked.was_early);
    assert_eq!(counter.load(Ordering::SeqCst), 1);
}
