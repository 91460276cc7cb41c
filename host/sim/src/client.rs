//! Principals that submit transactions, each one after the other, to one node or another, until
//! they are told how each ended. Looks at what nodes show of the state, never at blocks.

use std::sync::Arc;
use std::time::Duration;

use consensus::Finality;
use consensus::simulated::{Dice, SimWorld};
use ed25519_dalek::{Signer as _, SigningKey};
use ledger::{
    Genesis, Operation, Refusal, Role, RoleOperation, SignedTransaction, Transaction,
    TransactionOutcome,
};
use types::{FabricId, Name, Principal, PublicKey, Signature};

use crate::estate;
use crate::event::Event;
use crate::fleet::{Fleet, node_seed};
use crate::proving::Signing;

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

    /// Whoever of the operators and nodes signs as `principal`.
    pub(crate) fn of(principal: Principal, fleet: &Fleet) -> Option<Self> {
        let seed = fleet.scenario.seed;
        let operators = (0..fleet.scenario.clients).map(|at| Self::new(at, &fleet.genesis, seed));
        let nodes = (0..fleet.scenario.nodes()).map(|node| Self::officer(node, &fleet.genesis));
        let mut all = operators.chain(nodes);
        all.find(|client| client.principal() == principal)
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
            let transaction = self.next(fleet);
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
        let transaction = self.grant_role();
        while ask(world, fleet, node, &transaction).await.is_none() {
            world.sleep(PAUSE).await;
        }
    }

    /// Who signs.
    pub(crate) fn principal(&self) -> Principal {
        PublicKey::from_bytes(self.key.verifying_key().to_bytes())
    }

    /// Submits an operation to `node` until it is told the end, and signs it anew where the same
    /// key had signed something else meanwhile.
    pub(crate) async fn settle(
        &mut self,
        world: &SimWorld,
        fleet: &Arc<Fleet>,
        node: usize,
        operation: &Operation,
    ) -> Finality {
        loop {
            self.look_up_nonce(fleet, node);
            let transaction = self.sign_shown(fleet, node, operation.clone());
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
                _ => return finality,
            }
        }
    }

    fn look_up_nonce(&mut self, fleet: &Fleet, node: usize) {
        let me = self.principal();
        let known = fleet.view(node, |view| view.principal(&me).ok().flatten());
        let nonce = known.flatten().map_or(0, |record| record.nonce);
        self.nonce = self.nonce.max(nonce);
    }

    /// The next transaction: most change the state, some are refused.
    fn next(&mut self, fleet: &Fleet) -> Vec<u8> {
        let deals = fleet.scenario.assets && self.dice.comes_true(600);
        let node = self.dice.index(fleet.scenario.nodes());
        let me = self.principal();
        let dice = &mut self.dice;
        let deal = deals.then(|| fleet.view(node, |view| estate::deal(dice, view, me)));
        if let Some(operation) = deal.flatten().flatten() {
            return self.sign_shown(fleet, node, operation);
        }
        match (self.dice.below(4), Name::new("shop")) {
            (0, Ok(workload)) => self.sign(Operation::Stop { workload }),
            (1, _) => {
                let principal = operator(1000 + self.dice.index(20));
                self.sign(Operation::Role(RoleOperation::Revoke { principal }))
            }
            _ => self.grant_role(),
        }
    }

    fn grant_role(&mut self) -> Vec<u8> {
        let principal = operator(1000 + self.dice.index(20));
        self.sign(Operation::Role(RoleOperation::Grant {
            principal,
            role: Role::Viewer,
        }))
    }

    /// Signs an operation with the proofs that it needs, by what `node` shows.
    fn sign_shown(&mut self, fleet: &Fleet, node: usize, operation: Operation) -> Vec<u8> {
        let proven = fleet.view(node, |view| {
            let signing = Signing {
                view,
                fabric: self.fabric,
                key: &self.key,
                nonce: self.nonce,
                anchor: view.newest_anchor().ok().flatten(),
            };
            signing.proven(operation.clone(), |host| {
                let host = fleet.net.number_of(host)?;
                Some(SigningKey::from_bytes(&node_seed(host)))
            })
        });
        self.sign(proven.unwrap_or(operation))
    }

    fn sign(&mut self, operation: Operation) -> Vec<u8> {
        let transaction = Transaction {
            fabric: self.fabric,
            principal: self.principal(),
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
