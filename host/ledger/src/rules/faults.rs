//! Faults: whose receipts are outvoted by those of other drawn nodes, and what that costs.

use std::collections::BTreeSet;

use proofs::{ExecutionOrder, ReceiptCertificate, beacon_of};
use types::{NodeId, Principal};

use super::{assets, space};
use crate::anchor;
use crate::asset_refusal::AssetRefusal;
use crate::execute::{BlockContext, Stop, fabric};
use crate::fault::{FaultOperation, FaultRecord, JoinedRecord, RECENT_FAULTS_MAX};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::record::DeploymentRecord;
use crate::state::{Draft, NotLoaded, StateView};

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    operation: &FaultOperation,
) -> Result<(), Stop> {
    let FaultOperation::Outvoted { order, certificate } = operation;
    if !assets::has_role(draft, &signer)? {
        return Err(Refusal::UnknownPrincipal(signer).into());
    }
    check_order(draft, order)?;
    let digest = anchor::digest_at(draft, order.anchor)?;
    let height = order.anchor;
    let digest = digest.ok_or(AssetRefusal::OrderAnchor { height })?;
    let members = members_at(draft, order.anchor)?;
    let outvoted = outvoted(order, certificate, &beacon_of(&digest), &members)?;
    let mut told = false;
    for node in outvoted {
        told |= note(draft, block, order, &node)?;
    }
    match told {
        true => Ok(()),
        false => Err(AssetRefusal::NoFault(order.digest()).into()),
    }
}

/// That the ledger admitted what was ordered: nobody has to run anything else.
fn check_order<V: StateView>(draft: &Draft<'_, V>, order: &ExecutionOrder) -> Result<(), Stop> {
    let workload = &order.workload;
    let deployment: Option<DeploymentRecord> = draft.read(&StateKey::deployment(workload))?;
    let deployment = deployment.ok_or_else(|| Refusal::UnknownDeployment(workload.clone()))?;
    let (expected, found) = (order.generation, deployment.generation);
    if expected != found {
        let name = workload.clone();
        return Err(Refusal::Generation {
            name,
            expected,
            found,
        }
        .into());
    }
    let mut components = deployment.spec.components.iter();
    let is_it = components.any(|component| {
        component.name == order.component
            && component.artifact == order.artifact
            && component.deterministic_seed == Some(order.deterministic_seed)
    });
    match is_it {
        true => Ok(()),
        false => Err(Refusal::UnknownComponent {
            workload: workload.clone(),
            component: order.component.clone(),
        }
        .into()),
    }
}

/// Who was a member at `height`, as far as it still is.
fn members_at<V: StateView>(
    draft: &Draft<'_, V>,
    height: u64,
) -> Result<BTreeSet<NodeId>, NotLoaded> {
    let mut members: BTreeSet<_> = fabric(draft)?.nodes.into_iter().collect();
    let joined = joined(draft)?.nodes.into_iter();
    let then = joined.filter(|(_, joined_at)| *joined_at <= height);
    members.extend(then.map(|(node, _)| node));
    Ok(members)
}

fn outvoted(
    order: &ExecutionOrder,
    certificate: &ReceiptCertificate,
    beacon: &types::Digest,
    members: &BTreeSet<NodeId>,
) -> Result<BTreeSet<NodeId>, AssetRefusal> {
    let drawn = order.drawn(beacon, members);
    let drawn = drawn.map_err(|error| AssetRefusal::Certificate(error.to_string()))?;
    let agreement = certificate.verify(&order.rule(drawn));
    let agreement = agreement.map_err(|error| AssetRefusal::Certificate(error.to_string()))?;
    Ok(agreement.outvoted)
}

/// Writes one fault down; false if this one is on record already.
fn note<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    order: &ExecutionOrder,
    node: &NodeId,
) -> Result<bool, Stop> {
    let key = StateKey::fault(node);
    let mut record: FaultRecord = draft.read(&key)?.unwrap_or_default();
    // Older ones are refused by their anchor.
    let oldest = block.height.saturating_sub(crate::ANCHORS);
    record.recent.retain(|(_, anchor)| *anchor >= oldest);
    let digest = order.digest();
    if record.recent.iter().any(|(known, _)| *known == digest) {
        return Ok(false);
    }
    if record.recent.len() >= RECENT_FAULTS_MAX {
        let max = RECENT_FAULTS_MAX as u64;
        return Err(assets::too_many("recent faults of one node", max));
    }
    record.recent.push((digest, order.anchor));
    record.outvoted = record.outvoted.saturating_add(1);
    record.last_at = block.height;
    draft.write(key, &record);
    space::forfeit(draft, node)?;
    Ok(true)
}

pub(super) fn joined<V: StateView>(draft: &Draft<'_, V>) -> Result<JoinedRecord, NotLoaded> {
    Ok(draft.read(&StateKey::joined())?.unwrap_or_default())
}
