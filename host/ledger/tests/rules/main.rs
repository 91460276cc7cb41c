//! What the rules admit and refuse, seen from outside: whole blocks on a whole state.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    BlockContext, DecodeTransactionError, DesiredState, Execution, Genesis, KnownRules, Operation,
    Refusal, SignedTransaction, StateKey, Transaction, TransactionOutcome, View, execute,
};
use proptest::prelude::*;
use types::{
    ByteSize, ComponentKind, ComponentSpec, Digest, Limits, Millis, Name, PublicKey, Route,
    Signature, WorkloadSpec,
};

mod assets;
mod faults;
mod histories;
mod leases;
mod lifecycle;
mod liveness;
mod membership;
mod placing;
mod placing_histories;
mod proven;
mod proving;
mod rates;
mod records;
mod roles;
mod sharing;
mod space;
mod upgrades;
mod validators;

const NODES: u8 = 3;

/// A fabric of three nodes with one operator, advanced block by block.
struct Fabric {
    genesis: Genesis,
    /// What the executing program knows.
    known: KnownRules,
    operator: SigningKey,
    nonce: u64,
    height: u64,
    /// Ledger time less the height.
    clock_ms: u64,
    state: BTreeMap<StateKey, Vec<u8>>,
}

fn public(secret: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(secret.verifying_key().to_bytes())
}

/// The digest that these tests give the block at a height.
fn block_digest(height: u64) -> Digest {
    Digest::of(&height.to_le_bytes())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn component(text: &str, replicas: u16, routes: &[&str]) -> ComponentSpec {
    ComponentSpec {
        replicas,
        routes: routes
            .iter()
            .map(|path| Route::new("*", path).unwrap())
            .collect(),
        ..ComponentSpec::new(name(text), ComponentKind::Http, Digest::of(text.as_bytes()))
    }
}

fn workload(text: &str, replicas: u16, routes: &[&str]) -> WorkloadSpec {
    WorkloadSpec {
        name: name(text),
        components: vec![component("web", replicas, routes)],
    }
}

impl Fabric {
    fn new() -> Self {
        let operator = SigningKey::from_bytes(&[42; 32]);
        let nodes: Vec<_> = (1..=NODES)
            .map(|seed| PublicKey::from_bytes([seed; 32]))
            .collect();
        let validators = vec![nodes[0]];
        let genesis =
            Genesis::new(1_000, [7; 16], validators, nodes, vec![public(&operator)]).unwrap();
        Self::of(genesis, operator)
    }

    /// The fabric of a genesis, after its first block.
    fn of(genesis: Genesis, operator: SigningKey) -> Self {
        let mut fabric = Self {
            genesis,
            known: KnownRules::RELEASED,
            operator,
            nonce: 0,
            height: 0,
            clock_ms: 1_000,
            state: BTreeMap::new(),
        };
        fabric.block(&[]);
        fabric
    }

    fn sign(&self, signer: &SigningKey, nonce: u64, operation: Operation) -> Vec<u8> {
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: public(signer),
            nonce,
            expires_at: self.height + 10,
            operation,
        };
        let signature = signer.sign(&transaction.signing_bytes());
        transaction.encode_signed(&Signature::from_bytes(signature.to_bytes()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<SignedTransaction, DecodeTransactionError> {
        SignedTransaction::decode(&self.genesis.fabric_id(), bytes)
    }

    fn block(&mut self, transactions: &[SignedTransaction]) -> Execution {
        self.height += 1;
        let context = BlockContext {
            height: self.height,
            time_ms: self.clock_ms + self.height,
            parent: block_digest(self.height - 1),
        };
        let done = execute(
            &self.genesis,
            self.known,
            &self.state,
            &context,
            transactions,
        )
        .unwrap();
        for (key, value) in done.changes.clone() {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        done
    }

    fn run(&mut self, operation: Operation) -> TransactionOutcome {
        let operator = self.operator.clone();
        let bytes = self.sign(&operator, self.nonce, operation);
        self.nonce += 1;
        let transaction = self.decode(&bytes).unwrap();
        self.block(&[transaction]).outcomes.remove(0)
    }

    fn view(&self) -> View {
        View::new(self.height, self.clock_ms + self.height, self.state.clone())
    }

    /// Entries that blocks do not write by themselves.
    fn facts(&self) -> usize {
        let anchors = self.entries("anchor/");
        self.state.len() - anchors
    }

    /// Placements match deployments, node counters and routes exactly.
    fn check_invariants(&self) {
        let view = self.view();
        let deployments = view.deployments().unwrap();
        let placements = view.placements().unwrap();
        let mut wanted = BTreeSet::new();
        let mut routes = BTreeSet::new();
        for deployment in &deployments {
            let running = deployment.desired != DesiredState::Stopped;
            for component in &deployment.spec.components {
                let replicas = if running { component.replicas } else { 0 };
                wanted
                    .extend((0..replicas).map(|index| {
                        (deployment.spec.name.clone(), component.name.clone(), index)
                    }));
                for route in &component.routes {
                    assert!(routes.insert(route.clone()), "{route} is taken twice");
                    let owner = view.route(route).unwrap().unwrap();
                    assert_eq!(owner.workload, deployment.spec.name);
                }
            }
        }
        let placed: BTreeSet<_> = placements
            .iter()
            .map(|p| (p.workload.clone(), p.component.clone(), p.index))
            .collect();
        assert_eq!(placed, wanted);
        let total = self
            .state
            .keys()
            .filter(|key| key.as_bytes().starts_with(b"route/"))
            .count();
        assert_eq!(total, routes.len(), "a route outlived its deployment");
        let record = view.fabric().unwrap().unwrap();
        assert_eq!(record.deployments as usize, deployments.len());
        let spread: Vec<usize> = (1..=NODES)
            .map(|seed| PublicKey::from_bytes([seed; 32]))
            .map(|node| placements.iter().filter(|p| p.node == node).count())
            .collect();
        assert_eq!(spread.iter().sum::<usize>(), placements.len());
    }
}

#[test]
fn a_deployment_is_admitted_placed_and_removed() {
    let mut fabric = Fabric::new();
    let spec = workload("shop", 3, &["/"]);
    let deploy = Operation::Deploy {
        spec,
        replaces: None,
    };
    assert_eq!(fabric.run(deploy), TransactionOutcome::Applied);
    let nodes: BTreeSet<_> = fabric
        .view()
        .placements()
        .unwrap()
        .into_iter()
        .map(|p| p.node)
        .collect();
    assert_eq!(
        nodes.len(),
        usize::from(NODES),
        "three replicas spread over three nodes"
    );
    fabric.check_invariants();
    let before = fabric.facts();
    assert_eq!(
        fabric.run(Operation::Remove {
            workload: name("shop")
        }),
        TransactionOutcome::Applied
    );
    fabric.check_invariants();
    // The deployment, its placements, its route, and two entries for each node that it was on.
    assert_eq!(fabric.facts(), before - 1 - 3 - 1 - 2 * 3);
}

#[test]
fn a_taken_route_is_refused_and_changes_nothing() {
    let mut fabric = Fabric::new();
    fabric.run(Operation::Deploy {
        spec: workload("one", 1, &["/a"]),
        replaces: None,
    });
    let second = workload("two", 1, &["/b", "/a"]);
    let outcome = fabric.run(Operation::Deploy {
        spec: second,
        replaces: None,
    });
    let TransactionOutcome::Refused(Refusal::RouteTaken { workload, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(workload, name("one"));
    fabric.check_invariants();
}

#[test]
fn a_replacement_must_name_the_generation_it_saw() {
    let mut fabric = Fabric::new();
    fabric.run(Operation::Deploy {
        spec: workload("one", 1, &["/a"]),
        replaces: None,
    });
    let again = |replaces| Operation::Deploy {
        spec: workload("one", 2, &["/a", "/b"]),
        replaces,
    };
    let exists = fabric.run(again(None));
    let TransactionOutcome::Refused(Refusal::Exists { generation, .. }) = exists else {
        panic!("{exists:?}");
    };
    assert!(matches!(
        fabric.run(again(Some(generation + 1))),
        TransactionOutcome::Refused(Refusal::Generation { .. })
    ));
    assert_eq!(
        fabric.run(again(Some(generation))),
        TransactionOutcome::Applied
    );
    fabric.check_invariants();
}

#[test]
fn stop_start_and_scale_keep_name_and_routes() {
    let mut fabric = Fabric::new();
    fabric.run(Operation::Deploy {
        spec: workload("one", 2, &["/a"]),
        replaces: None,
    });
    let scale = |replicas| Operation::Scale {
        workload: name("one"),
        component: name("web"),
        replicas,
    };
    for operation in [
        Operation::Stop {
            workload: name("one"),
        },
        scale(5),
        Operation::Stop {
            workload: name("one"),
        },
        Operation::Start {
            workload: name("one"),
        },
        scale(1),
    ] {
        assert_eq!(fabric.run(operation), TransactionOutcome::Applied);
        fabric.check_invariants();
    }
    assert!(matches!(
        fabric.run(scale(ComponentSpec::REPLICAS_MAX + 1)),
        TransactionOutcome::Refused(Refusal::Workload(_))
    ));
    fabric.check_invariants();
}

#[test]
fn strangers_replays_and_late_transactions_are_refused() {
    let mut fabric = Fabric::new();
    let stop = || Operation::Stop {
        workload: name("none"),
    };
    let stranger = SigningKey::from_bytes(&[1; 32]);
    let strange = fabric.decode(&fabric.sign(&stranger, 0, stop())).unwrap();
    let operator = fabric.operator.clone();
    let good = fabric.decode(&fabric.sign(&operator, 0, stop())).unwrap();
    let outcomes = fabric.block(&[strange, good.clone(), good]).outcomes;
    assert!(matches!(
        outcomes[0],
        TransactionOutcome::Refused(Refusal::UnknownPrincipal(_))
    ));
    assert!(matches!(
        outcomes[1],
        TransactionOutcome::Refused(Refusal::UnknownDeployment(_))
    ));
    assert_eq!(
        outcomes[2],
        TransactionOutcome::Refused(Refusal::Nonce {
            expected: 1,
            found: 0
        })
    );
    let late = fabric.decode(&fabric.sign(&operator, 1, stop())).unwrap();
    fabric.height += 20;
    let outcomes = fabric.block(&[late]).outcomes;
    assert!(matches!(
        outcomes[0],
        TransactionOutcome::Refused(Refusal::Expired { .. })
    ));
}

#[test]
fn only_canonical_bytes_signed_for_this_fabric_decode() {
    let fabric = Fabric::new();
    let operator = fabric.operator.clone();
    let bytes = fabric.sign(
        &operator,
        0,
        Operation::Start {
            workload: name("a"),
        },
    );
    assert!(fabric.decode(&bytes).is_ok());
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        fabric.decode(&longer),
        Err(DecodeTransactionError::Malformed)
    );
    let other = Digest::of(b"other fabric");
    assert!(matches!(
        SignedTransaction::decode(&other, &bytes),
        Err(DecodeTransactionError::OtherFabric { .. })
    ));
    assert!(matches!(
        fabric.decode(&vec![0; 1 << 20]),
        Err(DecodeTransactionError::TooLarge { .. })
    ));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(fabric.decode(&changed).is_err(), "byte {at} is not covered");
    }
}

#[test]
fn transaction_bytes_are_pinned() {
    let fabric = Fabric::new();
    let operator = fabric.operator.clone();
    let mut spec = workload("pinned", 2, &["/a"]);
    // Spelled out: another default must not look like another format.
    spec.components[0].limits = Limits {
        memory: ByteSize::mib(64),
        table_elements: 20_000,
        wall_time: Millis::seconds(30),
        cpu_percent: 100,
        fuel: None,
        requests_in_flight: 32,
        requests_queued: 128,
        queue_time: Millis::seconds(5),
        log_rate: ByteSize::kib(64),
        outbound_connections: 8,
    };
    let bytes = fabric.sign(
        &operator,
        3,
        Operation::Deploy {
            spec,
            replaces: Some(9),
        },
    );
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_TRANSACTION);
    assert_eq!(fabric.genesis.fabric_id().to_string(), PINNED_FABRIC);
}

const PINNED_TRANSACTION: &str =
    "blake3:83fe6f539e496897e806c99898405179d9ccd1c01b3a4654396561a8be97b54c";
const PINNED_FABRIC: &str =
    "blake3:e2336e511bc2b46aa197628cdca316e93d23bce79ff351be958c7605b92e5223";

fn operations() -> impl Strategy<Value = Vec<(u8, u8, u16, usize)>> {
    prop::collection::vec((0..8_u8, 0..4_u8, 0..6_u16, 0..40_usize), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_operations_keeps_the_invariants(operations in operations()) {
        let mut fabric = Fabric::new();
        let names = ["a", "b", "c", "d"];
        for (kind, which, replicas, number) in operations {
            let text = names[usize::from(which)];
            let workload_name = name(text);
            let current = fabric.view().deployment(&workload_name).unwrap();
            let operation = match kind {
                0 => Operation::Deploy {
                    spec: workload(text, replicas, &[["/x", "/y", "/z"][number % 3]]),
                    replaces: current.as_ref().map(|record| record.generation),
                },
                1 => Operation::Scale {
                    workload: workload_name,
                    component: name("web"),
                    replicas,
                },
                2 => Operation::Stop { workload: workload_name },
                3 => Operation::Start { workload: workload_name },
                4 => Operation::Pause { workload: workload_name },
                5 => Operation::Resume { workload: workload_name },
                6 => Operation::Restart { workload: workload_name },
                _ => Operation::Remove { workload: workload_name },
            };
            let before = current.as_ref().map(|record| record.desired);
            let placed = fabric.view().placements().unwrap();
            let outcome = fabric.run(operation.clone());
            fabric.check_invariants();
            lifecycle::check_desired(&fabric, text, &operation, before, &outcome);
            if matches!(operation, Operation::Pause { .. } | Operation::Resume { .. }) {
                prop_assert_eq!(placed, fabric.view().placements().unwrap());
            }
        }
    }
}
