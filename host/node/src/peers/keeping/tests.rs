//! A peer that is blocked: its session ends, it is refused, nobody dials it, and it comes back by
//! itself. Real endpoints; what the ledger says of it is the test's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use consensus::Blame;
use stoq::{CloseReason, Closer, Config, SessionEvent};
use tokio::sync::watch;
use tokio::time::timeout;
use trust::{IssuedCertificate, SecretKey};
use types::FabricId;

use super::*;
use crate::clock::unix_ms;
use crate::peers::authority::Authority;
use crate::peers::credentials::shown;

/// Generous, because machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

fn endpoint(number: u8, blocked: Option<Blocked>) -> Endpoint {
    let fabric = FabricId::from_bytes([7; 32]);
    let identity = SecretKey::from_seed(&[number; 32]);
    let issued = IssuedCertificate::issue(&identity, &fabric, true, unix_ms()).unwrap();
    let authority = Authority::new(fabric);
    if let Some(blocked) = blocked {
        authority.heed(blocked);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let authority = Arc::new(authority);
    Endpoint::bind(Config::new(
        identity.public(),
        address,
        shown(&issued),
        authority,
    ))
    .unwrap()
}

async fn comes_up(endpoint: &Endpoint, peer: NodeId) {
    let mut events = endpoint.events();
    let up = async {
        while endpoint.session(&peer).is_none() {
            events.recv().await.unwrap();
        }
    };
    timeout(PATIENCE, up).await.expect("a session");
}

fn is_dialled(keeping: &Keeping, peer: NodeId) -> bool {
    keeping.lock()[&peer].maintained.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_peer_is_refused_and_not_dialled_until_its_block_ends() {
    let (told, blocked) = watch::channel(BTreeMap::new());
    let judging = endpoint(1, Some(blocked.clone()));
    let liar = endpoint(2, None);
    let (judge, peer) = (judging.node(), liar.node());
    let there = vec![liar.local_address().unwrap()];
    let here = Target {
        node: Some(judge),
        addresses: vec![judging.local_address().unwrap()],
    };
    let keeping = Arc::new(Keeping::new(judging.clone(), blocked));
    tokio::spawn(Arc::clone(&keeping).heed());
    keeping.keep(peer, there.clone());
    comes_up(&judging, peer).await;
    comes_up(&liar, judge).await;

    let mut seen_by_liar = liar.events();
    told.send_modify(|told| {
        told.insert(peer, Blame::InvalidAnswer);
    });
    let reason = loop {
        let event = timeout(PATIENCE, seen_by_liar.recv()).await.unwrap();
        if let SessionEvent::Down { reason, .. } = event.unwrap() {
            break reason;
        }
    };
    let CloseReason::Refused { by, code, text } = reason else {
        panic!("it is told why: {reason}");
    };
    assert_eq!((by, code), (Closer::Peer, BLOCKED));
    assert!(text.contains("is blocked: it sent a block"), "{text}");
    assert!(!is_dialled(&keeping, peer));
    // Whoever learns of an address does not change that.
    keeping.keep(peer, there.clone());
    assert!(!is_dialled(&keeping, peer));
    for _ in 0..3 {
        let refused = liar.dial(here.clone()).await.err();
        let is_typed = matches!(
            refused,
            Some(DialError::RefusedByPeer { code: BLOCKED, .. })
        );
        assert!(is_typed, "{refused:?}");
        assert!(judging.session(&peer).is_none());
    }

    told.send_modify(BTreeMap::clear);
    comes_up(&judging, peer).await;
    assert!(is_dialled(&keeping, peer));
}
