//! Acknowledged means durable: what a node streamed or acknowledged is there when it starts again,
//! and in the block, with the outcome, that it named.

use std::collections::BTreeMap;

use ledger::TransactionOutcome;
use types::Digest;

use super::Check;
use crate::event::Event;

type Outcomes = BTreeMap<Digest, TransactionOutcome>;

/// What each node owes, and what the blocks hold.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// The highest block that each node showed or named.
    owes: BTreeMap<usize, u64>,
    blocks: BTreeMap<u64, Outcomes>,
    acknowledged: Vec<(usize, Digest, u64, TransactionOutcome)>,
}

impl Durable {
    fn owe(&mut self, node: usize, height: u64) {
        let owes = self.owes.entry(node).or_default();
        *owes = height.max(*owes);
    }

    fn compare(&self) -> Result<(), String> {
        for (node, id, height, outcome) in &self.acknowledged {
            let found = self.blocks.get(height).and_then(|block| block.get(id));
            if found != Some(outcome) {
                return Err(format!(
                    "node {node} acknowledged {id} at height {height} as {outcome:?}, and the \
                     block there has {found:?} of it"
                ));
            }
        }
        Ok(())
    }
}

impl Check for Durable {
    fn name(&self) -> &'static str {
        "acknowledged means durable"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Block { node, block } => {
                self.owe(*node, block.height);
                let outcomes = block.transactions.iter().cloned().collect();
                self.blocks.entry(block.height).or_insert(outcomes);
            }
            Event::Acknowledged {
                node,
                transaction,
                finality,
            } => {
                self.owe(*node, finality.height);
                let outcome = finality.outcome.clone();
                let entry = (*node, *transaction, finality.height, outcome);
                self.acknowledged.push(entry);
            }
            Event::TookOver { node, height, .. } => self.owe(*node, *height),
            Event::Started { node, height, .. } => {
                let owes = self.owes.get(node).copied().unwrap_or(0);
                if *height < owes {
                    return Err(format!(
                        "node {node} had shown height {owes} and starts at height {height}"
                    ));
                }
            }
            Event::Over => return self.compare(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use consensus::Finality;

    use super::*;

    fn acknowledged(check: &mut Durable) {
        let finality = Finality {
            height: 5,
            outcome: TransactionOutcome::Applied,
        };
        check
            .see(&Event::Acknowledged {
                node: 0,
                transaction: Digest::of(b"it"),
                finality: &finality,
            })
            .unwrap();
    }

    #[test]
    fn a_node_that_forgets_is_seen() {
        let mut check = Durable::default();
        acknowledged(&mut check);
        let mut start = |height| {
            check.see(&Event::Started {
                node: 0,
                height,
                state_root: [0; 32],
            })
        };
        assert!(start(5).is_ok());
        assert!(start(4).is_err());
    }

    #[test]
    fn an_acknowledgement_without_its_block_is_seen() {
        let mut check = Durable::default();
        assert!(check.see(&Event::Over).is_ok());
        acknowledged(&mut check);
        assert!(check.see(&Event::Over).is_err());
    }
}
