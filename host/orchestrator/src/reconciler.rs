//! The reconciler: compares what the ledger places on this node with what runs, and asks for the
//! difference. Acts on finalised state only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ledger::{DecodeRecordError, View};
use types::{ComponentSpec, Name, NodeId};

use crate::replica::{Observed, Phase, Replica};

/// The address of a replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// The deployment.
    pub workload: Name,
    /// Its component.
    pub component: Name,
    /// Which replica of it.
    pub index: u16,
}

impl std::fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.workload, self.component, self.index)
    }
}

/// What happened to an instance that an effect asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It takes calls.
    Started,
    /// It ended by itself, or could not start.
    Ended {
        /// Why, unless it ended well.
        failure: Option<String>,
    },
    /// It was stopped on request and is gone.
    Stopped,
}

/// What the node must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start an instance. Exactly one [`Event`] of `Started` or `Ended` follows, then others.
    Start {
        /// Which replica.
        key: ReplicaKey,
        /// Of which generation: events must name it.
        generation: u64,
        /// What to start.
        spec: Arc<ComponentSpec>,
    },
    /// Stop an instance, letting its calls end. Exactly one [`Event::Stopped`] follows.
    Stop {
        /// Which replica.
        key: ReplicaKey,
        /// Of which generation.
        generation: u64,
    },
}

/// Follows the replicas that the ledger places on one node.
#[derive(Debug)]
pub struct Reconciler {
    node: NodeId,
    replicas: BTreeMap<ReplicaKey, Replica>,
    /// Generations that were asked to stop and have not said that they did.
    dying: BTreeMap<ReplicaKey, BTreeSet<u64>>,
    /// Wanted next under a key whose former instance is still stopping.
    successors: BTreeMap<ReplicaKey, (u64, Arc<ComponentSpec>)>,
    effects: VecDeque<Effect>,
}

impl Reconciler {
    /// Begins with nothing running.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self {
            node,
            replicas: BTreeMap::new(),
            dying: BTreeMap::new(),
            successors: BTreeMap::new(),
            effects: VecDeque::new(),
        }
    }

    /// Takes the state after a final block.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it; nothing is changed then.
    pub fn ledger_changed(&mut self, now_ms: u64, view: &View) -> Result<(), DecodeRecordError> {
        let wanted = self.wanted(view)?;
        let gone: Vec<_> = self
            .replicas
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            self.successors.remove(&key);
            self.withdraw(&key);
        }
        for (key, (generation, spec)) in wanted {
            self.want(now_ms, key, generation, spec);
        }
        Ok(())
    }

    /// Takes what happened to an instance. Events of instances that are no longer followed are
    /// ignored.
    pub fn instance_changed(
        &mut self,
        now_ms: u64,
        key: &ReplicaKey,
        generation: u64,
        event: Event,
    ) {
        if self
            .dying
            .get(key)
            .is_some_and(|dying| dying.contains(&generation))
        {
            if !matches!(event, Event::Started) {
                self.died(now_ms, key, generation);
            }
            return;
        }
        let Some(replica) = self.replicas.get_mut(key) else {
            return;
        };
        match event {
            // It ended by itself while its successor was being started.
            Event::Ended { .. } | Event::Stopped if replica.predecessor == Some(generation) => {
                replica.predecessor = None;
            }
            _ if replica.generation != generation => {}
            Event::Started if replica.phase == Phase::Starting => {
                replica.started(now_ms);
                self.stop_predecessor(key);
            }
            Event::Ended { failure }
                if matches!(replica.phase, Phase::Starting | Phase::Running) =>
            {
                replica.ended(now_ms, failure);
            }
            _ => {}
        }
    }

    /// Starts what has waited long enough.
    pub fn time_passed(&mut self, now_ms: u64) {
        for (key, replica) in &mut self.replicas {
            if matches!(replica.phase, Phase::Waiting { until_ms } if until_ms <= now_ms) {
                replica.restart(now_ms);
                self.effects.push_back(start(key, replica));
            }
        }
    }

    /// When [`Self::time_passed`] has something to do next.
    #[must_use]
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.replicas
            .values()
            .filter_map(|replica| match replica.phase {
                Phase::Waiting { until_ms } => Some(until_ms),
                _ => None,
            })
            .min()
    }

    /// The next thing to do; none until something changes.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What is known of one replica; none if this node never had it.
    #[must_use]
    pub fn observed(&self, key: &ReplicaKey) -> Option<Observed> {
        self.replicas.get(key).map(Replica::observed)
    }

    /// All replicas that this node follows, stopping ones included.
    pub fn replicas(&self) -> impl Iterator<Item = (&ReplicaKey, Observed)> {
        self.replicas
            .iter()
            .map(|(key, replica)| (key, replica.observed()))
    }

    fn wanted(
        &self,
        view: &View,
    ) -> Result<BTreeMap<ReplicaKey, (u64, Arc<ComponentSpec>)>, DecodeRecordError> {
        let mut specs: BTreeMap<(Name, Name), Arc<ComponentSpec>> = BTreeMap::new();
        for deployment in view.deployments()? {
            for component in deployment.spec.components {
                let key = (deployment.spec.name.clone(), component.name.clone());
                specs.insert(key, Arc::new(component));
            }
        }
        let here = view
            .placements()?
            .into_iter()
            .filter(|placed| placed.node == self.node);
        Ok(here
            .filter_map(|placed| {
                let spec = specs.get(&(placed.workload.clone(), placed.component.clone()))?;
                let (workload, component, index) =
                    (placed.workload, placed.component, placed.index);
                let key = ReplicaKey {
                    workload,
                    component,
                    index,
                };
                Some((key, (placed.generation, Arc::clone(spec))))
            })
            .collect())
    }

    fn want(&mut self, now_ms: u64, key: ReplicaKey, generation: u64, spec: Arc<ComponentSpec>) {
        let Some(current) = self.replicas.get(&key) else {
            let replica = Replica::new(now_ms, generation, spec);
            self.effects.push_back(start(&key, &replica));
            self.replicas.insert(key, replica);
            return;
        };
        if current.phase == Phase::Stopping {
            self.successors.insert(key, (generation, spec));
            return;
        }
        if current.generation == generation {
            return;
        }
        let mut next = Replica::new(now_ms, generation, spec);
        let serving = match current.phase {
            Phase::Running => Some(current.generation),
            Phase::Starting | Phase::Waiting { .. } | Phase::Failed => current.predecessor,
            Phase::Completed | Phase::Stopping => None,
        };
        let abandoned = (current.phase == Phase::Starting).then_some(current.generation);
        let alive = serving.is_some() || abandoned.is_some() || self.dying.contains_key(&key);
        if alive && !(next.overlaps() && current.overlaps()) {
            self.successors.insert(key.clone(), (generation, next.spec));
            self.withdraw(&key);
            return;
        }
        if let Some(generation) = abandoned {
            self.stop(&key, generation);
        }
        next.predecessor = serving;
        self.effects.push_back(start(&key, &next));
        self.replicas.insert(key, next);
    }

    /// Stops whatever of `key` is alive, and forgets it if nothing is.
    fn withdraw(&mut self, key: &ReplicaKey) {
        self.stop_predecessor(key);
        let Some(replica) = self.replicas.get(key) else {
            return;
        };
        if matches!(replica.phase, Phase::Starting | Phase::Running) {
            let generation = replica.generation;
            self.stop(key, generation);
        }
        if !self.dying.contains_key(key) {
            self.replicas.remove(key);
        } else if let Some(replica) = self.replicas.get_mut(key) {
            replica.phase = Phase::Stopping;
        }
    }

    fn stop_predecessor(&mut self, key: &ReplicaKey) {
        if let Some(generation) = self
            .replicas
            .get_mut(key)
            .and_then(|r| r.predecessor.take())
        {
            self.stop(key, generation);
        }
    }

    fn stop(&mut self, key: &ReplicaKey, generation: u64) {
        self.dying
            .entry(key.clone())
            .or_default()
            .insert(generation);
        self.effects.push_back(Effect::Stop {
            key: key.clone(),
            generation,
        });
    }

    /// The last one to go makes room for what is wanted next.
    fn died(&mut self, now_ms: u64, key: &ReplicaKey, generation: u64) {
        let Some(dying) = self.dying.get_mut(key) else {
            return;
        };
        dying.remove(&generation);
        if !dying.is_empty() {
            return;
        }
        self.dying.remove(key);
        if self
            .replicas
            .get(key)
            .is_some_and(|replica| replica.phase == Phase::Stopping)
        {
            self.replicas.remove(key);
            if let Some((generation, spec)) = self.successors.remove(key) {
                self.want(now_ms, key.clone(), generation, spec);
            }
        }
    }
}

fn start(key: &ReplicaKey, replica: &Replica) -> Effect {
    Effect::Start {
        key: key.clone(),
        generation: replica.generation,
        spec: Arc::clone(&replica.spec),
    }
}
