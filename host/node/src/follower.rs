//! Follows the ledger: takes final blocks into the view and lets the reconciler act on them.

mod touched;

use std::collections::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use consensus::{Finalized, FinalizedBlock, Snapshot};
use ledger::{DecodeRecordError, DeploymentRecord, Placement, View};
use orchestrator::{Effect, Event, ReplicaKey, RouteTable, Target};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use types::{Digest, Name, NodeId, Route, Topic};

use crate::artifact_room::{Pins, named};
use crate::bus::Subscriber;
use crate::instance::{Instance, InstanceEvent};
use crate::observer::labels;
use crate::shared::Shared;

use touched::Touched;

/// Events of instances that may wait for the follower.
const EVENTS_MAX: usize = 1_024;

/// How long an artifact that no deployment names is kept: it may belong to a deployment that is
/// just being made.
const UNUSED_ARTIFACT_AGE: Duration = Duration::from_secs(15 * 60);

/// Pause between two looks for unused artifacts: each lists a folder and every deployment, and none
/// is urgent.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// Follows one ledger.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    blocks: mpsc::Receiver<Finalized>,
    events: mpsc::Receiver<InstanceEvent>,
    sender: mpsc::Sender<InstanceEvent>,
    instances: HashMap<(ReplicaKey, u64), Handle>,
    stop: CancellationToken,
    /// Which artifacts stay.
    pins: Pins,
    /// Whether something of workloads that are gone may be left.
    untidy: bool,
    /// When unused artifacts were last removed, and are to be next.
    swept: Option<Instant>,
    sweep_at: Option<Instant>,
}

/// What is told to one instance.
struct Handle {
    stop: CancellationToken,
    paused: watch::Sender<bool>,
    /// What it was made of: it stays as long as the instance lives.
    artifacts: Vec<Digest>,
    task: JoinHandle<()>,
}

impl Follower {
    pub(crate) fn new(
        shared: Arc<Shared>,
        blocks: mpsc::Receiver<Finalized>,
        stop: CancellationToken,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut pins = Pins::default();
        // State that is not understood ends the node as soon as it is followed.
        for deployment in shared.state().view.deployments().iter().flatten() {
            pins.deployed(&deployment.spec.name, Some(deployment));
        }
        pins.kept(kept(&shared).unwrap_or_default());
        // Before anything new can come and push something out.
        pin(&shared, &mut pins);
        Self {
            shared,
            pins,
            blocks,
            events,
            sender,
            instances: HashMap::new(),
            stop,
            // A node that was killed may have left something.
            untidy: true,
            swept: None,
            sweep_at: None,
        }
    }

    /// Follows until told to stop, then stops every instance.
    pub(crate) async fn follow(mut self) {
        let mut singletons = self.shared.runs_singletons.subscribe();
        self.halt_singletons(!*singletons.borrow_and_update());
        self.begin();
        loop {
            let timeout = self.shared.reconciler().next_timeout_ms();
            let due = timeout.map(|at| self.shared.started + Duration::from_millis(at));
            let due = due.map(Instant::from_std);
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => break,
                block = self.blocks.recv() => match block {
                    Some(Finalized::Block(block)) => self.take_block(block),
                    Some(Finalized::State(state)) => self.take_state(state),
                    None => {
                        self.ledger_ended().await;
                        break;
                    }
                },
                Some(event) = self.events.recv() => self.take_event(event),
                Ok(()) = singletons.changed() => {
                    let runs = *singletons.borrow_and_update();
                    self.halt_singletons(!runs);
                }
                () = sleep_until(due) => self.reconcile(None),
                () = sleep_until(self.sweep_at) => self.sweep(),
            }
        }
        self.stop_instances().await;
    }

    /// Takes the state that the node starts with.
    fn begin(&mut self) {
        let deployments = self.shared.state().view.deployments();
        match deployments {
            Ok(deployments) => {
                let names = deployments.iter().map(|entry| entry.spec.name.clone());
                self.reconcile(Some(names.collect()));
            }
            Err(error) => self.not_understood(&error),
        }
    }

    /// Keeps singletons from running, or lets them go on.
    fn halt_singletons(&mut self, halts: bool) {
        tracing::debug!(halts, "singletons");
        let now_ms = self.shared.now_ms();
        let halted = {
            let state = self.shared.state();
            let mut reconciler = self.shared.reconciler();
            reconciler.halt_singletons(now_ms, halts, &state.view)
        };
        match halted {
            Ok(()) => self.reconcile(None),
            Err(error) => self.not_understood(&error),
        }
    }

    fn take_block(&mut self, block: FinalizedBlock) {
        // Before its height shows: whoever waits for it then finds it.
        self.shared.history.push(block.clone());
        let FinalizedBlock {
            height,
            time_ms,
            changes,
            transactions,
            ..
        } = block;
        tracing::debug!(height, transactions = transactions.len(), "final block");
        self.go_on(Touched::by(&changes), |view| {
            view.advance(height, time_ms, changes);
        });
    }

    /// Goes on from a state that peers have proven: this node was too far behind.
    fn take_state(&mut self, state: Snapshot) {
        let Snapshot {
            height,
            time_ms,
            entries,
            ..
        } = state;
        tracing::info!(height, "went on from the state of peers");
        self.shared.history.skip_to(height);
        let changes = self.shared.state().view.changes_to(entries);
        self.go_on(Touched::by(&changes), |view| {
            view.skip(height, time_ms, changes);
        });
    }

    /// Changes the view, and lets everybody see who has to do with what changes.
    fn go_on(&mut self, touched: Touched, change: impl FnOnce(&mut View)) {
        {
            let mut state = self
                .shared
                .state
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            change(&mut state.view);
        }
        // Before anybody is told of the block: what it ended has ended then.
        self.shared.memory.followed(&self.shared);
        if let (true, Some(peers)) = (touched.standing, self.shared.peers.get()) {
            peers.standing_changed(&self.shared);
        }
        if touched.space {
            match kept(&self.shared) {
                Ok(roots) => self.pins.kept(roots),
                Err(error) => self.not_understood(&error),
            }
        }
        self.reconcile(Some(touched.workloads));
    }

    fn take_event(&mut self, event: InstanceEvent) {
        let InstanceEvent {
            key,
            generation,
            event,
        } = event;
        tracing::info!(replica = %key, generation, "{}", describe(&event));
        if matches!(event, Event::Ended { .. } | Event::Stopped) {
            let ended = self.instances.remove(&(key.clone(), generation));
            self.pins
                .release(ended.into_iter().flat_map(|handle| handle.artifacts));
            // Before anybody can hear that it has ended, and rely on the room.
            pin(&self.shared, &mut self.pins);
        }
        let now_ms = self.shared.now_ms();
        self.shared
            .reconciler()
            .instance_changed(now_ms, &key, generation, event);
        self.reconcile(None);
    }

    /// An older release must not act on what it cannot read.
    fn not_understood(&self, error: &DecodeRecordError) {
        self.shared
            .fail(format!("the ledger's state is not understood: {error}"));
    }

    /// Lets the reconciler look again, at what the ledger changed if it did, and carries out what
    /// it asks for.
    fn reconcile(&mut self, changed: Option<BTreeSet<Name>>) {
        let now_ms = self.shared.now_ms();
        if let Some(changed) = changed
            && let Err(error) = self.look_at_ledger(now_ms, &changed)
        {
            self.not_understood(&error);
        }
        self.shared.reconciler().time_passed(now_ms);
        loop {
            let effect = self.shared.reconciler().poll_effect();
            match effect {
                None => break,
                Some(effect) => self.carry_out(effect),
            }
        }
        pin(&self.shared, &mut self.pins);
        self.shared.changed();
    }

    /// Takes what a block changed of some workloads. What it did not touch costs nothing here.
    fn look_at_ledger(
        &mut self,
        now_ms: u64,
        changed: &BTreeSet<Name>,
    ) -> Result<(), DecodeRecordError> {
        let shared = &self.shared;
        let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, mut wanted, mut gone) = (Vec::new(), BTreeMap::new(), false);
        for workload in changed {
            let deployment = state.view.deployment(workload)?;
            self.pins.deployed(workload, deployment.as_ref());
            let Some(deployment) = deployment else {
                gone = true;
                continue;
            };
            taken.extend(routes(&deployment));
            let placements = state.view.placements_of(workload)?;
            wanted.extend(subscriptions(shared.node, &deployment, &placements));
        }
        Arc::make_mut(&mut state.routes).replace(changed, taken);
        shared
            .reconciler()
            .workloads_changed(now_ms, &state.view, changed)?;
        drop(state);
        shared.bus.subscribe(shared, changed, wanted);
        if gone || self.untidy {
            // Once more with the next block: what was removed may have been about to write.
            self.untidy = gone;
            self.tidy()?;
        }
        if !changed.is_empty() || self.swept.is_none() {
            let soonest = self.swept.map_or_else(Instant::now, |at| at + SWEEP_PAUSE);
            self.sweep_at.get_or_insert(soonest);
        }
        Ok(())
    }

    /// Forgets what belongs to no deployment.
    fn tidy(&mut self) -> Result<(), DecodeRecordError> {
        let shared = &self.shared;
        let deployments = shared.state().view.deployments()?;
        let names: BTreeSet<_> = deployments
            .iter()
            .map(|deployment| deployment.spec.name.clone())
            .collect();
        shared.logs.retain(|workload| names.contains(workload));
        if let Err(error) = shared.states.retain(&names) {
            tracing::warn!("checkpoints of removed workloads stay on disk: {error}");
        }
        if shared.stores.retain(&names) {
            self.untidy = true;
            let stores = Arc::clone(&shared.stores);
            tokio::task::spawn_blocking(move || stores.remove_marked());
        }
        shared.replicas.retain_stats(|key| {
            let live = names.contains(&key.workload);
            if !live {
                shared.metrics.forget(&labels(key));
            }
            live
        });
        Ok(())
    }

    /// Removes artifacts that no deployment names.
    fn sweep(&mut self) {
        self.swept = Some(Instant::now());
        self.sweep_at = None;
        // State that is not understood ends the node, and costs no artifact here.
        let Ok(deployments) = self.shared.state().view.deployments() else {
            return;
        };
        let components = deployments
            .iter()
            .flat_map(|deployment| &deployment.spec.components);
        let live: BTreeSet<Digest> = components.flat_map(named).collect();
        let artifacts = self.shared.artifacts.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = artifacts.sweep(&live, UNUSED_ARTIFACT_AGE) {
                tracing::warn!("unused artifacts stay on disk: {error}");
            }
        });
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start {
                key,
                generation,
                spec,
                paused,
            } => {
                tracing::info!(replica = %key, generation, paused, "start");
                let artifacts: Vec<Digest> = named(&spec).collect();
                self.pins.take(artifacts.iter().copied());
                let stop = CancellationToken::new();
                let (paused, told) = watch::channel(paused);
                let instance = Instance {
                    shared: Arc::clone(&self.shared),
                    key: key.clone(),
                    generation,
                    spec,
                    paused: told,
                    stop: stop.clone(),
                    events: self.sender.clone(),
                };
                let task = tokio::spawn(instance.live());
                let handle = Handle {
                    stop,
                    paused,
                    artifacts,
                    task,
                };
                self.instances.insert((key, generation), handle);
            }
            Effect::Pause { key, generation } => self.turn(key, generation, true),
            Effect::Resume { key, generation } => self.turn(key, generation, false),
            Effect::Stop { key, generation } => {
                tracing::info!(replica = %key, generation, "stop");
                if let Some(handle) = self.instances.get(&(key, generation)) {
                    handle.stop.cancel();
                }
            }
        }
    }

    fn turn(&self, key: ReplicaKey, generation: u64, paused: bool) {
        let what = if paused { "pause" } else { "resume" };
        tracing::info!(replica = %key, generation, "{what}");
        if let Some(handle) = self.instances.get(&(key, generation)) {
            handle.paused.send_replace(paused);
        }
    }

    async fn ledger_ended(&self) {
        if !self.stop.is_cancelled() {
            let reason = self.shared.ledger.closed().await;
            self.shared.fail(reason.to_string());
        }
    }

    async fn stop_instances(mut self) {
        self.events.close();
        let instances = std::mem::take(&mut self.instances);
        for handle in instances.values() {
            handle.stop.cancel();
        }
        for (_, handle) in instances {
            // An instance that panicked has ended, too.
            let _ = handle.task.await;
        }
    }
}

/// What assets of this node are committed to keep.
fn kept(shared: &Shared) -> Result<BTreeSet<Digest>, DecodeRecordError> {
    let state = shared.state();
    let mut roots = BTreeSet::new();
    for asset in state.view.assets_of(&shared.node)? {
        let kept = state.view.space_of(&asset)?.kept;
        roots.extend(kept.into_iter().map(|kept| kept.root));
    }
    Ok(roots)
}

/// Tells the store which artifacts stay, where that changed.
fn pin(shared: &Shared, pins: &mut Pins) {
    if let Some(digests) = pins.changes() {
        shared.artifacts.pin(digests);
    }
}

/// The routes of everything that is deployed.
pub(crate) fn all_routes(view: &View) -> Result<RouteTable, DecodeRecordError> {
    let deployments = view.deployments()?;
    let all = deployments.iter().flat_map(|deployment| routes(deployment));
    Ok(RouteTable::new(all))
}

/// The routes of a deployment, also of a stopped one: they are taken, and answer that nothing runs.
fn routes(deployment: &DeploymentRecord) -> impl Iterator<Item = (Route, Target)> {
    let components = deployment.spec.components.iter();
    components.flat_map(|component| {
        let target = Target {
            workload: deployment.spec.name.clone(),
            component: component.name.clone(),
        };
        let routes = component.routes.iter();
        routes.map(move |route| (route.clone(), target.clone()))
    })
}

/// What the components of a deployment that are placed here subscribe to.
fn subscriptions(
    node: NodeId,
    deployment: &DeploymentRecord,
    placements: &[Placement],
) -> BTreeMap<Subscriber, BTreeSet<Topic>> {
    let placed: BTreeSet<_> = placements
        .iter()
        .filter(|placement| placement.node == node)
        .map(|placement| &placement.component)
        .collect();
    let workload = &deployment.spec.name;
    let components = deployment.spec.components.iter();
    let subscribing = components
        .filter(|spec| !spec.subscriptions.is_empty() && placed.contains(&spec.name))
        .map(|spec| {
            let topics = spec.subscriptions.iter().cloned().collect();
            ((workload.clone(), spec.name.clone()), topics)
        });
    subscribing.collect()
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Started => "started".to_owned(),
        Event::Paused => "paused".to_owned(),
        Event::Resumed => "resumed".to_owned(),
        Event::Stopped => "stopped".to_owned(),
        Event::Ended { failure: None } => "ended well".to_owned(),
        Event::Ended {
            failure: Some(failure),
        } => format!("ended: {failure}"),
    }
}
