//! No two honest nodes have different final blocks at one height.

use std::collections::BTreeMap;

use types::Digest;

use super::Check;
use crate::event::Event;

/// The first block seen at each height, and who showed it.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    blocks: BTreeMap<u64, (usize, [u8; 32])>,
}

impl Check for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Block { node, block } = event else {
            return Ok(());
        };
        let first = (*node, block.block_digest);
        let (other, digest) = *self.blocks.entry(block.height).or_insert(first);
        if digest == block.block_digest {
            return Ok(());
        }
        let (ours, theirs) = (
            Digest::from_bytes(block.block_digest),
            Digest::from_bytes(digest),
        );
        Err(format!(
            "at height {} node {node} has the final block {ours}, node {other} {theirs}",
            block.height
        ))
    }
}

#[cfg(test)]
mod tests {
    use consensus::FinalizedBlock;

    use super::*;

    #[test]
    fn two_blocks_at_one_height_are_a_fork() {
        let block = |digest| FinalizedBlock {
            height: 1,
            time_ms: 1,
            block_digest: [digest; 32],
            state_root: [0; 32],
            changes: Vec::new(),
            transactions: Vec::new(),
        };
        let mut check = Agreement::default();
        let mut see = |node, digest| {
            let block = block(digest);
            check.see(&Event::Block {
                node,
                block: &block,
            })
        };
        assert!(see(0, 1).is_ok());
        assert!(see(1, 1).is_ok());
        assert!(see(2, 2).is_err());
    }
}
