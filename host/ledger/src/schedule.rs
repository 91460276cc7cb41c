//! The scheduler: which replica runs where. A rule of the ledger, so there is no one to trust.
//!
//! A replica goes to the node with the fewest placements; of several, to the lowest id.

use types::{ComponentSpec, Name, NodeId, WorkloadSpec};

use crate::execute::fabric;
use crate::key::StateKey;
use crate::record::{DeploymentRecord, NodeRecord, PlacementRecord};
use crate::state::{Draft, NotLoaded, StateView};

/// Places every replica of a deployment.
pub(crate) fn place<V: StateView>(
    draft: &mut Draft<'_, V>,
    deployment: &DeploymentRecord,
) -> Result<(), NotLoaded> {
    let spec = &deployment.spec;
    for component in &spec.components {
        resize(draft, &spec.name, component, 0, deployment.generation)?;
    }
    Ok(())
}

/// Gives every placement the deployment's generation and leaves it where it is.
pub(crate) fn renew<V: StateView>(
    draft: &mut Draft<'_, V>,
    deployment: &DeploymentRecord,
) -> Result<(), NotLoaded> {
    let DeploymentRecord {
        spec, generation, ..
    } = deployment;
    for component in &spec.components {
        for index in 0..component.replicas {
            let key = StateKey::placement(&spec.name, &component.name, index);
            if let Some(placement) = draft.read::<PlacementRecord>(&key)? {
                let (node, generation) = (placement.node, *generation);
                draft.write(key, &PlacementRecord { node, generation });
            }
        }
    }
    Ok(())
}

/// Takes every replica of a workload away.
pub(crate) fn withdraw<V: StateView>(
    draft: &mut Draft<'_, V>,
    spec: &WorkloadSpec,
) -> Result<(), NotLoaded> {
    for component in &spec.components {
        let none = ComponentSpec {
            replicas: 0,
            ..component.clone()
        };
        resize(draft, &spec.name, &none, component.replicas, 0)?;
    }
    Ok(())
}

/// Goes from `before` replicas of a component to the number that it now has.
pub(crate) fn resize<V: StateView>(
    draft: &mut Draft<'_, V>,
    workload: &Name,
    component: &ComponentSpec,
    before: u16,
    generation: u64,
) -> Result<(), NotLoaded> {
    for index in component.replicas..before {
        let key = StateKey::placement(workload, &component.name, index);
        if let Some(placement) = draft.read::<PlacementRecord>(&key)? {
            count(draft, &placement.node, -1)?;
            draft.remove(key);
        }
    }
    for index in before..component.replicas {
        let node = emptiest(draft)?;
        count(draft, &node, 1)?;
        let key = StateKey::placement(workload, &component.name, index);
        draft.write(key, &PlacementRecord { node, generation });
    }
    Ok(())
}

fn emptiest<V: StateView>(draft: &Draft<'_, V>) -> Result<NodeId, NotLoaded> {
    let mut best: Option<(u32, NodeId)> = None;
    for node in fabric(draft)?.nodes {
        let placements = placements(draft, &node)?;
        if best.is_none_or(|best| (placements, node) < best) {
            best = Some((placements, node));
        }
    }
    Ok(best
        .unwrap_or_else(|| panic!("a fabric has at least one node"))
        .1)
}

fn placements<V: StateView>(draft: &Draft<'_, V>, node: &NodeId) -> Result<u32, NotLoaded> {
    let record: Option<NodeRecord> = draft.read(&StateKey::node(node))?;
    Ok(record.map_or(0, |record| record.placements))
}

fn count<V: StateView>(draft: &mut Draft<'_, V>, node: &NodeId, by: i32) -> Result<(), NotLoaded> {
    let placements = placements(draft, node)?.saturating_add_signed(by);
    draft.write(StateKey::node(node), &NodeRecord { placements });
    Ok(())
}
