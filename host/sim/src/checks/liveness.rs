//! Some time after everything was mended, every honest node has answered and is level with the
//! others.

use super::Check;
use crate::event::Event;

/// Looks once, at the end.
#[derive(Debug)]
pub(crate) struct Liveness;

impl Check for Liveness {
    fn name(&self) -> &'static str {
        "liveness after heal"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Ended {
            node,
            height,
            highest,
            unanswered,
        } = event
        else {
            return Ok(());
        };
        if height < highest || *unanswered > 0 {
            return Err(format!(
                "node {node} is at height {height} of {highest}, {unanswered} transactions wait \
                 for its answer"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_stays_behind_or_silent_is_seen() {
        let see = |height, unanswered| {
            Liveness.see(&Event::Ended {
                node: 0,
                height,
                highest: 2,
                unanswered,
            })
        };
        assert!(see(2, 0).is_ok());
        assert!(see(1, 0).is_err());
        assert!(see(2, 1).is_err());
    }
}
