//! A fabric of one for tests: keys, transactions, and a ledger whose stream is followed.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_consensus::{
    Config, Finality, Finalized, FinalizedBlock, Ledger, Retention, SecretKey, Snapshot,
    StartError, start,
};
use ledger::{Genesis, KnownRules, Operation, StateKey, Transaction, View};
use tokio::sync::mpsc;
use types::{ComponentKind, ComponentSpec, Digest, Name, PublicKey, Signature, WorkloadSpec};

/// Seed of the validator's key.
pub(crate) const VALIDATOR: [u8; 32] = [1; 32];

/// Carries [`GENESIS_MS`] to a child process.
pub(crate) const GENESIS_MS_VARIABLE: &str = "HYPERMESH_TEST_GENESIS_MS";

/// When the fabric of this test process began: an hour ago, so that ledger time is on the clock
/// after the first block.
pub(crate) static GENESIS_MS: LazyLock<u64> = LazyLock::new(|| {
    let inherited = std::env::var(GENESIS_MS_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok());
    inherited.unwrap_or_else(|| now_ms() - 3_600_000)
});

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    since
        .as_millis()
        .try_into()
        .expect("a clock before the year 500 million")
}

/// A principal that signs transactions in order.
pub(crate) struct Principal {
    key: SigningKey,
    fabric: Digest,
    nonce: AtomicU64,
}

/// The genesis of a one-node fabric with ten operators.
pub(crate) fn genesis(salt: u8) -> Genesis {
    genesis_at(*GENESIS_MS, salt)
}

pub(crate) fn genesis_at(time_ms: u64, salt: u8) -> Genesis {
    let node = SecretKey::from(VALIDATOR).public_key();
    let operators = (0..10).map(|index| public(&operator_key(index))).collect();
    Genesis::new(time_ms, [salt; 16], vec![node], vec![node], operators).expect("a valid genesis")
}

/// The genesis of a fabric whose validators are the nodes with the seeds from 1 to `validators`.
pub(crate) fn genesis_of(validators: u8) -> Genesis {
    let nodes: Vec<_> = (1..=validators).map(key_of).collect();
    let operators = (0..10).map(|index| public(&operator_key(index))).collect();
    Genesis::new(*GENESIS_MS, [0; 16], nodes.clone(), nodes, operators).expect("a valid genesis")
}

/// A fabric of those nodes, of which the first `validators` vote, with short epochs.
pub(crate) fn genesis_with_epochs(validators: u8, nodes: u8, epoch_blocks: u32) -> Genesis {
    genesis_with_epochs_at(*GENESIS_MS, validators, nodes, epoch_blocks)
}

pub(crate) fn genesis_with_epochs_at(
    time_ms: u64,
    validators: u8,
    nodes: u8,
    epoch_blocks: u32,
) -> Genesis {
    let keys = |count: u8| (1..=count).map(key_of).collect::<Vec<_>>();
    let operators = (0..10).map(|index| public(&operator_key(index))).collect();
    let genesis = Genesis::new(time_ms, [0; 16], keys(validators), keys(nodes), operators);
    let genesis = genesis.expect("a valid genesis");
    genesis
        .with_epoch_blocks(epoch_blocks)
        .expect("a length of epochs")
}

pub(crate) fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.to_owned(),
        secret_key: SecretKey::from(VALIDATOR),
        genesis: genesis(0),
        rules: KnownRules::RELEASED,
        heartbeat: Config::HEARTBEAT,
        sync_beyond_blocks: Config::SYNC_BEYOND_BLOCKS,
        retention: Retention::USUAL,
        links: None,
    }
}

/// The configuration of the node whose key has this seed; 1 is the validator.
pub(crate) fn config_of(key: u8, dir: &Path) -> Config {
    Config {
        secret_key: SecretKey::from([key; 32]),
        ..config(dir)
    }
}

/// The id of the node whose key has this seed.
pub(crate) fn key_of(key: u8) -> PublicKey {
    SecretKey::from([key; 32]).public_key()
}

/// Names the seed of a run that is to be repeated.
pub(crate) const SEED_VARIABLE: &str = "HYPERMESH_TEST_SEED";

/// Small and good enough to pick instants (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The seed of this run: the one that was asked for, else another each time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var(SEED_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    given.unwrap_or(u64::from(now))
}

fn operator_key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[100 + index; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}

impl Principal {
    /// One of the ten operators of the genesis, who has signed `nonce` transactions.
    pub(crate) fn operator(index: u8, nonce: u64) -> Self {
        let (key, fabric) = (operator_key(index), genesis(0).fabric_id());
        Self {
            key,
            fabric,
            nonce: AtomicU64::new(nonce),
        }
    }

    /// The node whose key has this seed, which has signed nothing yet.
    pub(crate) fn node_in(genesis: &Genesis, key: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[key; 32]),
            fabric: genesis.fabric_id(),
            nonce: AtomicU64::new(0),
        }
    }

    /// The operator of that index in the fabric of `genesis`.
    pub(crate) fn operator_in(genesis: &Genesis, index: u8) -> Self {
        Self {
            fabric: genesis.fabric_id(),
            ..Self::operator(index, 0)
        }
    }

    /// A signed transaction with the next nonce.
    pub(crate) fn sign(&self, operation: Operation) -> Vec<u8> {
        self.sign_until(u64::MAX, operation)
    }

    pub(crate) fn sign_until(&self, expires_at: u64, operation: Operation) -> Vec<u8> {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        let (fabric, principal) = (self.fabric, public(&self.key));
        let transaction = Transaction {
            fabric,
            principal,
            nonce,
            expires_at,
            operation,
        };
        let signature = self.key.sign(&transaction.signing_bytes()).to_bytes();
        transaction.encode_signed(&Signature::from_bytes(signature))
    }

    /// The operator of that index, going on where `state` leaves it.
    pub(crate) fn of(index: u8, state: &Snapshot) -> Self {
        let view = View::new(state.height, state.time_ms, state.entries.clone());
        let record = view
            .principal(&public(&operator_key(index)))
            .expect("a readable state");
        Self::operator(index, record.map_or(0, |record| record.nonce))
    }

    /// A transaction that deploys a small workload.
    pub(crate) fn deploy(&self, name: &str) -> Vec<u8> {
        self.sign(deployment(name, 0))
    }
}

/// The operation that deploys `name`, larger by `padding` settings of 4,000 bytes.
pub(crate) fn deployment(name: &str, padding: usize) -> Operation {
    let component = ComponentSpec {
        config: (0..padding)
            .map(|index| (format!("p{index}"), "x".repeat(4_000)))
            .collect(),
        ..ComponentSpec::new(
            Name::new("web").expect("a name"),
            ComponentKind::Library,
            Digest::of(name.as_bytes()),
        )
    };
    let name = Name::new(name).expect("a name");
    Operation::Deploy {
        spec: WorkloadSpec {
            name,
            components: vec![component],
        },
        replaces: None,
    }
}

pub(crate) fn deployment_key(name: &str) -> StateKey {
    StateKey::deployment(&Name::new(name).expect("a name"))
}

/// A running ledger and the state that its stream leads to.
pub(crate) struct Node {
    pub(crate) ledger: Ledger,
    pub(crate) state: Snapshot,
    pub(crate) stream: mpsc::Receiver<Finalized>,
    /// Heights of states that came in place of blocks.
    pub(crate) taken_over: Vec<u64>,
}

impl Node {
    pub(crate) async fn start(config: Config) -> Result<Self, StartError> {
        let (ledger, state, stream) = start(config).await?;
        Ok(Self {
            ledger,
            state,
            stream,
            taken_over: Vec::new(),
        })
    }

    pub(crate) async fn open(dir: &Path) -> Self {
        Self::start(config(dir)).await.expect("the ledger starts")
    }

    pub(crate) async fn submit(&self, transaction: Vec<u8>) -> Finality {
        self.ledger
            .submit(transaction)
            .await
            .expect("the transaction becomes final")
    }

    /// Applies the next block of the stream and checks that it is the next one.
    pub(crate) async fn follow(&mut self) -> FinalizedBlock {
        let item = tokio::time::timeout(Duration::from_secs(20), self.stream.recv());
        let item = item.await.expect("a block in time");
        match item.expect("an open stream") {
            Finalized::Block(block) => {
                self.apply(&block);
                block
            }
            Finalized::State(state) => panic!("{state:?} in place of a block"),
        }
    }

    /// Takes what the stream carries, a block or a state in place of the one before.
    pub(crate) fn take(&mut self, item: Finalized) {
        match item {
            Finalized::Block(block) => self.apply(&block),
            Finalized::State(state) => {
                assert!(state.height >= self.state.height, "back to {state:?}");
                self.taken_over.push(state.height);
                self.state = state;
            }
        }
    }

    fn apply(&mut self, block: &FinalizedBlock) {
        assert_eq!(
            block.height,
            self.state.height + 1,
            "gap or repeat in the stream"
        );
        assert!(block.time_ms > self.state.time_ms, "ledger time must grow");
        self.state.height = block.height;
        self.state.time_ms = block.time_ms;
        self.state.state_root = block.state_root;
        for (key, value) in &block.changes {
            match value {
                Some(value) => self.state.entries.insert(key.clone(), value.clone()),
                None => self.state.entries.remove(key),
            };
        }
    }

    /// Applies what is there.
    pub(crate) fn drain(&mut self) {
        while let Ok(item) = self.stream.try_recv() {
            self.take(item);
        }
    }

    pub(crate) async fn follow_to(&mut self, height: u64) {
        while self.state.height < height {
            self.follow().await;
        }
    }

    /// Reads the stream from now on and forgets it.
    pub(crate) fn let_pass(&mut self) {
        let (_, closed) = mpsc::channel(1);
        let mut stream = std::mem::replace(&mut self.stream, closed);
        tokio::spawn(async move { while stream.recv().await.is_some() {} });
    }

    /// Stops and returns the state at the end of the stream.
    pub(crate) async fn stop(mut self) -> Snapshot {
        self.ledger.shutdown().await.expect("a clean stop");
        while let Ok(item) = self.stream.try_recv() {
            self.take(item);
        }
        self.state
    }
}
