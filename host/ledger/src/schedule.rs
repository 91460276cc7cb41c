//! The scheduler: which replica runs where. A rule of the ledger, so there is no one to trust.
//!
//! A replica that may stay where it is stays. Any other goes, of the nodes that nothing speaks against,
//! to the one that is first by this order:
//!
//! 1. fewest replicas of the component on nodes with the same value of the label that it spreads over,
//! 2. a replica there of a workload that it wants to be near to,
//! 3. fewest replicas of the component on the node,
//! 4. fewest replicas on the node,
//! 5. lowest id.
//!
//! Every validator comes to the same choice, and what a change does not concern does not move. A replica
//! on a node that is gone or draining stays on record there until there is another place for it (and a
//! singleton until [`crate::HANDOVER_MS`] after its node was said to be gone), and
//! its workload is looked at again whenever there may be one: so nothing goes round in circles, as each
//! look moves a replica only away from a node that takes none.

mod choice;
mod settling;

use std::collections::BTreeMap;

use types::{ComponentSpec, Name, NodeId, WorkloadSpec};

use crate::execute::{BlockContext, Stop, fabric};
use crate::fault::JoinedRecord;
use crate::key::StateKey;
use crate::liveness::{AbsenceRecord, AbsencesRecord};
use crate::node::{
    NodeFacts, NodeRecord, NodeWorkloadsRecord, REPLICAS_LOOKED_AT_MAX, UNPLACED_LOOKED_AT_MAX,
    UnplacedRecord,
};
use crate::outcome::Refusal;
use crate::record::{DeploymentRecord, PlacementRecord};
use crate::state::{Draft, NotLoaded, StateView};

use settling::{Settled, Wanted, placed};

/// All members as places in one block, and what is about to change of them.
pub(crate) struct Scheduler {
    height: u64,
    time_ms: u64,
    /// In id order.
    sites: Vec<Site>,
    /// Replicas that were looked at again.
    looked_at: u32,
    unplaced: UnplacedRecord,
    unplaced_before: UnplacedRecord,
}

/// One member.
struct Site {
    node: NodeId,
    record: NodeRecord,
    /// Since when it is said to be gone, ledger time.
    gone_since_ms: Option<u64>,
    /// Replicas of each workload that came since, or went.
    moved: BTreeMap<Name, i64>,
    /// Those of before, where they were asked for.
    workloads: Option<NodeWorkloadsRecord>,
}

impl Site {
    const fn facts(&self) -> NodeFacts<'_> {
        NodeFacts {
            node: &self.node,
            record: &self.record,
            gone: self.gone_since_ms.is_some(),
        }
    }

    fn count(&mut self, workload: &Name, by: i32) {
        self.record.placements = self.record.placements.saturating_add_signed(by);
        *self.moved.entry(workload.clone()).or_default() += i64::from(by);
    }

    /// Whether it has a replica of one of `workloads`; known if they were asked for.
    fn has_any<'a>(&self, mut workloads: impl Iterator<Item = &'a Name>) -> bool {
        let before = self.workloads.as_ref();
        workloads.any(|workload| {
            let listed = before.map(|record| record.workloads.iter());
            let listed = listed.and_then(|mut all| all.find(|(name, _)| name == workload));
            let count = listed.map_or(0, |(_, count)| i64::from(*count));
            count + self.moved.get(workload).copied().unwrap_or_default() > 0
        })
    }
}

impl Scheduler {
    /// Takes all members.
    pub(crate) fn open<V: StateView>(
        draft: &Draft<'_, V>,
        block: &BlockContext,
    ) -> Result<Self, NotLoaded> {
        let fabric = fabric(draft)?;
        let joined: Option<JoinedRecord> = draft.read(&StateKey::joined())?;
        let reported: Option<AbsencesRecord> = draft.read(&StateKey::absences())?;
        let reported = reported.unwrap_or_default().reported;
        let nodes = fabric.members(&joined.unwrap_or_default());
        let of_nodes = nodes.iter().map(StateKey::node);
        draft.want(of_nodes.chain(reported.iter().map(StateKey::absence)))?;
        let mut sites = Vec::with_capacity(nodes.len());
        for node in nodes {
            let record: Option<NodeRecord> = draft.read(&StateKey::node(&node))?;
            let absence: Option<AbsenceRecord> = match reported.contains(&node) {
                true => draft.read(&StateKey::absence(&node))?,
                false => None,
            };
            sites.push(Site {
                node,
                record: record.unwrap_or_default(),
                gone_since_ms: absence
                    .and_then(|it| it.since(&fabric.validators))
                    .map(|since| since.time_ms),
                moved: BTreeMap::new(),
                workloads: None,
            });
        }
        let unplaced: UnplacedRecord = draft.read(&StateKey::unplaced())?.unwrap_or_default();
        Ok(Self {
            height: block.height,
            time_ms: block.time_ms,
            sites,
            looked_at: 0,
            unplaced_before: unplaced.clone(),
            unplaced,
        })
    }

    /// Writes what has changed.
    pub(crate) fn close<V: StateView>(self, draft: &mut Draft<'_, V>) -> Result<(), NotLoaded> {
        let Self {
            sites,
            unplaced,
            unplaced_before,
            ..
        } = self;
        let touched = || sites.iter().filter(|site| !site.moved.is_empty());
        draft.want(touched().map(|site| StateKey::node_workloads(&site.node)))?;
        for site in touched() {
            let key = StateKey::node_workloads(&site.node);
            let before: Option<NodeWorkloadsRecord> = draft.read(&key)?;
            let mut counts: BTreeMap<Name, i64> = before
                .unwrap_or_default()
                .workloads
                .into_iter()
                .map(|(workload, count)| (workload, i64::from(count)))
                .collect();
            for (workload, by) in &site.moved {
                *counts.entry(workload.clone()).or_default() += by;
            }
            let counts = counts.into_iter();
            let left = counts.filter_map(|(workload, count)| {
                let count = u32::try_from(count).unwrap_or_default();
                (count > 0).then_some((workload, count))
            });
            let workloads = left.collect::<Vec<_>>();
            match workloads.is_empty() {
                true => draft.remove(key),
                false => draft.write(key, &NodeWorkloadsRecord { workloads }),
            }
            keep(draft, &site.node, &site.record);
        }
        if unplaced != unplaced_before {
            match unplaced.workloads.is_empty() {
                true => draft.remove(StateKey::unplaced()),
                false => draft.write(StateKey::unplaced(), &unplaced),
            }
        }
        Ok(())
    }

    /// Places every replica of a deployment; those of the deployment that it replaces stay where they
    /// may.
    pub(crate) fn place<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        deployment: &DeploymentRecord,
        replaced: Option<&WorkloadSpec>,
    ) -> Result<(), Stop> {
        let DeploymentRecord {
            spec, generation, ..
        } = deployment;
        let replaced = replaced.map(|spec| spec.components.as_slice());
        let replaced = replaced.unwrap_or_default();
        let is_named = |one: &&ComponentSpec| spec.components.iter().any(|it| it.name == one.name);
        for gone in replaced.iter().filter(|one| !is_named(one)) {
            self.vacate(draft, &spec.name, gone, 0..gone.replicas)?;
        }
        for component in &spec.components {
            let before = replaced.iter().find(|one| one.name == component.name);
            let wanted = Wanted {
                workload: &spec.name,
                component,
                before: before.map_or(0, |before| before.replicas),
                kept_generation: Some(*generation),
                new_generation: *generation,
            };
            self.settle_all(draft, &wanted)?;
        }
        Ok(())
    }

    /// Goes from `before` replicas of a component to the number that it now has.
    pub(crate) fn resize<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        workload: &Name,
        component: &ComponentSpec,
        before: u16,
    ) -> Result<(), Stop> {
        let height = self.height;
        self.settle_all(
            draft,
            &Wanted {
                workload,
                component,
                before,
                kept_generation: None,
                new_generation: height,
            },
        )
    }

    /// Takes every replica of a workload away.
    pub(crate) fn withdraw<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        spec: &WorkloadSpec,
    ) -> Result<(), NotLoaded> {
        for component in &spec.components {
            self.vacate(draft, &spec.name, component, 0..component.replicas)?;
        }
        self.unplaced.workloads.retain(|name| *name != spec.name);
        Ok(())
    }

    /// Moves what is on a node to others, as far as they take it. Of a node that is no member any more,
    /// nothing stays.
    pub(crate) fn evacuate<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        node: &NodeId,
    ) -> Result<(), NotLoaded> {
        let there: Option<NodeWorkloadsRecord> = draft.read(&StateKey::node_workloads(node))?;
        let there = there.unwrap_or_default().workloads.into_iter();
        let workloads: Vec<Name> = there.map(|(workload, _)| workload).collect();
        self.look_again(draft, &workloads)
    }

    /// Looks again for places for what has none, or one on a node that is gone or draining: some of
    /// it, those that waited longest first.
    pub(crate) fn retry<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
    ) -> Result<(), NotLoaded> {
        let looked_at = self.unplaced.workloads.len().min(UNPLACED_LOOKED_AT_MAX);
        let workloads: Vec<Name> = self.unplaced.workloads.drain(..looked_at).collect();
        self.look_again(draft, &workloads)
    }

    /// Looks again at workloads, as far as the transaction may; what is left is listed.
    fn look_again<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        workloads: &[Name],
    ) -> Result<(), NotLoaded> {
        draft.want(workloads.iter().map(StateKey::deployment))?;
        for workload in workloads {
            let key = StateKey::deployment(workload);
            let deployment: Option<DeploymentRecord> = draft.read(&key)?;
            let placed = deployment.filter(|deployment| deployment.desired.is_placed());
            let components = placed.map(|deployment| deployment.spec.components);
            let components = components.unwrap_or_default();
            let replicas = components
                .iter()
                .map(|it| u32::from(it.replicas))
                .sum::<u32>();
            if self.looked_at > 0 && self.looked_at + replicas > REPLICAS_LOOKED_AT_MAX {
                self.list(workload);
                continue;
            }
            self.looked_at += replicas;
            for component in components {
                let wanted = Wanted {
                    workload,
                    component: &component,
                    before: component.replicas,
                    kept_generation: None,
                    new_generation: self.height,
                };
                let settled = self.settle(draft, &wanted)?;
                self.note(workload, &settled);
            }
        }
        Ok(())
    }

    /// As [`Self::settle`], where each replica must have a place.
    fn settle_all<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        wanted: &Wanted<'_>,
    ) -> Result<(), Stop> {
        let settled = self.settle(draft, wanted)?;
        if settled.nowhere > 0 {
            let component = wanted.component.name.clone();
            return Err(Refusal::NoPlace {
                component,
                replicas: settled.nowhere,
                reasons: settled.reasons.into_iter().collect(),
            }
            .into());
        }
        self.note(wanted.workload, &settled);
        Ok(())
    }

    /// Remembers a workload that is not settled.
    fn note(&mut self, workload: &Name, settled: &Settled) {
        if settled.nowhere + settled.held > 0 {
            self.list(workload);
        }
    }

    fn list(&mut self, workload: &Name) {
        if !self.unplaced.workloads.contains(workload) {
            self.unplaced.workloads.push(workload.clone());
        }
    }
}

/// Writes what is said of a node, unless that is nothing.
pub(crate) fn keep<V: StateView>(draft: &mut Draft<'_, V>, node: &NodeId, record: &NodeRecord) {
    let key = StateKey::node(node);
    match *record == NodeRecord::default() {
        true => draft.remove(key),
        false => draft.write(key, record),
    }
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
        let placed = placed(draft, &spec.name, component, component.replicas)?;
        for (index, placement) in (0..component.replicas).zip(placed) {
            if let Some(placement) = placement {
                let key = StateKey::placement(&spec.name, &component.name, index);
                let (node, generation) = (placement.node, *generation);
                draft.write(key, &PlacementRecord { node, generation });
            }
        }
    }
    Ok(())
}
