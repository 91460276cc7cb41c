//! Honest nodes have the same state root at each height, in their blocks, their snapshots, and the
//! states that they take over from peers.

use std::collections::BTreeMap;

use super::Check;
use crate::event::Event;

/// The first root seen at each height, and whose it was.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    roots: BTreeMap<u64, (usize, [u8; 32])>,
}

impl Check for Roots {
    fn name(&self) -> &'static str {
        "equal state roots"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let (node, height, root) = match event {
            Event::Block { node, block } => (*node, block.height, block.state_root),
            Event::Started {
                node,
                height,
                state_root,
            }
            | Event::TookOver {
                node,
                height,
                state_root,
                ..
            } => (*node, *height, *state_root),
            _ => return Ok(()),
        };
        let (other, first) = *self.roots.entry(height).or_insert((node, root));
        if first == root {
            return Ok(());
        }
        Err(format!(
            "at height {height} the states of node {node} and of node {other} differ"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_another_state_is_seen() {
        let mut check = Roots::default();
        let mut see = |node, root| {
            check.see(&Event::Started {
                node,
                height: 3,
                state_root: [root; 32],
            })
        };
        assert!(see(0, 1).is_ok());
        assert!(see(1, 1).is_ok());
        assert!(see(1, 2).is_err());
    }
}
