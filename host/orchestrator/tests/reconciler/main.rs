//! The reconciler against a small world that starts and stops instances as it is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_orchestrator::{Backoff, Effect, Event, Phase, Reconciler, ReplicaKey};
use ledger::{BlockContext, Genesis, Operation, SignedTransaction, StateKey, Transaction, View};
use proptest::prelude::*;
use types::{
    ComponentKind, ComponentSpec, Digest, Name, NodeId, PublicKey, Signature, WorkloadSpec,
};

use ed25519_dalek::{Signer as _, SigningKey};

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
        };
        world.block(&[]);
        world
    }

    fn block(&mut self, transactions: &[SignedTransaction]) {
        self.height += 1;
        let context = BlockContext {
            height: self.height,
            time_ms: self.height,
        };
        let done = ledger::execute(&self.genesis, &self.state, &context, transactions).unwrap();
        for (key, value) in done.changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        let view = View::new(self.height, self.height, self.state.clone());
        self.reconciler.ledger_changed(self.now_ms, &view).unwrap();
        self.obey();
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
        while let Some(effect) = self.reconciler.poll_effect() {
            match effect {
                Effect::Start {
                    key,
                    generation,
                    spec,
                } => {
                    if spec.kind == ComponentKind::Command {
                        let live = self
                            .starting
                            .iter()
                            .chain(&self.running)
                            .chain(&self.stopping);
                        let other = live.into_iter().find(|(live, _)| *live == key);
                        assert_eq!(other, None, "two instances of one command");
                    }
                    assert!(self.starting.insert((key, generation)), "started twice");
                }
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

    fn started(&mut self) {
        while let Some(id) = self.starting.pop_first() {
            self.running.insert(id.clone());
            self.tell(&id, Event::Started);
        }
    }

    fn stopped(&mut self) {
        while let Some(id) = self.stopping.pop_first() {
            self.tell(&id, Event::Stopped);
        }
    }

    fn fail_one(&mut self) {
        let from_start = self.starting.pop_first();
        if let Some(id) = from_start.or_else(|| self.running.pop_first()) {
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
        assert_eq!(self.running, wanted, "what runs is what the ledger placed");
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
        let Phase::Waiting { until_ms } = observed.phase else {
            panic!("{observed:?}")
        };
        assert_eq!(world.reconciler.next_timeout_ms(), Some(until_ms));
        pauses.push(until_ms - world.now_ms);
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
        world.reconciler.observed(&key("job", 0)).unwrap().phase,
        Phase::Completed
    );
    assert_eq!(world.reconciler.next_timeout_ms(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_it_settles_on_what_the_ledger_placed(
        steps in prop::collection::vec((0..9_u8, 0..3_u8, 0..4_u16), 1..80)
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
                _ => world.wait(u64::from(replicas) * 1_500),
            }
        }
        world.settle();
        world.check_settled();
    }
}
