//! Members that this node is not connected to: they are dialled for as long as they are members,
//! through relays where no address leads to them. Which relays, and who may use them, STOQ and the
//! authority decide.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ledger::Membership;
use tokio_util::sync::CancellationToken;

use crate::peers::Peers;
use crate::shared::Shared;

/// Pause between looks at the ledger for members without a session.
const LOOK_PAUSE: Duration = Duration::from_secs(3);
/// Members with which sessions are kept. Beyond it a node has enough neighbours.
const KEPT_MAX: usize = 64;

/// Keeps sessions with members until `stop`.
pub(super) async fn keep(peers: Arc<Peers>, shared: Weak<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_PAUSE) => {}
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        look(&peers, &shared);
    }
}

fn look(peers: &Peers, shared: &Shared) {
    let own = peers.endpoint.node();
    // What cannot be read ends the node elsewhere.
    let Ok(members) = shared.state().view.members() else {
        return;
    };
    for (node, member) in members {
        // One of each pair dials, so that the two do not cross; which one does not matter.
        let is_ours = own < node;
        if member.membership == Membership::Member
            && is_ours
            && peers.endpoint.session(&node).is_none()
            && peers.kept_count() < KEPT_MAX
        {
            peers.keep_session(node);
        }
    }
}
