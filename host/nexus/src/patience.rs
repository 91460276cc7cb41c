//! Says why something is not final yet, to who waits for it. Never gives up in their place.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use admin::{Client, NodeStatus, QuorumStatus};

use crate::terminal;
use crate::text;

/// Finality takes longer than this only where something is wrong, or a machine very busy.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// Pause before it is said again.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Waits for `work`, and tells the user from time to time what it waits for.
pub(crate) async fn patiently<T>(client: &Client, work: impl Future<Output = T>) -> T {
    let telling = async {
        tokio::time::sleep(TELL_AFTER).await;
        loop {
            // Where the node does not answer, `work` fails and says so.
            if let Ok(status) = client.node().await {
                terminal::note(&waiting(&status));
            }
            tokio::time::sleep(TELL_AGAIN).await;
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        never = pin!(telling) => never,
    }
}

/// What a node waits for.
fn waiting(status: &NodeStatus) -> String {
    let short = status.quorum.as_ref().and_then(shortage);
    short.map_or_else(
        || format!("still waiting for a block after height {}", status.height),
        |short| format!("waiting for a quorum: {short}"),
    )
}

/// Which validators are missing, where those that are connected are too few.
pub(crate) fn shortage(quorum: &QuorumStatus) -> Option<String> {
    if quorum.reached >= quorum.needed {
        return None;
    }
    let validators = quorum.reached as usize + quorum.missing.len();
    let missing: Vec<_> = quorum.missing.iter().map(|node| node.short()).collect();
    Some(format!(
        "{} of {} are heard, this node included, and {} must agree; not heard: {}",
        quorum.reached,
        text::count(validators, "validator"),
        quorum.needed,
        missing.join(", ")
    ))
}
