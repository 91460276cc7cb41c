//! The live connections of an endpoint, and which of them is a node's session.

use std::collections::HashMap;
use std::sync::Arc;

use types::NodeId;

use crate::bounds::SESSIONS_MAX;
use crate::link::Link;
use crate::proto::survives;

/// All live connections.
#[derive(Debug, Default)]
pub(crate) struct Table {
    links: HashMap<u64, Arc<Link>>,
    /// The one session of each node that has one at a time.
    nodes: HashMap<NodeId, u64>,
}

/// What became of a new connection.
pub(crate) enum Seat {
    /// The peer had none, or may have many.
    First,
    /// It is the node's session now; the one before is to retire.
    Displaced(Arc<Link>),
    /// The one before stays.
    Lost,
    /// There is no place.
    Full,
}

impl Table {
    /// Gives `link` a seat, as `own` node.
    pub(crate) fn seat(&mut self, link: &Arc<Link>, own: NodeId) -> Seat {
        if self.links.len() >= SESSIONS_MAX {
            return Seat::Full;
        }
        let peer = link.standing().peer;
        let mut seat = Seat::First;
        if peer.single {
            let existing = self.of_node(&peer.id).filter(|existing| existing.is_live());
            if let Some(existing) = existing {
                if !survives(&existing.claim, &link.claim, own, peer.id) {
                    return Seat::Lost;
                }
                seat = Seat::Displaced(existing);
            }
            self.nodes.insert(peer.id, link.number);
        }
        self.links.insert(link.number, link.clone());
        seat
    }

    /// Forgets `link`; whether that ended a session of its peer.
    pub(crate) fn leave(&mut self, link: &Link) -> bool {
        if self.links.remove(&link.number).is_none() {
            // It never had a seat.
            return false;
        }
        let peer = link.standing().peer;
        if !peer.single {
            return true;
        }
        let was_session = self.nodes.get(&peer.id) == Some(&link.number);
        if was_session {
            self.nodes.remove(&peer.id);
        }
        was_session
    }

    /// The session of a node that has one at a time.
    pub(crate) fn of_node(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.links.get(self.nodes.get(node)?).cloned()
    }

    /// All connections, those that retire as well.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.links.values().cloned().collect()
    }
}
