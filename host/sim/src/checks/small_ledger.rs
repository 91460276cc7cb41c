//! A ledger without nodes or network, for the tests of checkers that look at the state.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use ledger::{
    AnchorRecord, BlockContext, Genesis, KnownRules, Operation, SignedTransaction, StateKey,
    Transaction, TransactionOutcome, View, execute,
};
use types::{Digest, NodeId, PublicKey, Signature};

use crate::proving::Signing;

/// Some nodes that all vote, and the state that their transactions led to.
#[derive(Clone)]
pub(super) struct SmallLedger {
    genesis: Genesis,
    keys: Vec<(SigningKey, u64)>,
    height: u64,
    pub(super) time_ms: u64,
    pub(super) state: BTreeMap<StateKey, Vec<u8>>,
}

impl SmallLedger {
    pub(super) fn new(nodes: u8) -> Self {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]);
        let keys: Vec<_> = (1..=nodes).map(|seed| (key(seed), 0)).collect();
        let names: Vec<_> = keys.iter().map(|(key, _)| public(key)).collect();
        let operators = vec![public(&key(100))];
        Self {
            genesis: Genesis::new(1_000, [0; 16], names.clone(), names, operators).unwrap(),
            keys,
            height: 0,
            time_ms: 1_000,
            state: BTreeMap::new(),
        }
    }

    pub(super) fn name(&self, node: usize) -> NodeId {
        public(&self.keys[node].0)
    }

    /// A block with one transaction of a node, which must take effect.
    pub(super) fn apply(&mut self, node: usize, operation: Operation) {
        let view = self.view();
        let keys = self.keys.clone();
        let (key, nonce) = &mut self.keys[node];
        let signing = Signing {
            view: &view,
            fabric: self.genesis.fabric_id(),
            key,
            nonce: *nonce,
            anchor: Some(AnchorRecord {
                height: self.height,
                digest: digest_at(self.height),
            }),
        };
        let operation = signing.proven(operation, |host| {
            let found = keys.iter().find(|(key, _)| public(key) == *host);
            found.map(|(key, _)| key.clone())
        });
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: public(key),
            nonce: *nonce,
            expires_at: u64::MAX,
            operation,
        };
        *nonce += 1;
        let signature = key.sign(&transaction.signing_bytes()).to_bytes();
        let bytes = transaction.encode_signed(&Signature::from_bytes(signature));
        let signed = SignedTransaction::decode(&self.genesis.fabric_id(), &bytes).unwrap();
        self.height += 1;
        self.time_ms += 1;
        let block = BlockContext {
            height: self.height,
            time_ms: self.time_ms,
            parent: digest_at(self.height - 1),
        };
        let known = KnownRules::RELEASED;
        let done = execute(&self.genesis, known, &self.state, &block, &[signed]).unwrap();
        assert_eq!(done.outcomes, [TransactionOutcome::Applied]);
        for (key, value) in done.changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
    }

    pub(super) fn view(&self) -> View {
        View::new(self.height, self.time_ms, self.state.clone())
    }
}

/// The digest that this ledger gives the block at a height.
fn digest_at(height: u64) -> Digest {
    Digest::of(&height.to_le_bytes())
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}
