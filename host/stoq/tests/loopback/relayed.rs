//! Sessions that a third node carries: what they can do, what the relay sees, and how they end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypermesh_stoq::proto::{
    PREFIX_BYTES, RELAY_FRAME_BYTES_MAX, RELAY_VERSION, RelayFrame, Tag, decode, encode,
};
use hypermesh_stoq::{
    Config, DialError, Endpoint, InboundDatagram, InboundStream, OpenOptions, RecvStream,
    SendStream, Service, Session, SessionEvent, Target, bounds,
};
use tokio::sync::mpsc;
use types::NodeId;

use crate::harness::{Node, World, ask, id, until, within};
use crate::relay::Relay;

/// Two nodes that know no address of each other, both connected to a third.
struct Trio {
    world: Arc<World>,
    relay: Node,
    one: Node,
    other: Node,
}

impl Trio {
    async fn start() -> Self {
        let world = Arc::new(World::default());
        let nodes = [1, 2, 3].map(|number| Node::start(&world, number));
        let [relay, one, other] = nodes;
        within(one.endpoint.dial(relay.target())).await.unwrap();
        within(other.endpoint.dial(relay.target())).await.unwrap();
        until("the relay has both", || {
            relay.endpoint.sessions().len() == 2
        })
        .await;
        Self {
            world,
            relay,
            one,
            other,
        }
    }
}

/// A node without its addresses.
fn nowhere(node: NodeId) -> Target {
    Target {
        node: Some(node),
        addresses: Vec::new(),
    }
}

/// Sends `bytes` to the echo and hears them again.
async fn echo(session: &Session, bytes: &[u8]) {
    let opened = session.open(Service::Invoke, OpenOptions::default()).await;
    let (mut send, mut recv) = opened.unwrap();
    let writes = async {
        send.write_all(bytes).await.unwrap();
        send.finish().await.unwrap();
    };
    let reads = recv.read_to_end(bytes.len());
    let ((), heard) = within(async { tokio::join!(writes, reads) }).await;
    assert!(heard.unwrap() == bytes);
}

#[tokio::test]
async fn a_relayed_session_serves_both_ends() {
    let mut trio = Trio::start().await;
    let (one, relay) = (trio.one.endpoint.clone(), trio.relay.endpoint.clone());
    let session = within(one.dial(nowhere(trio.other.id))).await.unwrap();
    assert_eq!(session.peer_id(), trio.other.id);
    assert!(session.is_relayed());
    assert_eq!(session.info().via, Some(trio.relay.id));
    assert_eq!(session.info().remote, trio.relay.address());
    ask(&session, b"there").await;
    let back = trio.other.endpoint.session(&trio.one.id).unwrap();
    assert_eq!(back.info().via, Some(trio.relay.id));
    ask(&back, b"and back").await;
    let bytes: Vec<u8> = (0_u32..2_000_000).map(|n| n.to_le_bytes()[0]).collect();
    echo(&session, &bytes).await;
    let bytes_max = session.datagram_bytes_max();
    assert!((1_000..1_200).contains(&bytes_max), "{bytes_max}");
    session.send_datagram(Service::Gossip, b"news").unwrap();
    let datagram = within(trio.other.gossip.recv()).await.unwrap();
    assert_eq!(&*datagram.payload, b"news");
    assert_eq!(datagram.session.peer_id(), trio.one.id);
    let relayed = relay.relayed();
    assert_eq!(relayed.pairs, 1);
    assert!(relayed.packets > 3_000, "{relayed:?}");
    // Nothing of it is left when it ends.
    session.close("done");
    until("the relay forgets the pair", || relay.relayed().pairs == 0).await;
    assert_eq!(relay.sessions().len(), 2);
    // The legs were theirs, the sessions with the relay go on.
    ask(&one.session(&trio.relay.id).unwrap(), b"still here").await;
    let again = within(one.dial(nowhere(trio.other.id))).await.unwrap();
    ask(&again, b"again").await;
}

#[tokio::test]
async fn a_relay_refuses_whom_it_cannot_reach_and_says_so() {
    let trio = Trio::start().await;
    let error = within(trio.one.endpoint.dial(nowhere(id(9))))
        .await
        .unwrap_err();
    let DialError::Unreachable { attempts, relays } = &error else {
        panic!("{error}");
    };
    assert!(attempts.is_empty());
    assert_eq!(relays.len(), 1);
    assert_eq!(relays[0].relay, trio.relay.id);
    assert!(error.to_string().contains("no session"), "{error}");
    assert_eq!(trio.relay.endpoint.relayed().pairs, 0);
}

#[tokio::test]
async fn what_is_relayed_is_not_relayed_further() {
    let trio = Trio::start().await;
    // A fourth, which only one of the two knows.
    let fourth = Node::start(&trio.world, 4);
    within(fourth.endpoint.dial(trio.other.target()))
        .await
        .unwrap();
    let (one, other) = (&trio.one.endpoint, trio.other.id);
    let session = within(one.dial(nowhere(other))).await.unwrap();
    assert!(session.is_relayed());
    let error = within(one.dial(nowhere(fourth.id))).await.unwrap_err();
    let DialError::Unreachable { relays, .. } = &error else {
        panic!("{error}");
    };
    let asked: Vec<_> = relays.iter().map(|failed| failed.relay).collect();
    assert_eq!(asked, [trio.relay.id], "a relayed session is no way on");
    // Nor does the other end do it for one who asks regardless.
    let opened = session.open(Service::Relay, OpenOptions::default()).await;
    let (mut send, mut recv) = opened.unwrap();
    let (leg, target) = (1, fourth.id);
    say(&mut send, &RelayFrame::Reach { leg, target }).await;
    let answer = within(hear(&mut recv)).await;
    assert!(matches!(answer, Some(RelayFrame::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn the_death_of_the_relay_ends_what_it_carried_and_another_takes_over() {
    let trio = Trio::start().await;
    let second = Node::start(&trio.world, 5);
    let mut kept = trio.one.endpoint.maintain(nowhere(trio.other.id));
    let session = within(kept.up()).await.unwrap();
    assert_eq!(session.info().via, Some(trio.relay.id));
    for node in [&trio.one, &trio.other] {
        within(node.endpoint.dial(second.target())).await.unwrap();
    }
    let mut news = trio.other.endpoint.events();
    within(trio.relay.endpoint.close("stops")).await;
    loop {
        match within(news.recv()).await.unwrap() {
            SessionEvent::Down { peer, reason } if peer == trio.one.id => {
                assert!(reason.to_string().contains("relay"), "{reason}");
                break;
            }
            _ => {}
        }
    }
    until("the second relay carries", || {
        kept.session()
            .is_some_and(|session| session.info().via == Some(second.id))
    })
    .await;
    ask(&kept.session().unwrap(), b"through the second").await;
}

#[tokio::test]
async fn a_direct_session_takes_the_place_of_a_relayed_one() {
    let trio = Trio::start().await;
    let one = &trio.one.endpoint;
    let relayed = within(one.dial(nowhere(trio.other.id))).await.unwrap();
    assert!(relayed.is_relayed());
    // A session is there, so a dial finds it; whoever dials without asking makes a second one.
    let again = within(one.dial(trio.other.target())).await.unwrap();
    assert!(again.is_relayed());
    let anyone = Target {
        node: None,
        addresses: vec![trio.other.address()],
    };
    within(one.dial(anyone)).await.unwrap();
    until("both ends have the direct one", || {
        let is_direct = |endpoint: &Endpoint, peer| {
            let session = endpoint.session(peer);
            session.is_some_and(|session| !session.is_relayed())
        };
        is_direct(one, &trio.other.id) && is_direct(&trio.other.endpoint, &trio.one.id)
    })
    .await;
    // Handles of the relayed one go on with it.
    assert!(!relayed.is_relayed());
    ask(&relayed, b"directly").await;
    until("the relay is not used any more", || {
        trio.relay.endpoint.relayed().pairs == 0
    })
    .await;
}

#[tokio::test]
async fn a_kept_session_leaves_the_relay_when_an_address_answers() {
    let trio = Trio::start().await;
    let switch = Relay::start(trio.other.address(), Duration::ZERO).await;
    let target = Target {
        node: Some(trio.other.id),
        addresses: vec![switch.address],
    };
    switch.cut(true);
    let mut kept = trio.one.endpoint.maintain(target);
    let session = within(kept.up()).await.unwrap();
    assert!(session.is_relayed());
    ask(&session, b"around").await;
    switch.cut(false);
    until("the session is direct", || !session.is_relayed()).await;
    ask(&session, b"and now straight").await;
    assert_eq!(session.info().via, None);
    let back = trio.other.endpoint.session(&trio.one.id).unwrap();
    ask(&back, b"both ways").await;
}

#[tokio::test]
async fn a_silent_address_is_helped_by_a_relay() {
    let trio = Trio::start().await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = Target {
        node: Some(trio.other.id),
        addresses: vec![silent.local_addr().unwrap()],
    };
    let session = within(trio.one.endpoint.dial(target)).await.unwrap();
    assert!(session.is_relayed());
    ask(&session, b"around").await;
}

#[tokio::test]
async fn a_path_of_1280_bytes_carries_a_relayed_session_on_streams() {
    let world = Arc::new(World::default());
    let nodes = [1, 2, 3].map(|number| Node::start(&world, number));
    let [relay, one, other] = nodes;
    // What IPv6 leaves of 1,280 bytes for UDP.
    let narrow = Relay::narrow(relay.address(), 1_232).await;
    let target = Target {
        node: Some(relay.id),
        addresses: vec![narrow.address],
    };
    within(one.endpoint.dial(target)).await.unwrap();
    within(other.endpoint.dial(relay.target())).await.unwrap();
    let session = within(one.endpoint.dial(nowhere(other.id))).await.unwrap();
    let bytes: Vec<u8> = (0_u32..400_000).map(|n| n.to_le_bytes()[0]).collect();
    echo(&session, &bytes).await;
    // All of one's packets of full size, and those for it.
    let on_streams = one.endpoint.relayed().packets_on_streams;
    assert!(on_streams > 300, "{on_streams}");
    assert!(relay.endpoint.relayed().packets_on_streams > 300);
    let carrier = one.endpoint.session(&relay.id).unwrap().info();
    assert!(carrier.mtu_bytes <= 1_232, "{}", carrier.mtu_bytes);
}

#[tokio::test]
async fn a_peer_that_may_not_relay_is_refused() {
    let world = Arc::new(World::default());
    let nodes = [1, 2, 3].map(|number| Node::start(&world, number));
    let [relay, one, other] = nodes;
    world.restrict(one.id, [Service::Invoke, Service::Control]);
    within(one.endpoint.dial(relay.target())).await.unwrap();
    within(other.endpoint.dial(relay.target())).await.unwrap();
    let refused = |error: DialError, words: &str| {
        assert!(error.to_string().contains(words), "{error}");
    };
    let dialled = within(one.endpoint.dial(nowhere(other.id))).await;
    refused(dialled.unwrap_err(), "may not open relay");
    // And nobody is relayed to it.
    let dialled = within(other.endpoint.dial(nowhere(one.id))).await;
    refused(dialled.unwrap_err(), "no session");
    assert_eq!(relay.endpoint.relayed(), Default::default());
}

#[tokio::test]
async fn a_peer_that_loses_the_right_is_not_relayed_any_more() {
    let trio = Trio::start().await;
    let relay = &trio.relay.endpoint;
    let dialled = trio.one.endpoint.dial(nowhere(trio.other.id));
    let session = within(dialled).await.unwrap();
    assert_eq!(relay.relayed().pairs, 1);
    trio.world.restrict(trio.other.id, [Service::Invoke]);
    assert_eq!(relay.recheck(), 0, "its session goes on");
    until("the relay stops", || relay.relayed().pairs == 0).await;
    until("the relayed session ends", || !session.is_live()).await;
    ask(&relay.session(&trio.other.id).unwrap(), b"still here").await;
}

#[tokio::test]
async fn a_flood_through_a_relay_is_lost_there_and_not_kept() {
    /// Far less than the flood, far more than the questions.
    const CAP: u64 = 100_000;
    let trio = Trio::start().await;
    let relay = &trio.relay.endpoint;
    relay.set_cap(trio.other.id, Some(CAP));
    let mut flooder = Flooder::reach(&trio, 1).await;
    let packet = [0; bounds::RELAYED_PACKET_BYTES_MAX];
    // Four times what may wait, and as noise at that: no connection slows it down.
    let packets = 4 * bounds::RELAYED_BYTES_WAITING_MAX / packet.len();
    for _ in 0..packets {
        let mut framed = 1_200_u16.to_le_bytes().to_vec();
        framed.extend_from_slice(&packet);
        flooder.send.write_all(&framed).await.unwrap();
    }
    until("all of it has come to the relay", || {
        relay.relayed().packets >= packets as u64
    })
    .await;
    // What did not fit was lost at once: nothing of it waits to be sent later.
    let lost = relay.relayed().packets_lost;
    assert!(lost > packets as u64 / 2, "{lost} of {packets}");
    // The session that it went through is as good as before, and so is everything else.
    let other = relay.session(&trio.other.id).unwrap();
    ask(&other, b"unmoved").await;
    // A packet that is too long is no packet: the leg ends.
    flooder
        .send
        .write_all(&2_000_u16.to_le_bytes())
        .await
        .unwrap();
    until("the leg ends", || relay.relayed().pairs == 0).await;
    ask(&other, b"still").await;
}

#[tokio::test]
async fn one_peer_has_so_many_legs_and_no_more() {
    let trio = Trio::start().await;
    let relay = &trio.relay.endpoint;
    let bound = hypermesh_stoq::proto::streams_max(Service::Relay);
    let mut held = Vec::new();
    for leg in 0..bound {
        held.push(Flooder::reach(&trio, leg).await);
    }
    assert_eq!(relay.relayed().pairs, bound as usize);
    let session = trio.one.endpoint.session(&trio.relay.id).unwrap();
    let opened = session.open(Service::Relay, OpenOptions::default()).await;
    let (mut send, mut recv) = opened.unwrap();
    let target = trio.other.id;
    say(&mut send, &RelayFrame::Reach { leg: bound, target }).await;
    let error = within(recv.accepted()).await.unwrap_err();
    assert!(error.to_string().contains("too many streams"), "{error}");
    drop(held);
    until("all are forgotten", || relay.relayed().pairs == 0).await;
}

/// One that opens a leg and then sends what it likes.
struct Flooder {
    send: SendStream,
    _recv: RecvStream,
}

impl Flooder {
    async fn reach(trio: &Trio, leg: u32) -> Self {
        let session = trio.one.endpoint.session(&trio.relay.id).unwrap();
        let opened = session.open(Service::Relay, OpenOptions::default()).await;
        let (mut send, mut recv) = opened.unwrap();
        let target = trio.other.id;
        say(&mut send, &RelayFrame::Reach { leg, target }).await;
        assert_eq!(within(hear(&mut recv)).await, Some(RelayFrame::Ready));
        Self { send, _recv: recv }
    }
}

async fn say(send: &mut SendStream, frame: &RelayFrame) {
    let frame = encode(frame, RELAY_FRAME_BYTES_MAX).unwrap();
    send.write_all(&frame).await.unwrap();
}

async fn hear(recv: &mut RecvStream) -> Option<RelayFrame> {
    let mut prefix = [0; PREFIX_BYTES];
    recv.read_exact(&mut prefix).await.ok()?;
    let mut body = vec![0; u32::from_le_bytes(prefix) as usize];
    recv.read_exact(&mut body).await.ok()?;
    decode(&body).ok()
}

/// A relay that keeps all it sees.
struct Spy {
    endpoint: Endpoint,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Spy {
    fn start(world: &Arc<World>) -> Self {
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(id(1), bind, world.issue(id(1)), world.clone());
        let streams = config.streams(Service::Relay, RELAY_VERSION..=RELAY_VERSION);
        let datagrams = config.datagrams(Service::Relay);
        let endpoint = Endpoint::bind(config).unwrap();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        tokio::spawn(spy(endpoint.clone(), streams, datagrams, seen.clone()));
        Self { endpoint, seen }
    }
}

/// Relays one pair and writes down every byte.
async fn spy(
    endpoint: Endpoint,
    mut streams: mpsc::Receiver<InboundStream>,
    mut datagrams: mpsc::Receiver<InboundDatagram>,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    let mut asked = streams.recv().await.unwrap();
    let Some(RelayFrame::Reach { leg, target }) = hear(&mut asked.recv).await else {
        panic!("another frame");
    };
    let source = asked.session.clone();
    let onward = endpoint.session(&target).unwrap();
    let opened = onward.open(Service::Relay, OpenOptions::default()).await;
    let (mut send, mut recv) = opened.unwrap();
    let carry = RelayFrame::Carry {
        leg: 9,
        source: source.peer_id(),
    };
    say(&mut send, &carry).await;
    assert_eq!(hear(&mut recv).await, Some(RelayFrame::Ready));
    say(&mut asked.send, &RelayFrame::Ready).await;
    let copy = |mut from: RecvStream, mut to: SendStream, seen: Arc<Mutex<Vec<u8>>>| async move {
        while let Ok(Some(chunk)) = from.read_chunk(usize::MAX).await {
            seen.lock().unwrap().extend_from_slice(&chunk);
            if to.write_chunk(chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(copy(asked.recv, send, seen.clone()));
    tokio::spawn(copy(recv, asked.send, seen.clone()));
    while let Some(datagram) = datagrams.recv().await {
        let (tag, packet) = Tag::split(&datagram.payload).unwrap();
        seen.lock().unwrap().extend_from_slice(packet);
        let from_source = datagram.session.peer_id() == source.peer_id();
        assert_eq!(tag.leg, if from_source { leg } else { 9 });
        assert_eq!(tag.by_opener, from_source);
        let (to, leg) = if from_source {
            (&onward, 9)
        } else {
            (&source, leg)
        };
        let tag = Tag {
            leg,
            by_opener: from_source,
        };
        let onward = [&tag.to_bytes()[..], packet].concat();
        // A packet that is lost is sent again.
        let _ = to.send_datagram(Service::Relay, &onward);
    }
}

#[tokio::test]
async fn the_relay_sees_nothing_of_what_it_carries() {
    let world = Arc::new(World::default());
    let spy = Spy::start(&world);
    let (one, other) = (Node::start(&world, 2), Node::start(&world, 3));
    let target = Target {
        node: Some(id(1)),
        addresses: vec![spy.endpoint.local_address().unwrap()],
    };
    within(one.endpoint.dial(target.clone())).await.unwrap();
    within(other.endpoint.dial(target)).await.unwrap();
    until("the relay has both", || spy.endpoint.sessions().len() == 2).await;
    let session = within(one.endpoint.dial(nowhere(other.id))).await.unwrap();
    let secret = b"nobody between the two reads this";
    let payload = secret.repeat(3_000);
    echo(&session, &payload).await;
    let seen = spy.seen.lock().unwrap().clone();
    assert!(seen.len() > 2 * payload.len(), "{} bytes", seen.len());
    // Not even a part of it that is longer than chance makes.
    let part = &secret[..12];
    assert!(seen.windows(part.len()).all(|window| window != part));
    // Whoever is a relay is not the peer: the other end's certificate decides.
    assert_eq!(session.peer().label, "node 3");
}
