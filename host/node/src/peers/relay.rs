//! Members that this node is not connected to: they are dialled for as long as they are members,
//! through relays where no address leads to them; and the members through which this node is reached,
//! for its record to say. Who may relay, the authority decides; in which order they are asked, STOQ.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ledger::Membership;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::peers::Peers;
use crate::peers::authority::is_member;
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
        name_relays(&peers);
        ask_named(&peers);
        dial_members(&peers, &shared);
    }
}

/// Says through whom this node is reached: members with a direct session. Those that were named stay,
/// as long as they are good: each change is a record for everybody.
fn name_relays(peers: &Peers) {
    let sessions = peers.sessions();
    let direct = sessions
        .iter()
        .filter(|info| info.via.is_none() && !info.is_retired && is_member(&info.peer));
    let direct: BTreeSet<NodeId> = direct.map(|info| info.peer.id).collect();
    let mut relays = peers.gossip().relays();
    relays.retain(|relay| direct.contains(relay));
    let more: Vec<_> = direct
        .into_iter()
        .filter(|relay| !relays.contains(relay))
        .collect();
    relays.extend(more);
    peers.gossip().reached_through(relays);
}

/// Relays that members name are asked first.
fn ask_named(peers: &Peers) {
    for (node, sight) in peers.gossip().sights().iter() {
        if let Some(record) = &sight.record {
            peers.endpoint.set_relays(*node, &record.relays);
        }
    }
}

fn dial_members(peers: &Peers, shared: &Shared) {
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
            && peers.kept.count() < KEPT_MAX
        {
            peers.keep_session(node);
        }
    }
}
