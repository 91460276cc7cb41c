//! An honest node whose power and disk are good runs, and starts from what its disk holds.

use super::Check;
use crate::event::Event;

/// Looks at every end.
#[derive(Debug)]
pub(crate) struct Running;

impl Check for Running {
    fn name(&self) -> &'static str {
        "runs while its disk is good"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Closed { node, reason } => Err(format!("node {node}: {reason}")),
            Event::NotStarted { node, reason } => {
                Err(format!("node {node} did not start: {reason}"))
            }
            _ => Ok(()),
        }
    }
}
