//! No honest validator is convicted of contradicting itself, whatever its power and its disk did.

use ledger::StateKey;
use types::NodeId;

use super::Check;
use crate::event::Event;

/// The keys under which the state would hold convictions of honest nodes.
#[derive(Debug)]
pub(crate) struct Innocent {
    keys: Vec<(usize, StateKey)>,
}

impl Innocent {
    /// For these honest nodes.
    pub(crate) fn new(honest: &[(usize, NodeId)]) -> Self {
        let keys = honest.iter();
        Self {
            keys: keys
                .map(|(node, name)| (*node, StateKey::conviction(name)))
                .collect(),
        }
    }
}

impl Check for Innocent {
    fn name(&self) -> &'static str {
        "the innocent are not convicted"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Block { block, .. } = event else {
            return Ok(());
        };
        let convicted = |key: &StateKey| block.changes.iter().any(|(changed, _)| changed == key);
        match self.keys.iter().find(|(_, key)| convicted(key)) {
            Some((node, _)) => Err(format!(
                "the block at height {} convicts node {node}",
                block.height
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use consensus::FinalizedBlock;

    use super::*;

    #[test]
    fn a_conviction_of_an_honest_node_is_seen() {
        let (honest, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mut check = Innocent::new(&[(0, honest)]);
        let mut see = |name| {
            let block = FinalizedBlock {
                height: 1,
                time_ms: 1,
                block_digest: [0; 32],
                state_root: [0; 32],
                changes: vec![(StateKey::conviction(&name), Some(Vec::new()))],
                transactions: Vec::new(),
            };
            check.see(&Event::Block {
                node: 0,
                block: &block,
            })
        };
        assert!(see(other).is_ok());
        assert!(see(honest).is_err());
    }
}
