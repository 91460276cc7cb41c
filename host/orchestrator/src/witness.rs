//! When a validator says that a member is gone, and when it takes that back. Pure: what is seen of
//! others and the time come in. Never probes anybody, and never decides what reports mean.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{LivenessOperation, quorum};
use types::NodeId;

/// How long a member must be seen gone before it is reported: longer than a suspicion lasts, so
/// that a node which is cut off itself has noticed with all the others before it accuses one.
const ABSENT_AFTER_MS: u64 = 5_000;

/// Pause between a node's own words that it is there: a validator that lies about it could make it
/// write all the time.
const SELF_PAUSE_MS: u64 = 10_000;

/// What one node sees of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It answers this node or others.
    There,
    /// Nothing can be said.
    Unsure,
    /// It did not answer in time.
    Gone,
}

/// What a decision is made of.
#[derive(Clone, Debug, Default)]
pub struct Sights {
    /// Validators in office.
    pub validators: Vec<NodeId>,
    /// Other members.
    pub seen: BTreeMap<NodeId, Seen>,
    /// Whom this node has reported.
    pub reported: BTreeSet<NodeId>,
    /// Whether anybody has reported this node.
    pub is_reported: bool,
    /// Whether so many validators have that it counts as gone.
    pub is_gone: bool,
}

impl Sights {
    /// How many validators that answer come before this node in the order of ids: so many are better
    /// placed to do what one of them should do for all.
    #[must_use]
    pub fn ahead_of(&self, me: &NodeId) -> u64 {
        let ahead = |node: &&NodeId| *node < me && self.is(node, Seen::There);
        self.validators.iter().filter(ahead).count() as u64
    }

    fn is(&self, node: &NodeId, seen: Seen) -> bool {
        self.seen.get(node) == Some(&seen)
    }

    /// Whether so many validators are alive that what this node signs can become final.
    pub(crate) fn reaches_quorum(&self, me: &NodeId) -> bool {
        let is_there = |node: &&NodeId| *node == me || self.is(node, Seen::There);
        let reached = self.validators.iter().filter(is_there).count();
        reached >= quorum(self.validators.len())
    }
}

/// What a node has seen so far.
#[derive(Clone, Debug)]
pub struct Witness {
    me: NodeId,
    /// Members that are gone and not reported by this node, with the time at which that began.
    gone: BTreeMap<NodeId, u64>,
    /// When it last said that it is there itself.
    answered_at_ms: Option<u64>,
}

impl Witness {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new(me: NodeId) -> Self {
        Self {
            me,
            gone: BTreeMap::new(),
            answered_at_ms: None,
        }
    }

    /// What to sign, if anything; one thing at a time.
    pub fn decide(&mut self, now_ms: u64, sights: &Sights) -> Option<LivenessOperation> {
        if let Some(answer) = self.answer(now_ms, sights) {
            return Some(answer);
        }
        // What a node sees of others while it is cut off itself says nothing: it begins anew.
        if !sights.validators.contains(&self.me) || !sights.reaches_quorum(&self.me) {
            self.gone.clear();
            return None;
        }
        let is_news =
            |node: &NodeId| sights.is(node, Seen::Gone) && !sights.reported.contains(node);
        self.gone.retain(|node, _| is_news(node));
        for node in sights.seen.keys().filter(|node| is_news(node)) {
            self.gone.entry(*node).or_insert(now_ms);
        }
        let mut reported = sights.reported.iter();
        if let Some(node) = reported.find(|node| sights.is(node, Seen::There)) {
            return Some(LivenessOperation::Present { node: *node });
        }
        let is_long = |since: u64| now_ms.saturating_sub(since) >= ABSENT_AFTER_MS;
        let mut gone = self.gone.iter();
        let (node, _) = gone.find(|(_, since)| is_long(**since))?;
        Some(LivenessOperation::Absent { node: *node })
    }

    /// Whoever can say that it is there, is.
    fn answer(&mut self, now_ms: u64, sights: &Sights) -> Option<LivenessOperation> {
        let last = self.answered_at_ms;
        let is_soon = last.is_some_and(|last| now_ms.saturating_sub(last) < SELF_PAUSE_MS);
        if !sights.is_reported || is_soon {
            return None;
        }
        self.answered_at_ms = Some(now_ms);
        Some(LivenessOperation::Present { node: self.me })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId::from_bytes([seed; 32])
    }

    /// Validators 1 to 4 as the first sees them, of whom some are down.
    fn seen(down: &[u8]) -> Sights {
        let seen = |seed| match down.contains(&seed) {
            true => Seen::Gone,
            false => Seen::There,
        };
        Sights {
            validators: (1..=4).map(node).collect(),
            seen: (2..=5).map(|seed| (node(seed), seen(seed))).collect(),
            ..Sights::default()
        }
    }

    fn absent(seed: u8) -> Option<LivenessOperation> {
        Some(LivenessOperation::Absent { node: node(seed) })
    }

    fn present(seed: u8) -> Option<LivenessOperation> {
        Some(LivenessOperation::Present { node: node(seed) })
    }

    #[test]
    fn a_healthy_fabric_is_left_alone() {
        let mut witness = Witness::new(node(1));
        assert!((0..100).all(|s| witness.decide(s * 1_000, &seen(&[])).is_none()));
    }

    #[test]
    fn a_member_is_reported_once_and_the_report_taken_back() {
        let mut witness = Witness::new(node(1));
        let mut sights = seen(&[4]);
        assert_eq!(witness.decide(0, &sights), None);
        assert_eq!(witness.decide(ABSENT_AFTER_MS - 1, &sights), None);
        assert_eq!(witness.decide(ABSENT_AFTER_MS, &sights), absent(4));
        sights.reported.insert(node(4));
        assert_eq!(witness.decide(ABSENT_AFTER_MS + 1, &sights), None);
        let back = Sights {
            reported: sights.reported.clone(),
            ..seen(&[])
        };
        assert_eq!(witness.decide(60_000, &back), present(4));
        assert_eq!(witness.decide(61_000, &seen(&[])), None);
        // Said to be there by itself, and still down here: looked at for as long again.
        assert_eq!(witness.decide(70_000, &sights), None);
        assert_eq!(witness.decide(71_000, &seen(&[4])), None);
        assert_eq!(witness.decide(72_000, &seen(&[4])), None);
        assert_eq!(witness.decide(76_000, &seen(&[4])), absent(4));
    }

    #[test]
    fn who_is_cut_off_reports_nobody_and_looks_again_afterwards() {
        let mut witness = Witness::new(node(1));
        for second in 0..100 {
            assert_eq!(witness.decide(second * 1_000, &seen(&[2, 3, 4, 5])), None);
        }
        assert_eq!(witness.decide(100_000, &seen(&[4])), None);
        assert_eq!(witness.decide(104_999, &seen(&[4])), None);
        assert_eq!(witness.decide(105_000, &seen(&[4])), absent(4));
    }

    #[test]
    fn only_validators_report_and_everyone_answers_for_itself() {
        let mut follower = Witness::new(node(5));
        let mut sights = seen(&[4]);
        for second in 0..10 {
            assert_eq!(follower.decide(second * 1_000, &sights), None);
        }
        sights.is_reported = true;
        assert_eq!(follower.decide(10_000, &sights), present(5));
        assert_eq!(follower.decide(10_000 + SELF_PAUSE_MS - 1, &sights), None);
        let again = follower.decide(10_000 + SELF_PAUSE_MS, &sights);
        assert_eq!(again, present(5));
    }
}
