//! Reads of nodes as places for replicas.

use types::{ComponentSpec, Name, NodeId};

use super::View;
use crate::fault::JoinedRecord;
use crate::key::StateKey;
use crate::node::{
    HANDOVER_MS, Misfit, NodeFacts, NodeRecord, NodeWorkloadsRecord, UNPLACED_LOOKED_AT_MAX,
    UnplacedRecord,
};
use crate::record::DecodeRecordError;

/// A member as a place for replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlace {
    /// Which node.
    pub node: NodeId,
    /// What is said of it.
    pub record: NodeRecord,
    /// Since when more than a third of the validators say that it is gone, ledger time.
    pub gone_since_ms: Option<u64>,
}

impl NodePlace {
    /// Whether it is said to be gone.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.gone_since_ms.is_some()
    }

    /// What decides whether a replica may go there.
    #[must_use]
    pub const fn facts(&self) -> NodeFacts<'_> {
        NodeFacts {
            node: &self.node,
            record: &self.record,
            gone: self.is_gone(),
        }
    }
}

impl View {
    /// All members as places for replicas, in id order.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn places(&self) -> Result<Vec<NodePlace>, DecodeRecordError> {
        let Some(fabric) = self.fabric()? else {
            return Ok(Vec::new());
        };
        let joined: Option<JoinedRecord> = self.read(&StateKey::joined())?;
        let nodes = fabric.members(&joined.unwrap_or_default());
        let absences = self.absences()?;
        let place = |node| {
            let record: Option<NodeRecord> = self.read(&StateKey::node(&node))?;
            let absence = absences.get(&node);
            let since = absence.and_then(|absence| absence.since(&fabric.validators));
            Ok(NodePlace {
                node,
                record: record.unwrap_or_default(),
                gone_since_ms: since.map(|since| since.time_ms),
            })
        };
        nodes.into_iter().map(place).collect()
    }

    /// Whether a replica of a workload is not where it should be.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn is_unplaced(&self, workload: &Name) -> Result<bool, DecodeRecordError> {
        let unplaced: Option<UnplacedRecord> = self.read(&StateKey::unplaced())?;
        Ok(unplaced.is_some_and(|unplaced| unplaced.workloads.contains(workload)))
    }

    /// Why a further replica of a component would not go to each of the members; none where it might.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote what decides it.
    pub fn misfits(
        &self,
        workload: &Name,
        component: &ComponentSpec,
    ) -> Result<Vec<(NodeId, Option<Misfit>)>, DecodeRecordError> {
        let constraints = &component.placement;
        let placements = self.placements_of(workload)?.into_iter();
        let ours = placements.filter(|placed| placed.component == component.name);
        let taken: Vec<NodeId> = ours.map(|placed| placed.node).collect();
        let mut misfits = Vec::new();
        for place in self.places()? {
            let there = self.workloads_on(&place.node)?.workloads;
            let mut there = there.iter();
            let away = there.any(|(name, _)| constraints.away.contains(name));
            let apart = constraints.apart && taken.contains(&place.node);
            let misfit = place.facts().refuses(constraints);
            let misfit = misfit.or_else(|| away.then_some(Misfit::Away));
            let misfit = misfit.or_else(|| apart.then_some(Misfit::Apart));
            misfits.push((place.node, misfit));
        }
        Ok(misfits)
    }

    /// Whether a replica that waits for a place would get one in a block of this time: one that has none,
    /// or a singleton whose node is gone for long enough.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote what decides it.
    pub fn may_settle(&self, time_ms: u64) -> Result<bool, DecodeRecordError> {
        let unplaced: Option<UnplacedRecord> = self.read(&StateKey::unplaced())?;
        let Some(unplaced) = unplaced else {
            return Ok(false);
        };
        let places = self.places()?;
        for workload in unplaced.workloads.iter().take(UNPLACED_LOOKED_AT_MAX) {
            let Some(deployment) = self.deployment(workload)? else {
                continue;
            };
            let placements = self.placements_of(workload)?;
            for component in &deployment.spec.components {
                let ours = placements
                    .iter()
                    .filter(|it| it.component == component.name);
                let mut waits = ours.clone().count() < usize::from(component.replicas);
                for placed in ours {
                    let place = places.iter().find(|place| place.node == placed.node);
                    // One that is no member any more has none.
                    waits |= place.is_none_or(|place| {
                        let handed_over = place.gone_since_ms.is_none_or(|since| {
                            !component.is_singleton()
                                || since.saturating_add(HANDOVER_MS) <= time_ms
                        });
                        place.facts().ousts().is_some() && handed_over
                    });
                }
                // All nodes are looked at only for what waits.
                if !waits {
                    continue;
                }
                let misfits = self.misfits(workload, component)?;
                if misfits.iter().any(|(_, misfit)| misfit.is_none()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The workloads with replicas on a node.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote them.
    pub fn workloads_on(&self, node: &NodeId) -> Result<NodeWorkloadsRecord, DecodeRecordError> {
        let found = self.read(&StateKey::node_workloads(node))?;
        Ok(found.unwrap_or_default())
    }
}
