//! Which of two connections between the same two nodes survives. Both ends come to the same
//! answer from what both know, without a word about it.

use std::collections::HashMap;

use types::NodeId;

/// What decides about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who dialled.
    pub dialler: NodeId,
    /// The dialler's count of dials.
    pub attempt: u64,
    /// The peer's incarnation, as seen from this end.
    pub peer_incarnation: u64,
    /// Whether a third node carries its packets.
    pub relayed: bool,
}

/// Whether `new` takes the place of `existing`, of the nodes `own` and `peer`.
///
/// - The peer was started again: the existing connection is dead, though nobody said so yet.
/// - One of them is relayed: the direct one survives.
/// - Both were dialled by the same node: the later dial survives, since its dialler knows both.
/// - They cross: the one that the node with the smaller id dialled survives.
#[must_use]
pub fn survives(existing: &Claim, new: &Claim, own: NodeId, peer: NodeId) -> bool {
    if existing.peer_incarnation != new.peer_incarnation {
        return true;
    }
    if existing.relayed != new.relayed {
        return existing.relayed;
    }
    if existing.dialler == new.dialler {
        return new.attempt > existing.attempt;
    }
    new.dialler == own.min(peer)
}

/// The one session of each node, by the number that its connection has here.
#[derive(Debug)]
pub struct Seats {
    own: NodeId,
    taken: HashMap<NodeId, (u64, Claim)>,
}

/// What became of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seating {
    /// The peer had none.
    First,
    /// It has taken the place of this one.
    Displaced(u64),
    /// The one before stays.
    Lost,
}

impl Seats {
    /// No sessions yet, of the node `own`.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            taken: HashMap::new(),
        }
    }

    /// Seats the connection `number` to `peer`, unless the one before survives it.
    #[must_use]
    pub fn seat(&mut self, peer: NodeId, number: u64, claim: Claim) -> Seating {
        let seating = match self.taken.get(&peer) {
            None => Seating::First,
            Some((_, existing)) if !survives(existing, &claim, self.own, peer) => {
                return Seating::Lost;
            }
            Some((existing, _)) => Seating::Displaced(*existing),
        };
        self.taken.insert(peer, (number, claim));
        seating
    }

    /// The connection `number` has ended; whether it was the session of `peer`.
    pub fn leave(&mut self, peer: &NodeId, number: u64) -> bool {
        let was_session = self.of(peer) == Some(number);
        if was_session {
            self.taken.remove(peer);
        }
        was_session
    }

    /// The connection that is the session of `peer`.
    #[must_use]
    pub fn of(&self, peer: &NodeId) -> Option<u64> {
        self.taken.get(peer).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::from_bytes([1; 32]);
    const B: NodeId = NodeId::from_bytes([2; 32]);

    fn claim(dialler: NodeId, attempt: u64) -> Claim {
        Claim {
            dialler,
            attempt,
            peer_incarnation: 7,
            relayed: false,
        }
    }

    fn relayed(dialler: NodeId, attempt: u64) -> Claim {
        Claim {
            relayed: true,
            ..claim(dialler, attempt)
        }
    }

    #[test]
    fn both_ends_keep_the_same_connection_in_either_order() {
        let pairs = [
            (claim(A, 4), claim(B, 9)),
            (claim(A, 4), claim(A, 5)),
            (claim(B, 4), claim(B, 5)),
            (relayed(A, 4), claim(B, 5)),
            (claim(B, 4), relayed(A, 5)),
            (relayed(A, 4), relayed(B, 5)),
            (relayed(A, 5), claim(A, 4)),
        ];
        for (first, second) in pairs {
            let kept = |own, peer, existing: Claim, new: Claim| {
                if survives(&existing, &new, own, peer) {
                    new
                } else {
                    existing
                }
            };
            let answers = [
                kept(A, B, first, second),
                kept(A, B, second, first),
                kept(B, A, first, second),
                kept(B, A, second, first),
            ];
            assert!(
                answers.iter().all(|kept| *kept == answers[0]),
                "{answers:?}"
            );
        }
        assert!(survives(&claim(B, 1), &claim(A, 1), A, B));
        assert!(survives(&relayed(A, 9), &claim(B, 1), A, B));
        assert!(!survives(&claim(B, 1), &relayed(A, 9), A, B));
    }

    #[test]
    fn a_peer_that_was_started_again_replaces_its_old_connection() {
        let mut new = claim(B, 1);
        new.peer_incarnation = 8;
        assert!(survives(&claim(A, 4), &new, A, B));
    }
}
