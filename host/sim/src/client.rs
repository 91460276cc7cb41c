//! Principals that submit transactions, each one after the other, to one node or another, until
//! they are told how each ended. Never looks at blocks.

use std::sync::Arc;
use std::time::Duration;

use consensus::Finality;
use consensus::simulated::{Dice, SimWorld};
use ed25519_dalek::{Signer as _, SigningKey};
use ledger::{
    Genesis, Operation, Refusal, Role, RoleOperation, SignedTransaction, Transaction,
    TransactionOutcome, ValidatorChange, ValidatorOperation,
};
use types::{FabricId, Name, PublicKey, Signature};

use crate::event::Event;
use crate::fleet::{Fleet, node_seed};

/// How long a client waits for a node before it asks another.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause before it asks again.
const PAUSE: Duration = Duration::from_millis(700);

/// One principal.
pub(crate) struct Client {
    key: SigningKey,
    fabric: FabricId,
    nonce: u64,
    dice: Dice,
}

/// The key of the operator of that index.
pub(crate) fn operator(index: usize) -> PublicKey {
    PublicKey::from_bytes(signing_key(index).verifying_key().to_bytes())
}

fn signing_key(index: usize) -> SigningKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
    SigningKey::from_bytes(&seed)
}

impl Client {
    /// A node as a signer. Its ledger may have signed with the same key.
    pub(crate) fn officer(node: usize, genesis: &Genesis) -> Self {
        Self {
            key: SigningKey::from_bytes(&node_seed(node)),
            ..Self::new(node, genesis, 0)
        }
    }

    /// The operator of that index, who has signed nothing yet.
    pub(crate) fn new(index: usize, genesis: &Genesis, seed: u64) -> Self {
        Self {
            key: signing_key(index),
            fabric: genesis.fabric_id(),
            nonce: 0,
            dice: Dice::new(seed ^ ((index as u64) << 24)),
        }
    }

    /// Submits with pauses of up to `gap_ms`, for ever.
    pub(crate) async fn work(mut self, world: &SimWorld, fleet: &Arc<Fleet>, gap_ms: u64) {
        loop {
            let pause = Duration::from_millis(self.dice.below(gap_ms));
            world.sleep(pause).await;
            let transaction = self.next();
            loop {
                let node = self.dice.index(fleet.scenario.nodes());
                if ask(world, fleet, node, &transaction).await.is_some() {
                    break;
                }
                world.sleep(PAUSE).await;
            }
        }
    }

    /// Submits one transaction to `node`, again and again until it is told its end.
    pub(crate) async fn insist(mut self, world: &SimWorld, fleet: &Arc<Fleet>, node: usize) {
        let transaction = self.next();
        while ask(world, fleet, node, &transaction).await.is_none() {
            world.sleep(PAUSE).await;
        }
    }

    /// Votes for a change of validators, at the signer's own node, until it is told the end.
    pub(crate) async fn vote(
        mut self,
        world: &SimWorld,
        fleet: &Arc<Fleet>,
        node: usize,
        change: ValidatorChange,
    ) {
        loop {
            let operation = Operation::Validator(ValidatorOperation::Vote(change));
            let transaction = self.sign(operation);
            let finality = loop {
                if let Some(finality) = ask(world, fleet, node, &transaction).await {
                    break finality;
                }
                world.sleep(PAUSE).await;
            };
            match finality.outcome {
                TransactionOutcome::Refused(Refusal::Nonce { expected, .. }) => {
                    self.nonce = expected;
                }
                _ => return,
            }
        }
    }

    /// The next transaction: most change the state, some are refused.
    fn next(&mut self) -> Vec<u8> {
        let principal = operator(1000 + self.dice.index(20));
        let operation = match (self.dice.below(4), Name::new("shop")) {
            (0, Ok(workload)) => Operation::Stop { workload },
            (1, _) => Operation::Role(RoleOperation::Revoke { principal }),
            _ => Operation::Role(RoleOperation::Grant {
                principal,
                role: Role::Viewer,
            }),
        };
        self.sign(operation)
    }

    fn sign(&mut self, operation: Operation) -> Vec<u8> {
        let transaction = Transaction {
            fabric: self.fabric,
            principal: PublicKey::from_bytes(self.key.verifying_key().to_bytes()),
            nonce: self.nonce,
            expires_at: u64::MAX,
            operation,
        };
        self.nonce += 1;
        let signature = self.key.sign(&transaction.signing_bytes()).to_bytes();
        transaction.encode_signed(&Signature::from_bytes(signature))
    }
}

/// Submits to `node` and waits a while; none if its end is not known.
async fn ask(
    world: &SimWorld,
    fleet: &Arc<Fleet>,
    node: usize,
    transaction: &[u8],
) -> Option<Finality> {
    let ledger = fleet.ledger(node)?;
    let end = tokio::select! {
        biased;
        end = ledger.submit(transaction.to_vec()) => end,
        () = world.sleep(PATIENCE) => return None,
    };
    let finality = end.ok()?;
    let signed = SignedTransaction::decode(&fleet.genesis.fabric_id(), transaction).ok()?;
    fleet.show(&Event::Acknowledged {
        node,
        transaction: signed.id(),
        finality: &finality,
    });
    Some(finality)
}
