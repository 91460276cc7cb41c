//! Whether this node may run singletons: replicas that are never on two nodes at once. Pure: what is seen
//! of others and the time come in. Stops nothing itself.
//!
//! A singleton of a node that is gone is placed elsewhere [`ledger::HANDOVER_MS`] after enough validators
//! said that it is, and each of those had missed it for seconds before that. The node has stopped it by then:
//!
//! - if it is cut off from a quorum of the validators, because it sees that it is, as they do;
//! - if it is not, because it reads in the ledger that it is said to be gone;
//! - if its process stood still, as soon as it goes on.
//!
//! A node that begins knows nothing of what became of its replicas meanwhile. It runs none of them until
//! it has reached a quorum for long enough to have read on.

use types::NodeId;

use crate::witness::Sights;

/// How long a quorum may be out of sight before singletons stop: a lost packet is no partition.
const CUT_OFF_MS: u64 = 2_000;
/// How long a quorum must be in sight before singletons run: what was decided meanwhile is read by then.
const BACK_MS: u64 = 3_000;
/// A node that did not look for so long stood still, and knows nothing of what became of its replicas.
const STILL_MS: u64 = 5_000;

/// What a node knows of its own standing.
#[derive(Debug, Clone)]
pub struct Holder {
    me: NodeId,
    runs: bool,
    /// Since when the sights say the other thing.
    differs_since_ms: Option<u64>,
    looked_at_ms: Option<u64>,
}

impl Holder {
    /// One that has seen nothing, and runs none.
    #[must_use]
    pub const fn new(me: NodeId) -> Self {
        Self {
            me,
            runs: false,
            differs_since_ms: None,
            looked_at_ms: None,
        }
    }

    /// Whether singletons run now.
    pub fn decide(&mut self, now_ms: u64, sights: &Sights) -> bool {
        let others = sights.validators.iter().any(|node| *node != self.me);
        if !others && !sights.validators.is_empty() {
            // There is nobody who could say that it is gone.
            self.runs = true;
            return true;
        }
        let last_ms = self.looked_at_ms.replace(now_ms);
        let still = last_ms.is_some_and(|last_ms| now_ms.saturating_sub(last_ms) >= STILL_MS);
        if sights.is_gone || still {
            self.runs = false;
            self.differs_since_ms = None;
            return false;
        }
        if sights.reaches_quorum(&self.me) == self.runs {
            self.differs_since_ms = None;
            return self.runs;
        }
        let since_ms = *self.differs_since_ms.get_or_insert(now_ms);
        let after_ms = match self.runs {
            true => CUT_OFF_MS,
            false => BACK_MS,
        };
        if now_ms.saturating_sub(since_ms) >= after_ms {
            self.runs = !self.runs;
            self.differs_since_ms = None;
        }
        self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::Seen;

    fn node(seed: u8) -> NodeId {
        NodeId::from_bytes([seed; 32])
    }

    /// Four validators as the first sees them, of whom so many answer.
    fn seen(there: u8) -> Sights {
        let seen = |seed| match seed <= there + 1 {
            true => Seen::There,
            false => Seen::Unsure,
        };
        Sights {
            validators: (1..=4).map(node).collect(),
            seen: (2..=4).map(|seed| (node(seed), seen(seed))).collect(),
            ..Sights::default()
        }
    }

    #[test]
    fn it_begins_once_a_quorum_was_in_sight_for_long_enough() {
        let mut holder = Holder::new(node(1));
        assert!(!holder.decide(0, &seen(1)));
        assert!(!holder.decide(1_000, &seen(2)));
        assert!(!holder.decide(1_000 + BACK_MS - 1, &seen(2)));
        assert!(holder.decide(1_000 + BACK_MS, &seen(2)));
    }

    #[test]
    fn it_stops_when_cut_off_and_not_for_a_moment() {
        let mut holder = Holder::new(node(1));
        holder.decide(0, &seen(3));
        assert!(holder.decide(BACK_MS, &seen(3)));
        let at = BACK_MS + 1_000;
        assert!(holder.decide(at, &seen(1)));
        assert!(holder.decide(at + CUT_OFF_MS - 1, &seen(1)));
        // Seen again: it counts from the beginning.
        assert!(holder.decide(at + CUT_OFF_MS, &seen(2)));
        assert!(holder.decide(at + 2 * CUT_OFF_MS, &seen(1)));
        assert!(!holder.decide(at + 3 * CUT_OFF_MS, &seen(1)));
    }

    #[test]
    fn it_stops_at_once_when_it_is_said_to_be_gone() {
        let mut holder = Holder::new(node(1));
        holder.decide(0, &seen(3));
        assert!(holder.decide(BACK_MS, &seen(3)));
        let gone = Sights {
            is_gone: true,
            ..seen(3)
        };
        assert!(!holder.decide(BACK_MS, &gone));
        assert!(!holder.decide(BACK_MS + 1, &seen(3)));
        assert!(holder.decide(2 * BACK_MS + 1, &seen(3)));
    }

    #[test]
    fn it_stops_when_it_stood_still() {
        let mut holder = Holder::new(node(1));
        holder.decide(0, &seen(3));
        assert!(holder.decide(BACK_MS, &seen(3)));
        assert!(holder.decide(BACK_MS + STILL_MS - 1, &seen(3)));
        let at = BACK_MS + 2 * STILL_MS;
        assert!(!holder.decide(at, &seen(3)));
        assert!(!holder.decide(at + 1, &seen(3)));
        assert!(holder.decide(at + 1 + BACK_MS, &seen(3)));
    }

    #[test]
    fn the_only_validator_runs_and_one_that_knows_none_does_not() {
        let mut holder = Holder::new(node(1));
        assert!(!holder.decide(0, &Sights::default()));
        let alone = Sights {
            validators: vec![node(1)],
            ..Sights::default()
        };
        assert!(holder.decide(0, &alone));
    }
}
