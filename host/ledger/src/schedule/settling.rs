//! Where the replicas of one component stay and go. Knows no deployment as a whole.

use std::collections::BTreeMap;

use types::{ComponentSpec, Constraints, Name, NodeId};

use super::choice::Choice;
use super::{Scheduler, Site};
use crate::key::StateKey;
use crate::node::{HANDOVER_MS, Misfit};
use crate::record::PlacementRecord;
use crate::state::{Draft, NotLoaded, StateView};

/// Replicas of one component that are to be where they belong.
pub(super) struct Wanted<'a> {
    pub(super) workload: &'a Name,
    pub(super) component: &'a ComponentSpec,
    /// How many it had.
    pub(super) before: u16,
    /// What their placements carry: those that stay their own where there is none here.
    pub(super) kept_generation: Option<u64>,
    /// What the placements of those that go somewhere carry.
    pub(super) new_generation: u64,
}

/// What became of them.
#[derive(Default)]
pub(super) struct Settled {
    /// Replicas that have no place.
    pub(super) nowhere: u32,
    /// Replicas that stay on a node that is gone or draining.
    pub(super) held: u32,
    /// Why they go to no other node: how many nodes for each reason.
    pub(super) reasons: BTreeMap<Misfit, u32>,
}

impl Scheduler {
    /// Brings the replicas of a component to where they belong.
    pub(super) fn settle<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        wanted: &Wanted<'_>,
    ) -> Result<Settled, NotLoaded> {
        let Wanted {
            workload,
            component,
            ..
        } = *wanted;
        let constraints = &component.placement;
        self.look_into(draft, constraints)?;
        self.vacate(
            draft,
            workload,
            component,
            component.replicas..wanted.before,
        )?;
        let kept = wanted.before.min(component.replicas);
        let mut placed = placed(draft, workload, component, kept)?;
        placed.resize(usize::from(component.replicas), None);
        let mut choice = Choice::new(&self.sites, constraints);
        let mut homeless = Vec::new();
        for (index, placement) in placed.into_iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let site = placement.as_ref().and_then(|it| self.site(&it.node));
            match (placement, site) {
                (Some(placement), Some(site)) if choice.stays(&self.sites, site) => {
                    choice.count(site);
                    keep_placement(draft, wanted, index, &placement);
                }
                (placement, site) => homeless.push((index, placement, site)),
            }
        }
        let mut settled = Settled::default();
        for (index, placement, old) in homeless {
            let waits = component.is_singleton() && old.is_some_and(|at| self.may_run_on(at));
            let to = choice.best(&self.sites).filter(|_| !waits);
            if let Some(to) = to {
                self.leave(placement.as_ref(), workload);
                self.put(draft, wanted, index, to);
                choice.count(to);
                continue;
            }
            settled.reasons = choice.reasons(&self.sites);
            let holds = |site: &Site| choice.may_hold(site);
            match (placement, old) {
                (Some(placement), Some(old)) if self.sites.get(old).is_some_and(holds) => {
                    settled.held += 1;
                    choice.count(old);
                    keep_placement(draft, wanted, index, &placement);
                }
                (placement, _) => {
                    settled.nowhere += 1;
                    self.leave(placement.as_ref(), workload);
                    if placement.is_some() {
                        draft.remove(StateKey::placement(workload, &component.name, index));
                    }
                }
            }
        }
        Ok(settled)
    }

    /// Whether a node that is gone may not have noticed yet, so that its singletons still run.
    fn may_run_on(&self, at: usize) -> bool {
        let since_ms = self.sites.get(at).and_then(|site| site.gone_since_ms);
        since_ms.is_some_and(|since| self.time_ms < since.saturating_add(HANDOVER_MS))
    }

    fn site(&self, node: &NodeId) -> Option<usize> {
        self.sites.binary_search_by(|site| site.node.cmp(node)).ok()
    }

    /// Reads what is on all nodes, if `constraints` ask for it.
    fn look_into<V: StateView>(
        &mut self,
        draft: &Draft<'_, V>,
        constraints: &Constraints,
    ) -> Result<(), NotLoaded> {
        let asks = !constraints.near.is_empty() || !constraints.away.is_empty();
        if !asks || self.sites.iter().all(|site| site.workloads.is_some()) {
            return Ok(());
        }
        let keys = self.sites.iter();
        draft.want(keys.map(|site| StateKey::node_workloads(&site.node)))?;
        for site in &mut self.sites {
            let found = draft.read(&StateKey::node_workloads(&site.node))?;
            site.workloads = Some(found.unwrap_or_default());
        }
        Ok(())
    }

    fn put<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        wanted: &Wanted<'_>,
        index: u16,
        to: usize,
    ) {
        let Some(site) = self.sites.get_mut(to) else {
            return;
        };
        site.count(wanted.workload, 1);
        let key = StateKey::placement(wanted.workload, &wanted.component.name, index);
        let record = PlacementRecord {
            node: site.node,
            generation: wanted.new_generation,
        };
        draft.write(key, &record);
    }

    /// Takes a replica off the node that it was on.
    fn leave(&mut self, placement: Option<&PlacementRecord>, workload: &Name) {
        let site = placement.and_then(|placement| self.site(&placement.node));
        if let Some(site) = site.and_then(|at| self.sites.get_mut(at)) {
            site.count(workload, -1);
        }
    }

    pub(super) fn vacate<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        workload: &Name,
        component: &ComponentSpec,
        indices: std::ops::Range<u16>,
    ) -> Result<(), NotLoaded> {
        let keys = indices.map(|index| StateKey::placement(workload, &component.name, index));
        let keys: Vec<StateKey> = keys.collect();
        draft.want(keys.iter().cloned())?;
        for key in keys {
            if let Some(placement) = draft.read::<PlacementRecord>(&key)? {
                self.leave(Some(&placement), workload);
                draft.remove(key);
            }
        }
        Ok(())
    }
}

/// The placements of a component's first replicas, in their order.
pub(super) fn placed<V: StateView>(
    draft: &Draft<'_, V>,
    workload: &Name,
    component: &ComponentSpec,
    replicas: u16,
) -> Result<Vec<Option<PlacementRecord>>, NotLoaded> {
    let keys = (0..replicas).map(|index| StateKey::placement(workload, &component.name, index));
    let keys: Vec<StateKey> = keys.collect();
    draft.want(keys.iter().cloned())?;
    keys.iter().map(|key| draft.read(key)).collect()
}

fn keep_placement<V: StateView>(
    draft: &mut Draft<'_, V>,
    wanted: &Wanted<'_>,
    index: u16,
    placement: &PlacementRecord,
) {
    let generation = wanted.kept_generation.unwrap_or(placement.generation);
    if generation != placement.generation {
        let key = StateKey::placement(wanted.workload, &wanted.component.name, index);
        let node = placement.node;
        draft.write(key, &PlacementRecord { node, generation });
    }
}
