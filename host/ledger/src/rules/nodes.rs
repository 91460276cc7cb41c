//! Nodes as places: cordoning, draining, opening, labelling. Membership is decided elsewhere.

use types::{Labels, NodeId, Principal};

use super::membership::member;
use super::roles;
use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::node::{LABELS_MAX, NodeOperation, NodeRecord, NodeState};
use crate::outcome::Refusal;
use crate::record::Role;
use crate::schedule::{self, Scheduler};
use crate::state::{Draft, NotLoaded, StateView};

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    operation: &NodeOperation,
) -> Result<(), Stop> {
    let node = match operation {
        NodeOperation::Settle => &signer,
        NodeOperation::Turn { node, .. } | NodeOperation::Label { node, .. } => node,
    };
    if signer != *node {
        roles::require(draft, &signer, Role::Admin)?;
    }
    member(draft, node)?;
    match operation {
        NodeOperation::Turn { state, .. } => turn(draft, block, node, *state),
        NodeOperation::Label { labels, .. } => label(draft, block, node, labels),
        NodeOperation::Settle => settle(draft, block),
    }
}

fn settle<V: StateView>(draft: &mut Draft<'_, V>, block: &BlockContext) -> Result<(), Stop> {
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.retry(draft)?;
    Ok(scheduler.close(draft)?)
}

fn turn<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    node: &NodeId,
    state: NodeState,
) -> Result<(), Stop> {
    let mut record = read(draft, node)?;
    record.state = state;
    schedule::keep(draft, node, &record);
    let mut scheduler = Scheduler::open(draft, block)?;
    match state {
        NodeState::Open | NodeState::Cordoned => scheduler.retry(draft)?,
        NodeState::Draining => scheduler.evacuate(draft, node)?,
    }
    Ok(scheduler.close(draft)?)
}

/// Replicas that are there stay, whatever their constraints say of labels: those are looked at when a
/// place is chosen.
fn label<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    node: &NodeId,
    labels: &Labels,
) -> Result<(), Stop> {
    if labels.len() > LABELS_MAX {
        return Err(Refusal::TooMany {
            what: "labels of a node".to_owned(),
            max: u32::try_from(LABELS_MAX).unwrap_or(u32::MAX),
        }
        .into());
    }
    let mut record = read(draft, node)?;
    record.labels.clone_from(labels);
    schedule::keep(draft, node, &record);
    settle(draft, block)
}

fn read<V: StateView>(draft: &Draft<'_, V>, node: &NodeId) -> Result<NodeRecord, NotLoaded> {
    Ok(draft.read(&StateKey::node(node))?.unwrap_or_default())
}
