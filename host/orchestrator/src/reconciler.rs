//! The reconciler: compares what the ledger places on this node with what runs, and asks for the
//! difference. Acts on finalised state only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ledger::{DecodeRecordError, DesiredState, Placement, View};
use types::{Name, NodeId};

use crate::effect::{Effect, Event, ReplicaKey};
use crate::lifecycle::{Lifecycle, Step};
use crate::replica::{Observed, Replica, Wanted};

/// Follows the replicas that the ledger places on one node.
#[derive(Debug)]
pub struct Reconciler {
    node: NodeId,
    replicas: BTreeMap<ReplicaKey, Replica>,
    /// Generations that were asked to stop and have not said that they did.
    dying: BTreeMap<ReplicaKey, BTreeSet<u64>>,
    /// Wanted next under a key whose former instance is still stopping.
    successors: BTreeMap<ReplicaKey, Wanted>,
    /// Every replica that waits for its next start, and some that no longer do.
    waiting: BTreeSet<ReplicaKey>,
    /// Whether singletons are kept from running.
    halts_singletons: bool,
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
            waiting: BTreeSet::new(),
            halts_singletons: false,
            effects: VecDeque::new(),
        }
    }

    /// Keeps singletons from running from now on, as if their deployments were paused, or lets them go on.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote the state.
    pub fn halt_singletons(
        &mut self,
        now_ms: u64,
        halts: bool,
        view: &View,
    ) -> Result<(), DecodeRecordError> {
        if self.halts_singletons == halts {
            return Ok(());
        }
        self.halts_singletons = halts;
        self.ledger_changed(now_ms, view)
    }

    /// Takes the whole state after a final block.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it; nothing is changed then.
    pub fn ledger_changed(&mut self, now_ms: u64, view: &View) -> Result<(), DecodeRecordError> {
        let deployments = view.deployments()?;
        let deployed = deployments
            .iter()
            .map(|deployed| deployed.spec.name.clone());
        let followed = self.replicas.keys().map(|key| key.workload.clone());
        let all = deployed.chain(followed).collect();
        self.workloads_changed(now_ms, view, &all)
    }

    /// Takes what a final block changed: the state of these workloads, deployed or not. All others
    /// are as they were, and cost nothing.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it; nothing is changed then.
    pub fn workloads_changed(
        &mut self,
        now_ms: u64,
        view: &View,
        workloads: &BTreeSet<Name>,
    ) -> Result<(), DecodeRecordError> {
        let mut wanted = BTreeMap::new();
        for workload in workloads {
            self.wanted(view, workload, &mut wanted)?;
        }
        let gone: Vec<_> = workloads
            .iter()
            .flat_map(|workload| self.followed(workload))
            .filter(|key| !wanted.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            self.successors.remove(&key);
            self.withdraw(&key);
        }
        for (key, wanted) in wanted {
            self.want(now_ms, key, wanted);
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
            if matches!(event, Event::Ended { .. } | Event::Stopped) {
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
            Event::Started => self.reported(now_ms, key, Step::Started),
            Event::Paused => self.reported(now_ms, key, Step::Paused),
            Event::Resumed => self.reported(now_ms, key, Step::Resumed),
            // An end that is reported twice changes nothing.
            Event::Ended { failure } => {
                drop(replica.ended(now_ms, failure));
                if matches!(replica.state(), Lifecycle::Waiting { .. }) {
                    self.waiting.insert(key.clone());
                }
            }
            // Nobody asked for it: not an end that an instance reports.
            Event::Stopped => {}
        }
    }

    /// Starts what has waited long enough.
    pub fn time_passed(&mut self, now_ms: u64) {
        let (replicas, effects) = (&mut self.replicas, &mut self.effects);
        self.waiting.retain(|key| {
            let Some(replica) = replicas.get_mut(key) else {
                return false;
            };
            let due = replica.restarts_at_ms().is_some_and(|at| at <= now_ms);
            if due && replica.start(now_ms).is_ok() {
                effects.push_back(start(key, replica));
            }
            // One that is paused waits until it is resumed.
            matches!(replica.state(), Lifecycle::Waiting { .. })
        });
    }

    /// When [`Self::time_passed`] has something to do next.
    #[must_use]
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.waiting
            .iter()
            .filter_map(|key| self.replicas.get(key)?.restarts_at_ms())
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

    /// The replicas of one workload that are followed.
    fn followed(&self, workload: &Name) -> impl Iterator<Item = &ReplicaKey> {
        let first = ReplicaKey {
            workload: workload.clone(),
            component: Name::least(),
            index: 0,
        };
        let keys = self.replicas.range(first..).map(|(key, _)| key);
        keys.take_while(move |key| key.workload == *workload)
    }

    /// Adds what the ledger places here of one workload.
    fn wanted(
        &self,
        view: &View,
        workload: &Name,
        wanted: &mut BTreeMap<ReplicaKey, Wanted>,
    ) -> Result<(), DecodeRecordError> {
        let Some(deployment) = view.deployment(workload)? else {
            return Ok(());
        };
        let placements = view.placements_of(workload)?.into_iter();
        for placed in placements.filter(|placed| placed.node == self.node) {
            let mut components = deployment.spec.components.iter();
            let Some(spec) = components.find(|spec| spec.name == placed.component) else {
                continue;
            };
            let Placement {
                workload,
                component,
                index,
                generation,
                ..
            } = placed;
            let key = ReplicaKey {
                workload,
                component,
                index,
            };
            // Most are as they were: what is known of them need not be copied again.
            let known = self.replicas.get(&key);
            let known = known.filter(|replica| replica.generation == generation);
            let spec = known.map_or_else(
                || Arc::new(spec.clone()),
                |replica| Arc::clone(&replica.spec),
            );
            let halted = self.halts_singletons && spec.is_singleton();
            let paused = halted || deployment.desired == DesiredState::Paused;
            let next = Wanted {
                generation,
                spec,
                paused,
            };
            wanted.insert(key, next);
        }
        Ok(())
    }

    fn want(&mut self, now_ms: u64, key: ReplicaKey, wanted: Wanted) {
        let Some(current) = self.replicas.get(&key) else {
            self.begin(now_ms, key, Replica::new(wanted));
            return;
        };
        if current.leaving {
            self.successors.insert(key, wanted);
            return;
        }
        if current.generation == wanted.generation {
            self.hold(&key, wanted.paused);
            return;
        }
        let mut next = Replica::new(wanted.clone());
        let serving = match current.state() {
            Lifecycle::Running | Lifecycle::Pausing | Lifecycle::Paused | Lifecycle::Resuming => {
                Some(current.generation)
            }
            Lifecycle::Created
            | Lifecycle::Starting
            | Lifecycle::Waiting { .. }
            | Lifecycle::Failed { .. } => current.predecessor,
            Lifecycle::Completed | Lifecycle::Stopping | Lifecycle::Stopped => None,
        };
        let starting = *current.state() == Lifecycle::Starting;
        let abandoned = starting.then_some(current.generation);
        let alive = serving.is_some() || abandoned.is_some() || self.dying.contains_key(&key);
        if alive && !(next.overlaps() && current.overlaps()) {
            self.successors.insert(key.clone(), wanted);
            self.withdraw(&key);
            return;
        }
        let turned = current.paused != wanted.paused;
        if let Some(generation) = serving.filter(|_| turned) {
            self.turn(&key, generation, wanted.paused);
        }
        if let Some(generation) = abandoned {
            self.stop(&key, generation);
        }
        next.predecessor = serving;
        self.begin(now_ms, key, next);
    }

    fn begin(&mut self, now_ms: u64, key: ReplicaKey, mut replica: Replica) {
        // A new replica can always be started.
        if replica.start(now_ms).is_ok() {
            self.effects.push_back(start(&key, &replica));
        }
        self.replicas.insert(key, replica);
    }

    /// Pauses or resumes what lives under `key` and stays of its generation.
    fn hold(&mut self, key: &ReplicaKey, paused: bool) {
        let Some(replica) = self.replicas.get_mut(key) else {
            return;
        };
        if replica.paused == paused {
            return;
        }
        replica.paused = paused;
        let generation = replica.generation;
        let starting = *replica.state() == Lifecycle::Starting;
        if let Some(predecessor) = replica.predecessor {
            self.turn(key, predecessor, paused);
        }
        if starting {
            self.turn(key, generation, paused);
        }
        self.align(key);
    }

    /// Asks for the next step towards what is meant. While a request is under way, its answer is
    /// waited for.
    fn align(&mut self, key: &ReplicaKey) {
        let Some(replica) = self.replicas.get_mut(key) else {
            return;
        };
        let (generation, paused) = (replica.generation, replica.paused);
        let step = match (replica.state(), paused) {
            (Lifecycle::Running, true) => Step::Pause,
            (Lifecycle::Paused, false) => Step::Resume,
            _ => return,
        };
        if replica.step(step).is_ok() {
            self.turn(key, generation, paused);
        }
    }

    fn turn(&mut self, key: &ReplicaKey, generation: u64, paused: bool) {
        let key = key.clone();
        self.effects.push_back(if paused {
            Effect::Pause { key, generation }
        } else {
            Effect::Resume { key, generation }
        });
    }

    /// Takes a report of the generation that is followed; one that answers no request is ignored.
    fn reported(&mut self, now_ms: u64, key: &ReplicaKey, step: Step) {
        let Some(replica) = self.replicas.get_mut(key) else {
            return;
        };
        let starting = *replica.state() == Lifecycle::Starting;
        if replica.step(step).is_err() {
            return;
        }
        if starting {
            replica.came_up(now_ms);
            self.stop_predecessor(key);
        }
        self.align(key);
    }

    /// Stops whatever of `key` is alive, and forgets it if nothing is.
    fn withdraw(&mut self, key: &ReplicaKey) {
        self.stop_predecessor(key);
        let Some(replica) = self.replicas.get_mut(key) else {
            return;
        };
        let (live, generation) = (replica.state().is_live(), replica.generation);
        // One that is stopping already goes on stopping.
        let asked = replica.step(Step::Stop).is_ok();
        replica.leaving = true;
        if live && asked {
            self.stop(key, generation);
        }
        if !self.dying.contains_key(key) {
            self.replicas.remove(key);
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
        let none = dying.is_empty();
        if let Some(replica) = self.replicas.get_mut(key)
            && replica.generation == generation
        {
            // Its last step; an abandoned generation has none of its own.
            drop(replica.step(Step::Stopped));
        }
        if !none {
            return;
        }
        self.dying.remove(key);
        if self
            .replicas
            .get(key)
            .is_some_and(|replica| replica.leaving)
        {
            if let Some(gone) = self.replicas.remove(key) {
                assert_eq!(
                    *gone.state(),
                    Lifecycle::Stopped,
                    "every stop ends in stopped"
                );
            }
            if let Some(wanted) = self.successors.remove(key) {
                self.want(now_ms, key.clone(), wanted);
            }
        }
    }
}

fn start(key: &ReplicaKey, replica: &Replica) -> Effect {
    Effect::Start {
        key: key.clone(),
        generation: replica.generation,
        spec: Arc::clone(&replica.spec),
        paused: replica.paused,
    }
}
