//! What sessions outlive: a change of address, an operator's cap, peers that flood or stall.

use std::sync::Arc;
use std::time::Duration;

use hypermesh_stoq::{Control, OpenOptions, Service, Target, bounds, proto};

use crate::harness::{Node, World, ask, until, within};
use crate::relay::Relay;

#[tokio::test]
async fn a_transfer_goes_on_after_the_address_changes() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    let before = a.address();
    let (mut send, mut recv) = session
        .open(Service::Invoke, OpenOptions::default())
        .await
        .unwrap();
    let sent: Vec<u8> = (0_u32..4_000_000).map(|n| n.to_le_bytes()[0]).collect();
    let halves = sent.split_at(sent.len() / 2);
    let writes = async {
        send.write_all(halves.0).await.unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        a.endpoint.rebind(socket).unwrap();
        send.write_all(halves.1).await.unwrap();
        send.finish().await.unwrap();
    };
    let (heard, ()) = within(async { tokio::join!(recv.read_to_end(sent.len()), writes) }).await;
    assert!(heard.unwrap() == sent);
    assert_ne!(a.address(), before);
    until("b follows to the new address", || {
        b.endpoint.sessions()[0].remote == a.address()
    })
    .await;
    assert_eq!(b.endpoint.sessions().len(), 1);
    // And b reaches a there.
    ask(&b.endpoint.session(&a.id).unwrap(), b"found you").await;
}

#[tokio::test]
async fn a_capped_peer_gets_no_more_than_its_cap() {
    const CAP: u64 = 400_000;
    const SENT: usize = 200_000;
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    a.endpoint.set_cap(b.id, Some(CAP));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    assert_eq!(session.info().cap, Some(CAP));
    let started = tokio::time::Instant::now();
    for way in ["write_all", "write_chunk"] {
        let (mut send, _recv) = session
            .open(Service::Control, OpenOptions::default())
            .await
            .unwrap();
        send.flush().await.unwrap();
        let mut stream = within(b.control.recv()).await.unwrap();
        let bytes = vec![1; SENT];
        let writes = async {
            if way == "write_all" {
                send.write_all(&bytes).await.unwrap();
            } else {
                send.write_chunk(bytes.clone().into()).await.unwrap();
            }
            send.finish().await.unwrap();
        };
        let reads = stream.recv.read_to_end(SENT);
        let ((), heard) = within(async { tokio::join!(writes, reads) }).await;
        assert_eq!(heard.unwrap().len(), SENT);
    }
    // 400 kB at 400 kB/s, less one burst: sending faster than the cap is the failure.
    assert!(
        started.elapsed() > Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    a.endpoint.set_cap(b.id, None);
    assert_eq!(session.info().cap, None);
}

#[tokio::test]
async fn a_flood_of_streams_is_bounded_and_others_go_on() {
    let world = Arc::new(World::default());
    let (flooder, good) = (Node::start(&world, 1), Node::start(&world, 2));
    // Nobody takes what comes on its `control`.
    let mut victim = Node::start(&world, 3);
    let flood = within(flooder.endpoint.dial(victim.target()))
        .await
        .unwrap();
    let calm = within(good.endpoint.dial(victim.target())).await.unwrap();
    let bound = proto::streams_max(Service::Control);
    let mut held = Vec::new();
    // Opens without reading, until the peer allows no more.
    let options = OpenOptions {
        deadline: Some(Duration::from_secs(60)),
        ..OpenOptions::default()
    };
    for _ in 0..bounds::STREAMS_PER_PEER_MAX {
        let (mut send, recv) = flood.open(Service::Control, options).await.unwrap();
        send.write_all(&[0; 1_000]).await.unwrap();
        held.push((send, recv));
    }
    let victim_endpoint = victim.endpoint.clone();
    let of_flooder = || {
        let sessions = victim_endpoint.sessions();
        let info = sessions.into_iter().find(|info| info.peer.id == flooder.id);
        info.unwrap().streams_in
    };
    until("the flood fills its places", || of_flooder() == bound).await;
    ask(&calm, b"unmoved").await;
    assert_eq!(of_flooder(), bound);
    // It has hurt itself only, and not for good.
    drop(held);
    while victim.control.try_recv().is_ok() {}
    ask(&flood, b"forgiven").await;
}

#[tokio::test]
async fn a_peer_that_never_reads_makes_the_other_hold_a_window_at_most() {
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    let (mut send, _recv) = session
        .open(Service::Control, OpenOptions::default())
        .await
        .unwrap();
    send.flush().await.unwrap();
    let stalled = within(b.control.recv()).await.unwrap();
    let chunk = bytes::Bytes::from(vec![0; 1 << 20]);
    let mut taken = 0_u64;
    loop {
        let write = send.write_chunk(chunk.clone());
        // Long enough for a window over loopback; a slow machine only makes the sum smaller.
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        taken += 1 << 20;
        let most = u64::from(bounds::STREAM_WINDOW_BYTES) + bounds::SEND_WINDOW_BYTES;
        assert!(taken <= most, "{taken} bytes are held");
    }
    assert!(taken > 0);
    // Other streams of the same session go on, and so does the other direction.
    ask(&session, b"past the stalled one").await;
    ask(&b.endpoint.session(&a.id).unwrap(), b"and back").await;
    drop(stalled);
}

#[tokio::test]
async fn loss_changes_the_congestion_rule_of_a_live_session() {
    let world = Arc::new(World::default());
    let (a, mut b) = (Node::start(&world, 1), Node::start(&world, 2));
    let relay = Relay::lossy(b.address(), Duration::from_millis(10), 50).await;
    let target = Target {
        node: Some(b.id),
        addresses: vec![relay.address],
    };
    let session = within(a.endpoint.dial(target)).await.unwrap();
    assert_eq!(session.settings().control, Control::Cubic);
    let (mut send, _recv) = session
        .open(Service::Control, OpenOptions::default())
        .await
        .unwrap();
    send.flush().await.unwrap();
    let mut stream = within(b.control.recv()).await.unwrap();
    let reads = tokio::spawn(async move {
        let mut heard = 0;
        while let Ok(Some(chunk)) = stream.recv.read_chunk(usize::MAX).await {
            heard += chunk.len();
        }
        heard
    });
    // More than there is time for: what counts is that the path has all that it takes.
    let writes = async {
        let chunk = bytes::Bytes::from(vec![0; 64 << 10]);
        loop {
            send.write_chunk(chunk.clone()).await.unwrap();
        }
    };
    tokio::select! {
        () = writes => {}
        () = until("three readings show loss", || {
            session.settings().control == Control::Bbr
        }) => {}
    }
    // The stream that lived through the change goes on.
    send.write_all(b"the last").await.unwrap();
    send.finish().await.unwrap();
    assert!(within(reads).await.unwrap() > 0);
    ask(&session, b"and so do others").await;
}
