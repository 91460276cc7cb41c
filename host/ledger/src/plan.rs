//! What a deployment would come to in the next block, for those who only ask. Changes nothing.

use types::{Principal, WorkloadSpec};

use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::record::PlacementRecord;
use crate::rules;
use crate::state::{Draft, NotLoaded, StateView};
use crate::view::{Placement, View};

impl StateView for View {
    /// A view has the whole state.
    fn read(&self, key: &StateKey) -> Result<Option<&[u8]>, NotLoaded> {
        Ok(self.value(key))
    }
}

impl View {
    /// Where the replicas of a workload would be if `owner` deployed it in the next block, in place of
    /// what has its name.
    ///
    /// # Errors
    /// The [`Refusal`] that it would get.
    ///
    /// # Panics
    /// If a newer release wrote what decides it: such a view is not acted upon.
    pub fn plan(&self, owner: Principal, spec: &WorkloadSpec) -> Result<Vec<Placement>, Refusal> {
        let replaced = self.deployment(&spec.name).ok().flatten();
        let block = BlockContext {
            height: self.height() + 1,
            time_ms: self.time_ms(),
            parent: types::Digest::of(&[]),
        };
        let mut draft = Draft::new(self);
        let replaces = replaced.map(|replaced| replaced.generation);
        match rules::deploy(&mut draft, &block, owner, spec, replaces) {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => return Err(refusal),
            Err(Stop::NotLoaded(missing)) => panic!("a view has every entry: {missing}"),
        }
        let mut placements = Vec::new();
        for component in &spec.components {
            for index in 0..component.replicas {
                let key = StateKey::placement(&spec.name, &component.name, index);
                let placed: Option<PlacementRecord> = draft.read(&key).ok().flatten();
                placements.extend(placed.map(|placed| Placement {
                    workload: spec.name.clone(),
                    component: component.name.clone(),
                    index,
                    node: placed.node,
                    generation: placed.generation,
                }));
            }
        }
        Ok(placements)
    }
}
