//! What 10,000 assets and 100,000 leases cost the ledger: state, and time of the rules for each
//! transaction with its four proofs, beside grants of roles, which have none, in the same run.
//!
//! `cargo bench -p hypermesh-ledger`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    AnchorRecord, AssetOperation, BLOCK_TRANSACTIONS_MAX, BlockContext, Genesis, KnownRules,
    LeaseOperation, Operation, ProofParts, Provable, Proven, Role, RoleOperation,
    SignedTransaction, StateKey, Transaction, TransactionOutcome, execute,
};
use proofs::{Answer, Challenge, Commitment, SignedAnswer, StakeClaim, StakeRole, beacon_of};
use types::{
    Amount, AssetFacts, AssetId, AssetPolicy, ContainerFacts, Digest, LeaseId, Name, Privacy,
    PublicKey, Signature,
};

const HOSTS: u64 = 160;
const ASSETS: u64 = 10_000;
const LEASES: u64 = 100_000;
/// As many as a fabric takes in round numbers.
const ROLES: u64 = 4_000;
/// A fresh window of the signers' rates with every block.
const BLOCK_MS: u64 = 10_000;

/// The digest that this bench gives the block at a height.
fn digest_at(height: u64) -> Digest {
    Digest::of(&height.to_le_bytes())
}

struct Signer {
    key: SigningKey,
    nonce: u64,
}

impl Signer {
    fn new(number: u64) -> Self {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        Self {
            key: SigningKey::from_bytes(&seed),
            nonce: 0,
        }
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.key.verifying_key().to_bytes())
    }
}

struct Fabric {
    genesis: Genesis,
    height: u64,
    state: BTreeMap<StateKey, Vec<u8>>,
    waiting: Vec<SignedTransaction>,
    decoding: Duration,
    executing: Duration,
    done: u64,
}

impl Fabric {
    fn new(hosts: &[Signer], operator: &Signer) -> Self {
        let nodes: Vec<_> = hosts.iter().map(Signer::public).collect();
        let validators = vec![nodes[0]];
        let admins = vec![operator.public()];
        Self {
            genesis: Genesis::new(1_000, [7; 16], validators, nodes, admins).unwrap(),
            height: 0,
            state: BTreeMap::new(),
            waiting: Vec::new(),
            decoding: Duration::ZERO,
            executing: Duration::ZERO,
            done: 0,
        }
    }

    /// Signs, and executes once a block is full.
    fn add(&mut self, signer: &mut Signer, operation: Operation) {
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: signer.public(),
            nonce: signer.nonce,
            expires_at: self.height + 10,
            operation,
        };
        signer.nonce += 1;
        let signature = signer.key.sign(&transaction.signing_bytes()).to_bytes();
        let bytes = transaction.encode_signed(&Signature::from_bytes(signature));
        let began = Instant::now();
        let signed = SignedTransaction::decode(&self.genesis.fabric_id(), &bytes).unwrap();
        self.decoding += began.elapsed();
        self.waiting.push(signed);
        if self.waiting.len() == BLOCK_TRANSACTIONS_MAX {
            self.block();
        }
    }

    /// As [`Self::add`], with the proofs that the operation needs, answered by `host`.
    fn add_proven<O: Provable>(
        &mut self,
        signer: &mut Signer,
        host: &SigningKey,
        asset: &AssetId,
        operation: O,
    ) {
        let (fabric, principal) = (self.genesis.fabric_id(), signer.public());
        let height = self.height;
        let digest = digest_at(height);
        let beacon = beacon_of(&digest);
        let node = PublicKey::from_bytes(host.verifying_key().to_bytes());
        let commitment = Commitment::presence(node, *asset.digest());
        let challenge = Challenge::draw(&beacon, height, &commitment);
        let answer = Answer::present(fabric, &challenge);
        let signature = Signature::from_bytes(host.sign(&answer.signing_bytes()).to_bytes());
        let (quota, bond) = operation.takes(&principal, 0);
        let parts = ProofParts {
            fabric,
            anchor: AnchorRecord { height, digest },
            answer: SignedAnswer { answer, signature },
            claim: StakeClaim {
                principal,
                role: StakeRole::Node,
                quota,
                bond,
            },
            calibration: None,
            nonce: signer.nonce,
            expires_at: height + 10,
        };
        let proven = Proven::seal(operation, parts, |bytes| {
            Signature::from_bytes(signer.key.sign(bytes).to_bytes())
        });
        self.add(signer, O::admitted(proven));
    }

    fn block(&mut self) {
        self.height += 1;
        let context = BlockContext {
            height: self.height,
            time_ms: 1_000 + self.height * BLOCK_MS,
            parent: digest_at(self.height - 1),
        };
        let rules = KnownRules::RELEASED;
        let began = Instant::now();
        let done = execute(&self.genesis, rules, &self.state, &context, &self.waiting).unwrap();
        self.executing += began.elapsed();
        for outcome in done.outcomes {
            assert_eq!(outcome, TransactionOutcome::Applied);
            self.done += 1;
        }
        for (key, value) in done.changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        self.waiting.clear();
    }

    /// Prints what was measured since the last call.
    fn report(&mut self, what: &str) {
        self.block();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.done as f64;
        let (decode, rules) = (each(self.decoding), each(self.executing));
        let rate = 1e6 / (decode + rules);
        println!(
            "{what:<28} {:>7} {decode:>12.1} us {rules:>12.1} us {rate:>10.0}/s",
            self.done
        );
        (self.decoding, self.executing, self.done) = (Duration::ZERO, Duration::ZERO, 0);
    }

    fn bytes(&self, prefixes: &[&str]) -> usize {
        let ours = |key: &StateKey| {
            let bytes = key.as_bytes();
            prefixes
                .iter()
                .any(|prefix| bytes.starts_with(prefix.as_bytes()))
        };
        let entries = self.state.iter().filter(|(key, _)| ours(key));
        entries
            .map(|(key, value)| key.as_bytes().len() + value.len())
            .sum()
    }
}

/// The baseline: the simplest change of the state that an operator signs.
fn grant_roles(fabric: &mut Fabric, operator: &mut Signer) {
    for number in 0..ROLES {
        let grant = RoleOperation::Grant {
            principal: Signer::new(1 << 32 | number).public(),
            role: Role::Viewer,
        };
        fabric.add(operator, Operation::Role(grant));
    }
    fabric.report("roles granted (baseline)");
}

/// Registers all assets, one host after the other.
fn register(fabric: &mut Fabric, hosts: &mut [Signer]) -> Vec<AssetId> {
    let mut assets = Vec::new();
    for number in 0..ASSETS {
        let host = &mut hosts[usize::try_from(number % HOSTS).unwrap()];
        let facts = AssetFacts::Container(ContainerFacts {
            workload: Name::new(format!("w{number}")).unwrap(),
            component: Name::new("web").unwrap(),
            instances: 1_000,
        });
        assets.push(AssetId::new(&host.public(), &facts, host.nonce));
        let policy = AssetPolicy {
            privacy: Privacy::PublicNetwork,
            ..AssetPolicy::private()
        };
        let owner = host.public();
        let register = AssetOperation::Register {
            facts,
            owner,
            policy,
        };
        let (key, asset) = (host.key.clone(), assets[assets.len() - 1]);
        fabric.add_proven(host, &key, &asset, register);
    }
    fabric.report("assets registered");
    assets
}

fn main() {
    let mut hosts: Vec<_> = (0..HOSTS).map(Signer::new).collect();
    let mut operator = Signer::new(u64::MAX);
    let mut fabric = Fabric::new(&hosts, &operator);
    fabric.block();
    println!(
        "{:<28} {:>7} {:>15} {:>15} {:>12}",
        "", "count", "check", "rules", "admitted"
    );
    grant_roles(&mut fabric, &mut operator);
    let assets = register(&mut fabric, &mut hosts);
    let keys: Vec<_> = hosts.iter().map(|host| host.key.clone()).collect();
    let numbers = (0_u64..).zip(&assets);
    let host_of: BTreeMap<_, _> = numbers
        .map(|(number, asset)| (*asset, &keys[usize::try_from(number % HOSTS).unwrap()]))
        .collect();
    let host_of = |asset: &AssetId| host_of[asset];
    let mut leases = Vec::new();
    for number in 0..LEASES {
        let at = usize::try_from(number % HOSTS).unwrap();
        let holder = &mut hosts[at];
        let asset = assets[usize::try_from(number % ASSETS).unwrap()];
        let lease = LeaseId::new(&holder.public(), holder.nonce, &asset);
        leases.push((at, lease, asset));
        let grant = LeaseOperation::Grant {
            asset,
            holder: holder.public(),
            amount: Amount(10),
            term_ms: 12 * 60 * 60 * 1_000,
        };
        fabric.add_proven(holder, host_of(&asset), &asset, grant);
    }
    fabric.report("leases granted");
    println!(
        "state: {} bytes for each asset, {} for each lease",
        fabric.bytes(&["asset/", "asset-totals", "node-assets/"]) as u64 / ASSETS,
        fabric.bytes(&["lease/", "asset-leases/", "holder-leases/"]) as u64 / LEASES,
    );
    for (at, lease, asset) in &leases {
        let term_ms = 24 * 60 * 60 * 1_000;
        let renew = LeaseOperation::Renew {
            lease: *lease,
            term_ms,
        };
        fabric.add_proven(&mut hosts[*at], host_of(asset), asset, renew);
    }
    fabric.report("leases renewed");
    for (at, lease, asset) in &leases {
        let release = LeaseOperation::Release { lease: *lease };
        fabric.add_proven(&mut hosts[*at], host_of(asset), asset, release);
    }
    fabric.report("leases given back");
}
