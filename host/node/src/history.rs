//! The last final blocks as this node executed them, with what each changed and what became of its
//! transactions, which no block says. In memory: a start begins with none. Bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consensus::FinalizedBlock;
use ledger::TransactionOutcome;
use types::Digest;

/// Most blocks: hours of an idle fabric, and enough for a reader that is slow for a while.
const BLOCKS_MAX: usize = 1_024;
/// Most bytes of changes and transactions.
const BYTES_MAX: usize = 16 << 20;
/// What a block, a change or a transaction takes beside its bytes, roughly.
const ITEM_BYTES: usize = 96;

/// The last blocks.
#[derive(Default)]
pub(crate) struct History {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    blocks: VecDeque<Arc<FinalizedBlock>>,
    bytes: usize,
    /// The height of a state that this node went on from: it executed no block up to there.
    skipped_to: u64,
}

impl History {
    /// Takes the next block. The newest one stays, however large it is.
    pub(crate) fn push(&self, block: FinalizedBlock) {
        let mut kept = self.kept();
        kept.bytes += bytes(&block);
        kept.blocks.push_back(Arc::new(block));
        while kept.blocks.len() > BLOCKS_MAX || (kept.bytes > BYTES_MAX && kept.blocks.len() > 1) {
            if let Some(oldest) = kept.blocks.pop_front() {
                kept.bytes -= bytes(&oldest);
            }
        }
    }

    /// Forgets everything: what comes next is above `height`.
    pub(crate) fn skip_to(&self, height: u64) {
        let mut kept = self.kept();
        *kept = Kept {
            skipped_to: height,
            ..Kept::default()
        };
    }

    /// Height of the state that this node went on from, without executing the blocks up to there.
    pub(crate) fn skipped_to(&self) -> u64 {
        self.kept().skipped_to
    }

    /// The lowest height that is remembered.
    pub(crate) fn first(&self) -> Option<u64> {
        self.kept().blocks.front().map(|block| block.height)
    }

    /// The block at a height.
    pub(crate) fn at(&self, height: u64) -> Option<Arc<FinalizedBlock>> {
        let kept = self.kept();
        let first = kept.blocks.front()?.height;
        let index = usize::try_from(height.checked_sub(first)?).ok()?;
        kept.blocks.get(index).cloned()
    }

    /// Where a transaction is.
    pub(crate) fn height_of(&self, id: &Digest) -> Option<u64> {
        let kept = self.kept();
        let has = |block: &&Arc<FinalizedBlock>| block.transactions.iter().any(|(at, _)| at == id);
        kept.blocks.iter().rev().find(has).map(|block| block.height)
    }

    /// What became of a transaction of the block at a height.
    pub(crate) fn outcome(&self, height: u64, id: &Digest) -> Option<TransactionOutcome> {
        let block = self.at(height)?;
        let found = block.transactions.iter().find(|(at, _)| at == id);
        found.map(|(_, outcome)| outcome.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(block: &FinalizedBlock) -> usize {
    let changes = block.changes.iter();
    let changes = changes
        .map(|(key, value)| ITEM_BYTES + key.as_bytes().len() + value.as_ref().map_or(0, Vec::len));
    ITEM_BYTES * (1 + block.transactions.len()) + changes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use ledger::StateKey;

    use super::*;

    fn block(height: u64, value_bytes: usize) -> FinalizedBlock {
        FinalizedBlock {
            height,
            time_ms: height,
            block_digest: [0; 32],
            state_root: [0; 32],
            changes: vec![(StateKey::fabric(), Some(vec![0; value_bytes]))],
            transactions: vec![(
                Digest::of(&height.to_be_bytes()),
                TransactionOutcome::Applied,
            )],
        }
    }

    #[test]
    fn the_last_blocks_are_found_by_height_and_by_transaction() {
        let history = History::default();
        assert_eq!((history.first(), history.at(1)), (None, None));
        for height in 7..10 {
            history.push(block(height, 1));
        }
        assert_eq!(history.first(), Some(7));
        assert_eq!(history.at(9).map(|block| block.time_ms), Some(9));
        assert_eq!((history.at(6), history.at(10)), (None, None));
        let id = Digest::of(&8_u64.to_be_bytes());
        assert_eq!(history.height_of(&id), Some(8));
        assert_eq!(history.outcome(8, &id), Some(TransactionOutcome::Applied));
        assert_eq!(history.outcome(9, &id), None);
    }

    #[test]
    fn old_blocks_make_room() {
        let history = History::default();
        let many = u64::try_from(BLOCKS_MAX).unwrap() + 5;
        (1..=many).for_each(|height| history.push(block(height, 1)));
        assert_eq!(history.first(), Some(6));
        history.push(block(many + 1, BYTES_MAX));
        assert_eq!(history.first(), Some(many + 1), "one that fills all stays");
        history.push(block(many + 2, 1));
        assert_eq!(history.first(), Some(many + 2));
        assert!(history.kept().bytes < 1_000);
    }
}
