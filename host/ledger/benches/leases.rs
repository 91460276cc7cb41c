//! What 10,000 assets and 100,000 leases cost the ledger: state, and time of the rules for each
//! transaction, beside grants of roles and beside the check of one signature, in the same run.
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
    AssetOperation, BLOCK_TRANSACTIONS_MAX, BlockContext, Genesis, KnownRules, LeaseOperation,
    Operation, Role, RoleOperation, SignedTransaction, StateKey, Transaction, TransactionOutcome,
    execute,
};
use types::{
    Amount, AssetFacts, AssetId, AssetPolicy, ContainerFacts, LeaseId, Name, Privacy, PublicKey,
    Signature,
};

const HOSTS: u64 = 160;
const ASSETS: u64 = 10_000;
const LEASES: u64 = 100_000;
/// As many as a fabric takes in round numbers.
const ROLES: u64 = 4_000;
/// A fresh window of the signers' rates with every block.
const BLOCK_MS: u64 = 10_000;

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

    fn block(&mut self) {
        self.height += 1;
        let context = BlockContext {
            height: self.height,
            time_ms: 1_000 + self.height * BLOCK_MS,
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
        fabric.add(host, Operation::Asset(register));
    }
    fabric.report("assets registered");
    let mut leases = Vec::new();
    for number in 0..LEASES {
        let at = usize::try_from(number % HOSTS).unwrap();
        let holder = &mut hosts[at];
        let asset = assets[usize::try_from(number % ASSETS).unwrap()];
        leases.push((at, LeaseId::new(&holder.public(), holder.nonce, &asset)));
        let grant = LeaseOperation::Grant {
            asset,
            holder: holder.public(),
            amount: Amount(10),
            term_ms: 12 * 60 * 60 * 1_000,
        };
        fabric.add(holder, Operation::Lease(grant));
    }
    fabric.report("leases granted");
    println!(
        "state: {} bytes for each asset, {} for each lease",
        fabric.bytes(&["asset/", "asset-totals", "node-assets/"]) as u64 / ASSETS,
        fabric.bytes(&["lease/", "asset-leases/", "holder-leases/"]) as u64 / LEASES,
    );
    for (at, lease) in &leases {
        let term_ms = 24 * 60 * 60 * 1_000;
        let renew = LeaseOperation::Renew {
            lease: *lease,
            term_ms,
        };
        fabric.add(&mut hosts[*at], Operation::Lease(renew));
    }
    fabric.report("leases renewed");
    for (at, lease) in &leases {
        let release = LeaseOperation::Release { lease: *lease };
        fabric.add(&mut hosts[*at], Operation::Lease(release));
    }
    fabric.report("leases given back");
}
