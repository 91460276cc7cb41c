//! Whom each node has heard of late, as gossip tells it: directly, or through one other node. Never
//! carries a message, and never decides what silence means.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orchestrator::Seen;

/// Silence after which a node is suspected, milliseconds: a probe and its repetition by others.
const SUSPECT_AFTER_MS: u64 = 2_000;
/// Silence after which it counts as gone, milliseconds.
const GONE_AFTER_MS: u64 = 5_000;

/// What every node has heard of every other.
#[derive(Debug, Default)]
pub(crate) struct Gossip {
    /// When, by who hears and of whom.
    heard_ms: Mutex<BTreeMap<(usize, usize), u64>>,
}

impl Gossip {
    /// A look at all of `nodes`. `reach` says which two that have power reach each other; one that
    /// has none forgets what it heard.
    pub(crate) fn look(
        &self,
        nodes: usize,
        now_ms: u64,
        has_power: impl Fn(usize) -> bool,
        reach: impl Fn(usize, usize) -> bool,
    ) {
        let mut heard_ms = self.lock();
        heard_ms.retain(|(hearer, _), _| has_power(*hearer));
        let pairs = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
        for (hearer, about) in pairs.filter(|(a, b)| a != b) {
            let through = |other: usize| reach(hearer, other) && reach(other, about);
            if reach(hearer, about) || (0..nodes).any(through) {
                heard_ms.insert((hearer, about), now_ms);
            }
        }
    }

    /// What one node sees of another.
    pub(crate) fn seen(&self, hearer: usize, about: usize, now_ms: u64) -> Seen {
        let Some(heard_ms) = self.lock().get(&(hearer, about)).copied() else {
            return Seen::Unsure;
        };
        match now_ms.saturating_sub(heard_ms) {
            0..SUSPECT_AFTER_MS => Seen::There,
            SUSPECT_AFTER_MS..GONE_AFTER_MS => Seen::Unsure,
            _ => Seen::Gone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(usize, usize), u64>> {
        self.heard_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_fades_and_what_another_reaches_does_not() {
        let gossip = Gossip::default();
        let (cut, one_way) = ([2], [(0, 1), (1, 0)]);
        let reach = |a: usize, b: usize| {
            a != b && !cut.contains(&a) && !cut.contains(&b) && !one_way.contains(&(a, b))
        };
        gossip.look(4, 0, |_| true, |a, b| a != b);
        for second in 1..=6 {
            gossip.look(4, second * 1_000, |_| true, reach);
        }
        assert_eq!(gossip.seen(0, 1, 6_000), Seen::There, "through node 3");
        assert_eq!(gossip.seen(0, 2, 6_000), Seen::Gone);
        assert_eq!(gossip.seen(2, 0, 6_000), Seen::Gone);
        gossip.look(4, 7_000, |node| node != 2, reach);
        assert_eq!(gossip.seen(2, 0, 7_000), Seen::Unsure, "it forgot");
    }
}
