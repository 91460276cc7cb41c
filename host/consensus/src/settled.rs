//! What became final a moment ago: a transaction that is still under way to this node must not
//! be executed again. Forgets soon; never looks at the ledger.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::handle::Finality;

/// How long a final transaction is remembered: longer than any pause between two sendings of it.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Transactions remembered: several full blocks.
const REMEMBERED_MAX: usize = 8192;

/// The last transactions that became final.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    by_id: HashMap<types::Digest, (Finality, Instant)>,
    in_order: VecDeque<types::Digest>,
}

impl Settled {
    /// Remembers the first end of a transaction.
    pub(crate) fn remember(&mut self, id: types::Digest, finality: Finality, now: Instant) {
        if self.recall(&id, now).is_some() {
            return;
        }
        while let Some(oldest) = self.in_order.front() {
            let old = self
                .by_id
                .get(oldest)
                .is_none_or(|(_, at)| is_over(*at, now));
            if !old && self.in_order.len() < REMEMBERED_MAX {
                break;
            }
            self.by_id.remove(oldest);
            self.in_order.pop_front();
        }
        // Whatever was known of it is over, and went with those that are.
        self.by_id.insert(id, (finality, now));
        self.in_order.push_back(id);
    }

    /// How it ended, if that was a moment ago.
    pub(crate) fn recall(&self, id: &types::Digest, now: Instant) -> Option<Finality> {
        let (finality, at) = self.by_id.get(id)?;
        (!is_over(*at, now)).then(|| finality.clone())
    }
}

fn is_over(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= REMEMBERED_FOR
}

#[cfg(test)]
mod tests {
    use ledger::TransactionOutcome;

    use super::*;

    fn finality(height: u64) -> Finality {
        Finality {
            height,
            outcome: TransactionOutcome::Applied,
        }
    }

    #[test]
    fn what_was_final_is_remembered_for_a_while_and_within_bounds() {
        let mut settled = Settled::default();
        let (id, now) = (
            |number: usize| types::Digest::of(&number.to_be_bytes()),
            Instant::now(),
        );
        for number in 0..=REMEMBERED_MAX {
            settled.remember(id(number), finality(1), now);
        }
        assert_eq!(settled.recall(&id(0), now), None, "the oldest makes room");
        assert_eq!(settled.recall(&id(1), now), Some(finality(1)));
        settled.remember(id(1), finality(2), now);
        assert_eq!(
            settled.recall(&id(1), now),
            Some(finality(1)),
            "the first end counts"
        );
        let later = now + REMEMBERED_FOR;
        assert_eq!(settled.recall(&id(1), later), None);
        settled.remember(id(1), finality(3), later);
        assert_eq!(settled.recall(&id(1), later), Some(finality(3)));
        assert_eq!(settled.in_order.len(), 1);
    }
}
