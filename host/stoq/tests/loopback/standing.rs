//! Certificates that change or lose their standing while sessions live.

use std::sync::Arc;

use hypermesh_stoq::{
    CloseReason, Closer, DialError, Occasion, Peer, PeerAuthority, PeerRefusal, Service,
};

use crate::harness::{Node, REVOKED, World, ask, until, within};

#[tokio::test]
async fn revocation_closes_the_session_at_both_ends() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    assert_eq!(b.endpoint.recheck(), 0);
    ask(&session, b"still there").await;
    let back = b.endpoint.session(&a.id).unwrap();

    world.revoke(a.id);
    assert_eq!(b.endpoint.recheck(), 1);
    let text = "revoked at height 12".to_owned();
    let refused = |by| CloseReason::Refused {
        by,
        code: REVOKED,
        text: text.clone(),
    };
    assert_eq!(within(session.ended()).await, refused(Closer::Peer));
    assert_eq!(within(back.ended()).await, refused(Closer::Us));
    until("the table is empty", || b.endpoint.sessions().is_empty()).await;
    let error = within(a.endpoint.dial(b.target())).await.unwrap_err();
    assert!(
        matches!(error, DialError::RefusedByPeer { code: REVOKED, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn new_certificates_reach_the_peer_and_no_stream_is_dropped() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    let back = b.endpoint.session(&a.id).unwrap();
    let (mut send, mut recv) = session
        .open(Service::Invoke, Default::default())
        .await
        .unwrap();
    let mut answer = [0; 4];
    // The dialler renews, then the one who was dialled, then the first again.
    for node in [&a, &b, &a] {
        send.write_all(b"more").await.unwrap();
        within(recv.read_exact(&mut answer)).await.unwrap();
        let credentials = world.issue(node.id);
        let leaf = credentials.chain[0].clone();
        node.endpoint.set_credentials(credentials).unwrap();
        let seen = if node.id == a.id { &back } else { &session };
        until("the peer knows the new certificate", || {
            seen.peer_chain()[0] == leaf
        })
        .await;
        send.write_all(b"last").await.unwrap();
        within(recv.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"last");
    }
    assert_eq!(a.endpoint.sessions().len(), 1);
    // A new handshake shows the new ones.
    session.close("again");
    within(session.ended()).await;
    until("gone at the other end", || b.endpoint.sessions().is_empty()).await;
    ask(&within(a.endpoint.dial(b.target())).await.unwrap(), b"anew").await;
}

#[tokio::test]
async fn the_certificate_of_another_node_ends_the_session() {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    a.endpoint.set_credentials(world.issue(b.id)).unwrap();
    let reason = within(session.ended()).await;
    assert!(
        matches!(
            reason,
            CloseReason::Protocol {
                by: Closer::Peer,
                ..
            }
        ),
        "{reason}"
    );
}

/// Refuses whatever is shown within a session.
struct NoRenewal(Arc<World>);

impl PeerAuthority for NoRenewal {
    fn judge(
        &self,
        chain: &[hypermesh_stoq::CertificateDer<'_>],
        occasion: Occasion,
    ) -> Result<Peer, PeerRefusal> {
        if occasion == Occasion::Renewed {
            let text = "not again".to_owned();
            return Err(PeerRefusal { code: 3, text });
        }
        self.0.judge(chain, occasion)
    }
}

#[tokio::test]
async fn the_authority_is_asked_about_renewed_certificates() {
    let world = Arc::new(World::default());
    let a = Node::start(&world, 1);
    let credentials = world.issue(crate::harness::id(2));
    let b = Node::with(Arc::new(NoRenewal(world.clone())), 2, credentials);
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    a.endpoint.set_credentials(world.issue(a.id)).unwrap();
    let text = "not again".to_owned();
    let refused = CloseReason::Refused {
        by: Closer::Peer,
        code: 3,
        text,
    };
    assert_eq!(within(session.ended()).await, refused);
}
