//! Whether an order may run here, by this node's own view of the ledger. Runs nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use ledger::{DesiredState, MemberRecord, Membership, View};
use proofs::{ExecutionOrder, ORDER_ANCHOR_BLOCKS_MAX};
use types::{ComponentKind, ComponentSpec, Digest, NodeId};

use crate::beacon::beacon;
use crate::executions::refusal::{OrderRefusal, Text};
use crate::shared::Shared;

/// How long an order waits for the block that it is anchored at: whoever made it may have that block
/// a moment earlier.
const ANCHOR_TIME: Duration = Duration::from_secs(2);

/// What a block draws with, and from.
pub(crate) struct Anchor {
    pub(crate) beacon: Digest,
    pub(crate) members: BTreeSet<NodeId>,
}

/// What the block at `height` draws with, and the members at that height.
///
/// # Errors
/// [`OrderRefusal`] if this node does not have the block.
pub(crate) async fn anchored(shared: &Shared, height: u64) -> Result<Anchor, OrderRefusal> {
    let beacon = beacon(shared, height).await;
    let beacon = beacon.map_err(|error| OrderRefusal::NoBeacon(Text::of(error)))?;
    let members = shared.state().view.members();
    let members = members.map_err(|error| OrderRefusal::Ledger(Text::of(error)))?;
    let members = members.into_iter();
    let then = members.filter(|(_, record)| was_member(record, height));
    Ok(Anchor {
        beacon,
        members: then.map(|(node, _)| node).collect(),
    })
}

/// Whether the block at `height` had it as a member. One that left and joined again counts from its
/// last joining on, which all nodes see alike.
fn was_member(record: &MemberRecord, height: u64) -> bool {
    let gone_at = match record.membership {
        Membership::Member => u64::MAX,
        Membership::Left { at } | Membership::Evicted { at, .. } => at,
    };
    (record.joined_at..gone_at).contains(&height)
}

/// As [`anchored`], for a block that must be recent; one that is not here yet is waited for.
pub(crate) async fn recent(shared: &Shared, anchor: u64) -> Result<Anchor, OrderRefusal> {
    let height = || shared.state().view.height();
    let mut revision = shared.revision.subscribe();
    let came = revision.wait_for(|_| height() >= anchor);
    // The sender is in `shared`: this ends by the block or by the time.
    let _ = tokio::time::timeout(ANCHOR_TIME, came).await;
    let height = height();
    if height < anchor {
        return Err(OrderRefusal::Ahead { anchor, height });
    }
    if height - anchor > ORDER_ANCHOR_BLOCKS_MAX {
        return Err(OrderRefusal::OldAnchor { anchor, height });
    }
    anchored(shared, anchor).await
}

/// The component that an order is for, as its deployment says now.
///
/// # Errors
/// [`OrderRefusal`] if there is no such deployment, or the order is not what it says.
pub(crate) fn component(
    shared: &Shared,
    order: &ExecutionOrder,
) -> Result<ComponentSpec, OrderRefusal> {
    if order.fabric != shared.fabric {
        return Err(OrderRefusal::OtherFabric(order.fabric));
    }
    let state = shared.state();
    component_in(&state.view, order)
}

fn component_in(view: &View, order: &ExecutionOrder) -> Result<ComponentSpec, OrderRefusal> {
    let deployment = view.deployment(&order.workload);
    let deployment = deployment.map_err(|error| OrderRefusal::Ledger(Text::of(error)))?;
    let unknown = || OrderRefusal::UnknownWorkload(order.workload.clone());
    let deployment = deployment.ok_or_else(unknown)?;
    if deployment.desired != DesiredState::Running {
        return Err(OrderRefusal::NotRunning);
    }
    let (ordered, found) = (order.generation, deployment.generation);
    if ordered != found {
        return Err(OrderRefusal::OtherGeneration { ordered, found });
    }
    let mut components = deployment.spec.components.iter();
    let spec = components.find(|spec| spec.name == order.component);
    let unknown = || OrderRefusal::UnknownComponent(order.component.clone());
    let spec = spec.ok_or_else(unknown)?;
    let seed = repeatable(spec)?;
    let (ordered, found) = (order.artifact, spec.artifact);
    if ordered != found {
        return Err(OrderRefusal::OtherArtifact { ordered, found });
    }
    let (ordered, found) = (order.deterministic_seed, seed);
    if ordered != found {
        return Err(OrderRefusal::OtherSeed { ordered, found });
    }
    Ok(spec.clone())
}

/// The seed of a component whose calls other nodes can repeat.
///
/// # Errors
/// [`OrderRefusal`] says why nobody could.
pub(crate) fn repeatable(spec: &ComponentSpec) -> Result<u64, OrderRefusal> {
    let seed = spec.deterministic_seed;
    let seed = seed.ok_or(OrderRefusal::NotDeterministic)?;
    if spec.kind == ComponentKind::Command {
        return Err(OrderRefusal::NotCallable(spec.kind));
    }
    if !spec.secrets.is_empty() {
        return Err(OrderRefusal::Secrets);
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_of_the_anchor() {
        let record = |membership, joined_at| MemberRecord {
            membership,
            joined_at,
            certificates: Vec::new(),
        };
        let gone = record(Membership::Left { at: 9 }, 3);
        let seen: Vec<u64> = (0..12).filter(|at| was_member(&gone, *at)).collect();
        assert_eq!(seen, [3, 4, 5, 6, 7, 8]);
        assert!(was_member(&record(Membership::Member, 3), u64::MAX - 1));
        assert!(!was_member(&record(Membership::Member, 3), 2));
    }
}
