//! The node's own transactions: signed with its identity, submitted until the ledger took or refused
//! them. Never knows what an operation is for.

use std::future::{Future, ready};

use consensus::SubmitError;
use ledger::{Operation, Refusal, Transaction, TransactionOutcome};
use tokio::sync::Mutex;
use trust::SecretKey;
use types::{Digest, NodeId};

use crate::shared::Shared;

/// How many further blocks may carry a transaction.
const EXPIRY_HEIGHTS: u64 = 100;

/// Own transactions that run at once race for the next nonce.
const NONCE_ATTEMPTS_MAX: usize = 8;

/// Signs for the node.
#[derive(Debug)]
pub(crate) struct Signer {
    key: SecretKey,
    /// Held while a record or a lease of a guest is on its way to a block.
    pub(crate) record_turn: Mutex<()>,
}

/// What a transaction carries beside its operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The node's count of transactions before it.
    pub(crate) nonce: u64,
    /// Last height at which it is good.
    pub(crate) expires_at: u64,
}

/// An operation of the node's own that is a fact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    /// Its transaction.
    pub(crate) id: Digest,
    /// Height of its block.
    pub(crate) height: u64,
    /// The nonce that it carried.
    pub(crate) nonce: u64,
}

/// An operation of the node's own that did not become a fact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// No ledger took it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The ledger refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Signer {
    pub(crate) fn new(key: SecretKey) -> Self {
        let record_turn = Mutex::default();
        Self { key, record_turn }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.public()
    }

    pub(crate) const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Submits `operation` and waits until it is final.
    ///
    /// # Errors
    /// [`SignError`]: the ledger is closed or refused it.
    pub(crate) async fn submit(
        &self,
        shared: &Shared,
        operation: Operation,
    ) -> Result<Signed, SignError> {
        self.submit_made(shared, |_| ready(Ok(operation.clone())))
            .await
    }

    /// As [`Self::submit`], for an operation that depends on the transaction which carries it.
    ///
    /// # Errors
    /// As [`Self::submit`], or why it was not made.
    pub(crate) async fn submit_made<E, F>(
        &self,
        shared: &Shared,
        make: impl Fn(Slot) -> F,
    ) -> Result<Signed, E>
    where
        E: From<SignError>,
        F: Future<Output = Result<Operation, E>>,
    {
        let mut next = None;
        for _ in 1..NONCE_ATTEMPTS_MAX {
            let slot = self.slot(shared, next);
            match self.attempt(shared, slot, make(slot).await?).await {
                Err(SignError::Refused(Refusal::Nonce { expected, .. })) => next = Some(expected),
                other => return Ok(other?),
            }
        }
        let slot = self.slot(shared, next);
        Ok(self.attempt(shared, slot, make(slot).await?).await?)
    }

    fn slot(&self, shared: &Shared, nonce: Option<u64>) -> Slot {
        let state = shared.state();
        // A founder has no record before its first transaction. State that cannot be read
        // ends the node elsewhere.
        let known = state.view.principal(&self.id()).ok().flatten();
        let known = known.map_or(0, |record| record.nonce);
        Slot {
            nonce: nonce.unwrap_or(known),
            expires_at: state.view.height().saturating_add(EXPIRY_HEIGHTS),
        }
    }

    async fn attempt(
        &self,
        shared: &Shared,
        Slot { nonce, expires_at }: Slot,
        operation: Operation,
    ) -> Result<Signed, SignError> {
        let transaction = Transaction {
            fabric: shared.fabric,
            principal: self.id(),
            nonce,
            expires_at,
            operation,
        };
        let signature = self.key.sign(&transaction.signing_bytes());
        let bytes = transaction.encode_signed(&signature);
        let id = Digest::of(&bytes);
        let finality = shared.ledger.submit(bytes).await?;
        match finality.outcome {
            TransactionOutcome::Applied => Ok(Signed {
                id,
                height: finality.height,
                nonce,
            }),
            TransactionOutcome::Refused(refusal) => Err(refusal.into()),
        }
    }
}
