//! What it takes to place 10,000 replicas on 1,000 nodes, and to move those of a lost node, beside
//! writing as many placements without choosing any, in the same run.
//!
//! `cargo bench -p hypermesh-ledger --bench schedule`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    BlockContext, Genesis, KnownRules, NodeOperation, NodeState, Operation, PlacementRecord,
    SignedTransaction, StateKey, Transaction, TransactionOutcome, View, execute,
};
use types::{
    ComponentKind, ComponentSpec, Constraints, Digest, Labels, Name, NodeId, PublicKey, Signature,
    WorkloadSpec,
};

const NODES: u32 = 1_000;
const REPLICAS: u32 = 10_000;
/// Of one component.
const EACH: u16 = 250;
const ROUNDS: usize = 5;
/// What was set as the goal for all placements, and as its bound.
const AIM: Duration = Duration::from_millis(100);
const BOUND: Duration = Duration::from_secs(1);

struct Fabric {
    genesis: Genesis,
    operator: SigningKey,
    nonce: u64,
    height: u64,
    state: BTreeMap<StateKey, Vec<u8>>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn node(number: u32) -> NodeId {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    NodeId::from_bytes(bytes)
}

impl Fabric {
    /// A thousand nodes in ten zones.
    fn new() -> Self {
        let operator = SigningKey::from_bytes(&[42; 32]);
        let admin = PublicKey::from_bytes(operator.verifying_key().to_bytes());
        let nodes: Vec<NodeId> = (0..NODES).map(node).collect();
        let genesis = Genesis::new(1_000, [7; 16], vec![node(0)], nodes, vec![admin]);
        let mut fabric = Self {
            genesis: genesis.unwrap(),
            operator,
            nonce: 0,
            height: 0,
            state: BTreeMap::new(),
        };
        fabric.block(Vec::new());
        let label = |number| {
            let zone = name(&format!("z{}", number % 10));
            let labels = Labels::from([(name("zone"), zone)]);
            let node = node(number);
            Operation::Node(NodeOperation::Label { node, labels })
        };
        for numbers in (0..NODES).collect::<Vec<_>>().chunks(500) {
            fabric.block(numbers.iter().copied().map(label).collect());
        }
        fabric
    }

    /// Executes one block; how long the rules took.
    fn block(&mut self, operations: Vec<Operation>) -> Duration {
        self.height += 1;
        let sign = |operation| {
            let transaction = Transaction {
                fabric: self.genesis.fabric_id(),
                principal: PublicKey::from_bytes(self.operator.verifying_key().to_bytes()),
                nonce: self.nonce,
                expires_at: self.height + 10,
                operation,
            };
            self.nonce += 1;
            let signature = self.operator.sign(&transaction.signing_bytes());
            let signature = Signature::from_bytes(signature.to_bytes());
            let bytes = transaction.encode_signed(&signature);
            SignedTransaction::decode(&self.genesis.fabric_id(), &bytes).unwrap()
        };
        let transactions: Vec<_> = operations.into_iter().map(sign).collect();
        let block = BlockContext {
            height: self.height,
            // A fresh window of the signer's rate with every block.
            time_ms: 1_000 + self.height * 10_000,
            parent: Digest::of(&self.height.to_le_bytes()),
        };
        let known = KnownRules::RELEASED;
        let began = Instant::now();
        let done = execute(&self.genesis, known, &self.state, &block, &transactions).unwrap();
        let took = began.elapsed();
        for outcome in done.outcomes {
            assert_eq!(outcome, TransactionOutcome::Applied);
        }
        for (key, value) in done.changes {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        took
    }
}

fn deploy(number: u32, placement: &Constraints) -> Operation {
    let kind = ComponentKind::Http;
    let component = ComponentSpec {
        replicas: EACH,
        placement: placement.clone(),
        ..ComponentSpec::new(name("main"), kind, Digest::of(b"main"))
    };
    Operation::Deploy {
        spec: WorkloadSpec {
            name: name(&format!("w{number:03}")),
            components: vec![component],
        },
        replaces: None,
    }
}

/// As many placements, without a choice: round and round.
fn bare() -> Duration {
    let mut state: BTreeMap<StateKey, Vec<u8>> = BTreeMap::new();
    let began = Instant::now();
    for replica in 0..REPLICAS {
        let each = u32::from(EACH);
        let workload = name(&format!("w{:03}", replica / each));
        let index = u16::try_from(replica % each).unwrap();
        let record = PlacementRecord {
            node: node(replica % NODES),
            generation: 1,
        };
        let key = StateKey::placement(&workload, &name("main"), index);
        state.insert(key, serde_json::to_vec(&record).unwrap());
    }
    assert_eq!(state.len(), REPLICAS as usize);
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn placed(constraints: &Constraints) -> (Duration, Fabric) {
    let workloads = REPLICAS / u32::from(EACH);
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..ROUNDS {
        let mut fabric = Fabric::new();
        let operations = (0..workloads).map(|number| deploy(number, constraints));
        times.push(fabric.block(operations.collect()));
        last = Some(fabric);
    }
    (median(times), last.unwrap())
}

fn main() {
    let baseline = median((0..ROUNDS).map(|_| bare()).collect());
    let free = Constraints::default();
    let strict = Constraints {
        spread: Some(name("zone")),
        away: BTreeSet::from([name("nobody")]),
        apart: true,
        ..Constraints::default()
    };
    println!("{REPLICAS} replicas of 40 workloads on {NODES} nodes, one block, median of {ROUNDS}");
    println!("  placements written, none chosen: {baseline:?}");
    let (took, mut fabric) = placed(&free);
    println!("  schedule::place/constraints=none: {took:?} (aim {AIM:?}, bound {BOUND:?})");
    let (strictly, _) = placed(&strict);
    println!("  schedule::place/constraints=spread,away,apart: {strictly:?}");
    let view = View::new(fabric.height, 0, fabric.state.clone());
    let counts = view.places().unwrap().into_iter();
    let counts: BTreeSet<u32> = counts.map(|place| place.record.placements).collect();
    println!("  replicas on a node: {counts:?}");
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let node = node(u32::try_from(number).unwrap() * 7 + 1);
        let state = NodeState::Draining;
        times.push(fabric.block(vec![Operation::Node(NodeOperation::Turn { node, state })]));
    }
    let moved = counts.into_iter().next_back().unwrap_or_default();
    println!("  schedule::evacuate/replicas={moved}: {:?}", median(times));
}
