//! What agreement needs and what it has: how many validators must take part, which are out of
//! reach, how long transactions wait. Counts connections and messages; reads no vote.

use std::collections::BTreeSet;
use std::time::Duration;

use types::NodeId;

use crate::handle::Shared;

/// While transactions wait, every validator that works says something within this time: rounds end,
/// with or without a block, after a few seconds.
const SILENT_AFTER: Duration = Duration::from_secs(12);

/// Whether a validator reaches enough others, and what waits for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Validators that must take part in every block, this node included.
    pub needed: usize,
    /// Validators that are heard, this node included.
    pub reached: usize,
    /// Validators that are not heard: not connected, blocked, or silent while there is work.
    pub missing: BTreeSet<NodeId>,
    /// How long the oldest waiting transaction has been waiting; `None` while none waits.
    pub waiting_for: Option<Duration>,
}

impl Quorum {
    /// What this node sees; `None` for a node without a vote, which need not reach validators.
    pub(crate) fn seen_by(shared: &Shared) -> Option<Self> {
        let office = shared.office.borrow().clone();
        if !office.votes {
            return None;
        }
        let peers = shared.wires.peers();
        let waiting_for = shared.pool.waiting_for();
        // Without work there is nothing to say.
        let speaks = |peer: &NodeId| {
            waiting_for.is_none_or(|time| time < SILENT_AFTER)
                || shared
                    .wires
                    .silent_for(peer)
                    .is_none_or(|time| time < SILENT_AFTER)
        };
        let is_heard = |peer: &NodeId| *peer == shared.me || peers.contains(peer) && speaks(peer);
        let missing: BTreeSet<_> = office
            .validators
            .iter()
            .filter(|validator| !is_heard(validator))
            .copied()
            .collect();
        Some(Self {
            needed: needed_of(office.validators.len()),
            reached: office.validators.len() - missing.len(),
            missing,
            waiting_for,
        })
    }

    /// Whether too few validators are heard for any block to become final.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.reached < self.needed
    }
}

/// How many of `validators` must take part: all but the third that may be faulty.
const fn needed_of(validators: usize) -> usize {
    validators - validators.saturating_sub(1) / 3
}

#[cfg(test)]
mod tests {
    use commonware_utils::{Faults as _, N3f1};

    use super::*;

    #[test]
    fn as_many_are_needed_as_the_engine_wants() {
        for validators in 1..100_usize {
            let engine = N3f1::quorum(validators) as usize;
            assert_eq!(needed_of(validators), engine, "{validators}");
        }
    }
}
