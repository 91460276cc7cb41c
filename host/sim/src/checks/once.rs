//! A transaction takes effect at most once, however often it is sent.

use std::collections::BTreeMap;

use ledger::TransactionOutcome;
use types::Digest;

use super::Check;
use crate::event::Event;

/// Where each transaction took effect.
#[derive(Debug, Default)]
pub(crate) struct Once {
    applied: BTreeMap<Digest, u64>,
}

impl Check for Once {
    fn name(&self) -> &'static str {
        "takes effect once"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Block { block, .. } = event else {
            return Ok(());
        };
        let mut here = BTreeMap::new();
        for (id, outcome) in &block.transactions {
            if *outcome != TransactionOutcome::Applied {
                continue;
            }
            let first = *self.applied.entry(*id).or_insert(block.height);
            if first != block.height || here.insert(*id, ()).is_some() {
                let again = block.height;
                return Err(format!("{id} took effect at height {first} and at {again}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use consensus::FinalizedBlock;

    use super::*;

    #[test]
    fn a_transaction_that_takes_effect_twice_is_seen() {
        let mut check = Once::default();
        let mut see = |height, times: usize| {
            let effect = (Digest::of(b"it"), TransactionOutcome::Applied);
            let block = FinalizedBlock {
                height,
                time_ms: height,
                block_digest: [0; 32],
                state_root: [0; 32],
                changes: Vec::new(),
                transactions: vec![effect; times],
            };
            check.see(&Event::Block {
                node: 0,
                block: &block,
            })
        };
        assert!(see(1, 1).is_ok());
        assert!(see(1, 1).is_ok(), "another node shows the same block");
        assert!(see(2, 1).is_err());
        assert!(see(1, 2).is_err());
    }
}
