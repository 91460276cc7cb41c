//! A validator that votes for one thing to some peers and for another to the rest. Its own ledger is
//! honest. Only in builds of tests.

use std::collections::BTreeSet;

use consensus::simulated::{Forger, intercepted};
use consensus::{Carrier, Channel, Outgoing};
use types::NodeId;

use crate::data_dir::Identity;

/// Votes that it lies about, some rounds of three peers. Each round that it leads meanwhile
/// costs the others their patience; afterwards it votes as all do, and its epoch ends soon.
const LIES_MAX: usize = 24;

/// Puts the lie between a node's ledger and its sessions, if the node has a vote at all.
pub(crate) fn equivocating(identity: &Identity, carrier: Carrier) -> Carrier {
    let key = consensus::SecretKey::from_seed(&identity.node.expose_seed());
    let Some(forger) = Forger::new(&identity.genesis, &key) else {
        return carrier;
    };
    tracing::warn!("this validator lies to its peers");
    let (mut peers, mut lies) = (BTreeSet::new(), 0);
    intercepted(carrier, move |message| {
        peers.insert(message.peer);
        let contrary = contrary(&forger, &message).filter(|_| lies < LIES_MAX);
        let Some(contrary) = contrary else {
            return vec![message];
        };
        lies += 1;
        told(&peers, message, contrary)
    })
}

/// The same message with the contrary of the vote in it, if there is one.
fn contrary(forger: &Forger, message: &Outgoing) -> Option<Outgoing> {
    if message.channel != Channel::Votes {
        return None;
    }
    Some(Outgoing {
        bytes: forger.contradict(&message.bytes, 0)?.into(),
        ..message.clone()
    })
}

/// What a peer is told: of every three one hears the vote, one the contrary, and one both.
fn told(peers: &BTreeSet<NodeId>, vote: Outgoing, contrary: Outgoing) -> Vec<Outgoing> {
    let before = peers.iter().take_while(|peer| **peer < vote.peer);
    match before.count() % 3 {
        0 => vec![vote],
        1 => vec![contrary],
        _ => vec![vote, contrary],
    }
}
