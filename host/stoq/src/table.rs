//! The live connections of an endpoint, and which of them is a node's session.

use std::collections::HashMap;
use std::sync::Arc;

use types::NodeId;

use crate::bounds::SESSIONS_MAX;
use crate::link::Link;
use crate::proto::{Seating, Seats};

/// All live connections.
#[derive(Debug)]
pub(crate) struct Table {
    links: HashMap<u64, Arc<Link>>,
    /// The one session of each node that has one at a time.
    seats: Seats,
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
    /// No connections yet, of the node `own`.
    pub(crate) fn new(own: NodeId) -> Self {
        Self {
            links: HashMap::new(),
            seats: Seats::new(own),
        }
    }

    /// Gives `link` a seat.
    pub(crate) fn seat(&mut self, link: &Arc<Link>) -> Seat {
        if self.links.len() >= SESSIONS_MAX {
            return Seat::Full;
        }
        let peer = link.standing().peer;
        let mut seat = Seat::First;
        if peer.single {
            if let Some(existing) = self.of_node(&peer.id)
                && !existing.is_live()
            {
                self.seats.leave(&peer.id, existing.number);
            }
            match self.seats.seat(peer.id, link.number, link.claim) {
                Seating::First => {}
                Seating::Lost => return Seat::Lost,
                Seating::Displaced(number) => {
                    if let Some(existing) = self.links.get(&number) {
                        seat = Seat::Displaced(existing.clone());
                    }
                }
            }
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
        !peer.single || self.seats.leave(&peer.id, link.number)
    }

    /// The session of a node that has one at a time.
    pub(crate) fn of_node(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.links.get(&self.seats.of(node)?).cloned()
    }

    /// All connections, those that retire as well.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.links.values().cloned().collect()
    }
}
