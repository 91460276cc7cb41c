//! A node's stream begins above its snapshot, has every height once, in order, and time moves on; a
//! state that it takes over from peers only leads up.

use std::collections::BTreeMap;

use super::Check;
use crate::event::Event;

/// Where each node's stream stands: height, and ledger time where it is known.
#[derive(Debug, Default)]
pub(crate) struct Heights {
    last: BTreeMap<usize, (u64, Option<u64>)>,
}

impl Check for Heights {
    fn name(&self) -> &'static str {
        "monotonic heights"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Started { node, height, .. } => {
                self.last.insert(*node, (*height, None));
                Ok(())
            }
            Event::Block { node, block } => {
                let now = (block.height, Some(block.time_ms));
                let Some((height, time_ms)) = self.last.insert(*node, now) else {
                    return Err(format!("node {node} streams before it started"));
                };
                if block.height != height + 1 {
                    let found = block.height;
                    return Err(format!(
                        "the stream of node {node} goes from height {height} to {found}"
                    ));
                }
                if time_ms.is_some_and(|time_ms| block.time_ms <= time_ms) {
                    return Err(format!(
                        "on node {node} ledger time stands still at height {}",
                        block.height
                    ));
                }
                Ok(())
            }
            Event::TookOver {
                node,
                height,
                time_ms,
                ..
            } => match self.last.insert(*node, (*height, Some(*time_ms))) {
                Some((before, _)) if before <= *height => Ok(()),
                before => Err(format!(
                    "node {node} goes back from {before:?} to a state at height {height}"
                )),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use consensus::FinalizedBlock;

    use super::*;

    #[test]
    fn a_gap_a_repeat_and_a_clock_that_stands_are_seen() {
        let see = |heights: &[(u64, u64)]| {
            let mut check = Heights::default();
            check.see(&Event::Started {
                node: 0,
                height: 1,
                state_root: [0; 32],
            })?;
            heights.iter().try_for_each(|(height, time_ms)| {
                let block = FinalizedBlock {
                    height: *height,
                    time_ms: *time_ms,
                    block_digest: [0; 32],
                    state_root: [0; 32],
                    changes: Vec::new(),
                    transactions: Vec::new(),
                };
                check.see(&Event::Block {
                    node: 0,
                    block: &block,
                })
            })
        };
        assert!(see(&[(2, 1), (3, 2)]).is_ok());
        assert!(see(&[(2, 1), (4, 2)]).is_err());
        assert!(see(&[(2, 1), (2, 2)]).is_err());
        assert!(see(&[(2, 1), (3, 1)]).is_err());
    }
}
