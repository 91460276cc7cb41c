//! No honest node blames another honest node.

use super::Check;
use crate::event::Event;

/// Looks at every blame.
#[derive(Debug)]
pub(crate) struct Blames;

impl Check for Blames {
    fn name(&self) -> &'static str {
        "honest nodes are not blamed"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::BlamesHonest { node, peer, blame } = event else {
            return Ok(());
        };
        Err(format!("node {node} blames node {peer}: {blame}"))
    }
}
