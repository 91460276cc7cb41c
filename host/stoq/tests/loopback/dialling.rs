//! Who gets a session with whom, and who learns why not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hypermesh_stoq::{
    CloseReason, Closer, Config, DialError, Direction, Endpoint, InboundStream, Service,
    SessionEvent, Target,
};
use tokio::sync::mpsc;

use crate::harness::{Node, REVOKED, UNKNOWN, World, ask, id, until, within};

#[tokio::test]
async fn a_session_serves_both_ends_whoever_dialled() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    assert_eq!(session.peer_id(), b.id);
    assert_eq!(session.peer().label, "node 2");
    assert_eq!(session.direction(), Direction::Outbound);
    ask(&session, b"there").await;
    let back = b.endpoint.session(&a.id).unwrap();
    assert_eq!(back.direction(), Direction::Inbound);
    ask(&back, b"and back").await;
    let again = within(a.endpoint.dial(b.target())).await.unwrap();
    assert_eq!(again.direction(), Direction::Outbound);
    assert_eq!(a.endpoint.sessions().len(), 1);
    let info = &a.endpoint.sessions()[0];
    assert_eq!((info.remote, info.peer.id), (b.address(), b.id));
}

#[tokio::test]
async fn both_dial_at_once_and_one_session_is_left() {
    for round in 0..10 {
        let world = Arc::new(World::default());
        let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
        let (from_a, from_b) = within(async {
            tokio::join!(a.endpoint.dial(b.target()), b.endpoint.dial(a.target()))
        })
        .await;
        let (from_a, from_b) = (from_a.unwrap(), from_b.unwrap());
        let live = |endpoint: &Endpoint| {
            let sessions = endpoint.sessions().into_iter();
            sessions.filter(|info| !info.is_retired).collect::<Vec<_>>()
        };
        until("one live session at each end", || {
            live(&a.endpoint).len() == 1 && live(&b.endpoint).len() == 1
        })
        .await;
        let directions = (
            live(&a.endpoint)[0].direction,
            live(&b.endpoint)[0].direction,
        );
        assert!(
            directions == (Direction::Outbound, Direction::Inbound)
                || directions == (Direction::Inbound, Direction::Outbound),
            "round {round}: {directions:?}"
        );
        ask(&from_a, b"one").await;
        ask(&from_b, b"two").await;
    }
}

#[tokio::test]
async fn a_refused_dialler_and_the_one_who_refuses_both_know_why() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    // b would take the stranger, who has never heard of b.
    let own = Arc::new(World::default());
    let stranger = Node::with(own, 3, world.issue(id(3)));
    let mut news = b.endpoint.events();

    let error = within(stranger.endpoint.dial(b.target()))
        .await
        .unwrap_err();
    let never_issued = DialError::PeerRefused {
        code: UNKNOWN,
        text: "never issued".to_owned(),
    };
    assert_eq!(error, never_issued);
    let SessionEvent::Refused { reason, .. } = within(news.recv()).await.unwrap() else {
        panic!("no refusal");
    };
    let by = Closer::Peer;
    let text = "never issued".to_owned();
    assert_eq!(
        reason,
        CloseReason::Refused {
            by,
            code: UNKNOWN,
            text
        }
    );

    world.revoke(a.id);
    let error = within(a.endpoint.dial(b.target())).await.unwrap_err();
    let text = "revoked at height 12".to_owned();
    assert_eq!(
        error,
        DialError::RefusedByPeer {
            code: REVOKED,
            text: text.clone()
        }
    );
    let SessionEvent::Refused { reason, .. } = within(news.recv()).await.unwrap() else {
        panic!("no refusal");
    };
    let by = Closer::Us;
    assert_eq!(
        reason,
        CloseReason::Refused {
            by,
            code: REVOKED,
            text
        }
    );
    assert!(a.endpoint.sessions().is_empty() && b.endpoint.sessions().is_empty());
}

#[tokio::test]
async fn the_wrong_node_is_named() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let dialled = |node, address| {
        within(a.endpoint.dial(Target {
            node: Some(node),
            addresses: vec![address],
        }))
    };
    let error = dialled(id(5), b.address()).await.unwrap_err();
    assert_eq!(
        error,
        DialError::WrongNode {
            expected: id(5),
            found: b.id
        }
    );
    assert_eq!(
        dialled(a.id, a.address()).await.unwrap_err(),
        DialError::Oneself
    );
    let anyone = Target {
        node: None,
        addresses: vec![a.address()],
    };
    assert_eq!(
        within(a.endpoint.dial(anyone)).await.unwrap_err(),
        DialError::Oneself
    );
    let nowhere = Target {
        node: Some(b.id),
        addresses: Vec::new(),
    };
    assert_eq!(
        within(a.endpoint.dial(nowhere)).await.unwrap_err(),
        DialError::NoAddress
    );
}

#[tokio::test]
async fn one_good_address_is_enough() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut target = b.target();
    target.addresses.insert(0, silent.local_addr().unwrap());
    let session = within(a.endpoint.dial(target)).await.unwrap();
    ask(&session, b"here").await;
    let dead = Target {
        node: Some(id(9)),
        addresses: vec![silent.local_addr().unwrap()],
    };
    let error = within(a.endpoint.dial(dead)).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { ref attempts, .. } if attempts.len() == 1));
    assert!(error.to_string().contains("timed out"), "{error}");
}

#[tokio::test]
async fn a_maintained_session_comes_back_with_the_peer() {
    let world = Arc::new(World::default());
    let a = Node::start(&world, 1);
    let b = Node::start(&world, 2);
    let address = b.address();
    let mut kept = a.endpoint.maintain(b.target());
    ask(&within(kept.up()).await.unwrap(), b"first").await;
    within(b.endpoint.close("stops")).await;
    drop(b);
    until("the session is gone", || kept.session().is_none()).await;

    let (again, mut control) = within(bind_again(&world, address)).await;
    let session = within(kept.up()).await.unwrap();
    let (mut send, _recv) = session
        .open(Service::Control, Default::default())
        .await
        .unwrap();
    send.write_all(b"hello").await.unwrap();
    assert!(within(control.recv()).await.is_some());
    drop(kept);
    within(again.close("done")).await;
}

/// Node 2 on an address that an endpoint has just left; its socket may take a moment to go.
async fn bind_again(
    world: &Arc<World>,
    address: SocketAddr,
) -> (Endpoint, mpsc::Receiver<InboundStream>) {
    loop {
        let mut config = Config::new(id(2), address, world.issue(id(2)), world.clone());
        let control = config.streams(Service::Control, 1..=1);
        if let Ok(endpoint) = Endpoint::bind(config) {
            return (endpoint, control);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
