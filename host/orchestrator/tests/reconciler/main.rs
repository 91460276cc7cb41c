//! The reconciler against a small world that starts and stops instances as it is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_orchestrator::{Backoff, Effect, Event, Lifecycle, Reconciler, ReplicaKey};
use ledger::{
    BlockContext, DesiredState, Genesis, Operation, SignedTransaction, StateKey, Transaction, View,
};
use proptest::prelude::*;
use types::{
    ComponentKind, ComponentSpec, Digest, Name, NodeId, PublicKey, Signature, WorkloadSpec,
};

use ed25519_dalek::{Signer as _, SigningKey};

mod pausing;

/// A ledger of one node, its reconciler, and the instances that are alive.
struct World {
    genesis: Genesis,
    operator: SigningKey,
    nonce: u64,
    height: u64,
    now_ms: u64,
    state: BTreeMap<StateKey, Vec<u8>>,
    reconciler: Reconciler,
    starting: BTreeSet<(ReplicaKey, u64)>,
    running: BTreeSet<(ReplicaKey, u64)>,
    stopping: BTreeSet<(ReplicaKey, u64)>,
    /// Whether a live instance was told to halt, and whether it has.
    halted: BTreeMap<(ReplicaKey, u64), (bool, bool)>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn node() -> NodeId {
    PublicKey::from_bytes([1; 32])
}

fn workload(text: &str, kind: ComponentKind, replicas: u16) -> WorkloadSpec {
    let component = ComponentSpec {
        replicas,
        ..ComponentSpec::new(name("main"), kind, Digest::of(text.as_bytes()))
    };
    WorkloadSpec {
        name: name(text),
        components: vec![component],
    }
}

fn key(text: &str, index: u16) -> ReplicaKey {
    ReplicaKey {
        workload: name(text),
        component: name("main"),
        index,
    }
}

impl World {
    fn new() -> Self {
        let operator = SigningKey::from_bytes(&[9; 32]);
        let signer = PublicKey::from_bytes(operator.verifying_key().to_bytes());
        let genesis = Genesis::new(1, [0; 16], vec![node()], vec![node()], vec![signer]).unwrap();
        let mut world = Self {
            genesis,
            operator,
            nonce: 0,
            height: 0,
            now_ms: 0,
            state: BTreeMap::new(),
            reconciler: Reconciler::new(node()),
            starting: BTreeSet::new(),
            running: BTreeSet::new(),
            stopping: BTreeSet::new(),
            halted: BTreeMap::new(),
        };
        world.block(&[]);
        world
    }

    fn block(&mut self, transactions: &[SignedTransaction]) {
        self.height += 1;
        let context = BlockContext {
            height: self.height,
            time_ms: self.height,
            parent: types::Digest::of(&self.height.to_le_bytes()),
        };
        let done = ledger::execute(
            &self.genesis,
            ledger::KnownRules::RELEASED,
            &self.state,
            &context,
            transactions,
        )
        .unwrap();
        let changed = done.changes.keys().filter_map(StateKey::workload);
        let changed: BTreeSet<Name> = changed.collect();
        for (key, value) in done.changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        let view = View::new(self.height, self.height, self.state.clone());
        self.reconciler
            .workloads_changed(self.now_ms, &view, &changed)
            .unwrap();
        let asked: Vec<Effect> = std::iter::from_fn(|| self.reconciler.poll_effect()).collect();
        // Whoever looks at everything finds that nothing was missed.
        self.reconciler.ledger_changed(self.now_ms, &view).unwrap();
        assert_eq!(self.reconciler.poll_effect(), None);
        self.carry_out(asked);
    }

    fn run(&mut self, operation: Operation) {
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: PublicKey::from_bytes(self.operator.verifying_key().to_bytes()),
            nonce: self.nonce,
            expires_at: self.height + 10,
            operation,
        };
        self.nonce += 1;
        let signature = self.operator.sign(&transaction.signing_bytes());
        let bytes = transaction.encode_signed(&Signature::from_bytes(signature.to_bytes()));
        let signed = SignedTransaction::decode(&self.genesis.fabric_id(), &bytes).unwrap();
        self.block(&[signed]);
    }

    fn deploy(&mut self, text: &str, kind: ComponentKind, replicas: u16) {
        let view = View::new(self.height, 0, self.state.clone());
        let replaces = view
            .deployment(&name(text))
            .unwrap()
            .map(|record| record.generation);
        self.run(Operation::Deploy {
            spec: workload(text, kind, replicas),
            replaces,
        });
    }

    fn obey(&mut self) {
        let asked: Vec<Effect> = std::iter::from_fn(|| self.reconciler.poll_effect()).collect();
        self.carry_out(asked);
    }

    fn carry_out(&mut self, asked: Vec<Effect>) {
        for effect in asked {
            match effect {
                Effect::Start {
                    key,
                    generation,
                    spec,
                    paused,
                } => {
                    let desired = self.desired(&key.workload);
                    assert_eq!(Some(paused), desired.map(|d| d == DesiredState::Paused));
                    if spec.kind == ComponentKind::Command {
                        let live = self
                            .starting
                            .iter()
                            .chain(&self.running)
                            .chain(&self.stopping);
                        let other = live.into_iter().find(|(live, _)| *live == key);
                        assert_eq!(other, None, "two instances of one command");
                    }
                    let id = (key, generation);
                    self.halted.insert(id.clone(), (paused, false));
                    assert!(self.starting.insert(id), "started twice");
                }
                Effect::Pause { key, generation } => self.turn((key, generation), true),
                Effect::Resume { key, generation } => self.turn((key, generation), false),
                Effect::Stop { key, generation } => {
                    let id = (key, generation);
                    // One that ended by itself meanwhile has nothing to stop.
                    if self.starting.remove(&id) || self.running.remove(&id) {
                        self.stopping.insert(id);
                    }
                }
            }
        }
    }

    fn tell(&mut self, id: &(ReplicaKey, u64), event: Event) {
        self.reconciler
            .instance_changed(self.now_ms, &id.0, id.1, event);
        self.obey();
    }

    fn desired(&self, workload: &Name) -> Option<DesiredState> {
        let view = View::new(self.height, 0, self.state.clone());
        let record = view.deployment(workload).unwrap();
        record.map(|record| record.desired)
    }

    /// Tells a live instance what it should do; one that has ended is told nothing.
    fn turn(&mut self, id: (ReplicaKey, u64), paused: bool) {
        if let Some((told, _)) = self.halted.get_mut(&id) {
            *told = paused;
        }
    }

    /// Every instance that is being started comes up, as it was told.
    fn started(&mut self) {
        while let Some(id) = self.starting.pop_first() {
            self.running.insert(id.clone());
            let (told, halted) = self.halted.get_mut(&id).unwrap();
            *halted = *told;
            let event = if *told { Event::Paused } else { Event::Started };
            self.tell(&id, event);
        }
    }

    /// One instance does what it was told. Whether there was one.
    fn obeyed(&mut self) -> bool {
        let running = &self.running;
        let found = self
            .halted
            .iter_mut()
            .find(|(id, (told, halted))| running.contains(id) && told != halted);
        let Some((id, (told, halted))) = found else {
            return false;
        };
        *halted = *told;
        let event = if *told { Event::Paused } else { Event::Resumed };
        let id = id.clone();
        self.tell(&id, event);
        true
    }

    fn stopped(&mut self) {
        while let Some(id) = self.stopping.pop_first() {
            self.halted.remove(&id);
            self.tell(&id, Event::Stopped);
        }
    }

    fn fail_one(&mut self) {
        let from_start = self.starting.pop_first();
        if let Some(id) = from_start.or_else(|| self.running.pop_first()) {
            self.halted.remove(&id);
            self.tell(
                &id,
                Event::Ended {
                    failure: Some("boom".to_owned()),
                },
            );
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.reconciler.time_passed(self.now_ms);
        self.obey();
    }

    /// Lets everything happen that was asked for, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.started();
            self.stopped();
            while self.obeyed() {}
            self.wait(Backoff::LONGEST_MS);
        }
        assert!(
            self.starting.is_empty() && self.stopping.is_empty(),
            "it never settles"
        );
    }

    fn check_settled(&self) {
        let view = View::new(self.height, 0, self.state.clone());
        let wanted: BTreeSet<_> = view
            .placements()
            .unwrap()
            .into_iter()
            .map(|placed| {
                let (workload, component) = (placed.workload, placed.component);
                (
                    ReplicaKey {
                        workload,
                        component,
                        index: placed.index,
                    },
                    placed.generation,
                )
            })
            .collect();
        // What ended while it was paused waits for the end of the pause.
        let held: BTreeSet<_> = wanted
            .iter()
            .filter(|(key, _)| {
                let observed = self.reconciler.observed(key).unwrap();
                observed.held && matches!(observed.state, Lifecycle::Waiting { .. })
            })
            .cloned()
            .collect();
        let live: BTreeSet<_> = wanted.difference(&held).cloned().collect();
        // Beside what is held there may be what served before it, which is halted like it.
        let (former, running): (BTreeSet<_>, BTreeSet<_>) = self
            .running
            .iter()
            .cloned()
            .partition(|(key, _)| held.iter().any(|(held, _)| held == key));
        for id in &former {
            assert_eq!(self.halted[id], (true, true), "{id:?}");
        }
        assert_eq!(running, live, "what runs is what the ledger placed");
        for id in &live {
            let paused = self.desired(&id.0.workload) == Some(DesiredState::Paused);
            assert_eq!(self.halted[id], (paused, paused), "{id:?}");
            let observed = self.reconciler.observed(&id.0).unwrap();
            let state = if paused {
                Lifecycle::Paused
            } else {
                Lifecycle::Running
            };
            assert_eq!(observed.state, state, "{id:?}");
        }
    }
}

#[test]
fn a_placed_replica_is_started_and_a_removed_one_stopped() {
    let mut world = World::new();
    world.deploy("web", ComponentKind::Http, 2);
    assert_eq!(world.starting.len(), 2);
    world.settle();
    world.check_settled();
    world.run(Operation::Remove {
        workload: name("web"),
    });
    assert_eq!(world.stopping.len(), 2);
    world.settle();
    world.check_settled();
    assert_eq!(world.reconciler.replicas().count(), 0);
}

#[test]
fn a_replaced_service_serves_until_its_successor_runs() {
    let mut world = World::new();
    world.deploy("web", ComponentKind::Http, 1);
    world.settle();
    let old = world.running.clone();
    world.deploy("web", ComponentKind::Http, 1);
    assert_eq!(world.running, old, "the old instance serves on");
    world.fail_one();
    assert_eq!(world.running, old, "and does so when the new one fails");
    world.deploy("web", ComponentKind::Http, 1);
    world.started();
    assert_eq!(world.stopping, old, "it goes when a successor runs");
    world.settle();
    world.check_settled();
}

#[test]
fn a_replaced_command_ends_before_its_successor_begins() {
    let mut world = World::new();
    world.deploy("job", ComponentKind::Command, 1);
    world.settle();
    world.deploy("job", ComponentKind::Command, 1);
    assert!(world.starting.is_empty() && world.stopping.len() == 1);
    world.settle();
    world.check_settled();
}

#[test]
fn a_failed_replica_waits_longer_each_time() {
    let mut world = World::new();
    world.deploy("job", ComponentKind::Command, 1);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        world.fail_one();
        let observed = world.reconciler.observed(&key("job", 0)).unwrap();
        assert_eq!(observed.reason.as_deref(), Some("boom"));
        let Lifecycle::Waiting {
            until_ms,
            backoff_ms,
        } = observed.state
        else {
            panic!("{observed:?}")
        };
        assert_eq!(world.reconciler.next_timeout_ms(), Some(until_ms));
        pauses.push(until_ms - world.now_ms);
        assert_eq!(backoff_ms, until_ms - world.now_ms);
        world.wait(until_ms - world.now_ms - 1);
        assert!(world.starting.is_empty(), "not before its time");
        world.wait(1);
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000]);
    world.started();
    assert_eq!(
        world.reconciler.observed(&key("job", 0)).unwrap().restarts,
        3
    );
}

#[test]
fn a_command_that_ends_well_is_not_started_again() {
    let mut world = World::new();
    world.deploy("job", ComponentKind::Command, 1);
    world.started();
    let id = world.running.pop_first().unwrap();
    world.tell(&id, Event::Ended { failure: None });
    assert_eq!(
        world.reconciler.observed(&key("job", 0)).unwrap().state,
        Lifecycle::Completed
    );
    assert_eq!(world.reconciler.next_timeout_ms(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_it_settles_on_what_the_ledger_placed(
        steps in prop::collection::vec((0..13_u8, 0..3_u8, 0..4_u16), 1..80)
    ) {
        let mut world = World::new();
        let names = ["a", "b", "c"];
        let kinds = [ComponentKind::Http, ComponentKind::Command, ComponentKind::Library];
        for (step, which, replicas) in steps {
            let text = names[usize::from(which)];
            match step {
                0 => world.deploy(text, kinds[usize::from(which)], replicas),
                1 => world.deploy(text, kinds[usize::from(replicas % 3)], replicas),
                2 => world.run(Operation::Remove { workload: name(text) }),
                3 => world.run(Operation::Stop { workload: name(text) }),
                4 => world.run(Operation::Start { workload: name(text) }),
                5 => world.started(),
                6 => world.stopped(),
                7 => world.fail_one(),
                8 => world.run(Operation::Pause { workload: name(text) }),
                9 => world.run(Operation::Resume { workload: name(text) }),
                10 => world.run(Operation::Restart { workload: name(text) }),
                11 => drop(world.obeyed()),
                _ => world.wait(u64::from(replicas) * 1_500),
            }
        }
        world.settle();
        world.check_settled();
        for text in names {
            world.run(Operation::Remove { workload: name(text) });
        }
        world.settle();
        prop_assert_eq!(world.reconciler.replicas().count(), 0, "every stop ended");
    }
}
