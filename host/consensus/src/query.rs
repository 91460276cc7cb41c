//! Questions of the node to the engine's thread, and their answers: final blocks as stored, proofs
//! of the state. Never decides and never changes anything.

use std::future::pending;

use commonware_codec::Encode as _;
use commonware_consensus::marshal::Identifier;
use commonware_consensus::types::Height;
use ledger::StateKey;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{EngineRuntime, Foundation};
use crate::error::QueryError;
use crate::proof::{FinalizedProof, StateProof, prove};

/// Questions that may wait; whoever asks more waits to ask.
pub(crate) const QUERIES_MAX: usize = 64;

type Answer<T> = oneshot::Sender<Result<Option<T>, QueryError>>;

/// One question.
#[derive(Debug)]
pub(crate) enum Query {
    Finalized(u64, Answer<FinalizedProof>),
    Prove(StateKey, Answer<StateProof>),
}

/// Answers one after the other, for ever.
pub(crate) async fn answer<E: EngineRuntime>(
    base: &Foundation<E>,
    queries: &mut mpsc::Receiver<Query>,
) {
    let databases = base.stateful.subscribe_databases().await;
    while let Some(query) = queries.recv().await {
        // Whoever went away does not mind.
        match query {
            Query::Finalized(height, told) => {
                let _ = told.send(Ok(finalized(base, height).await));
            }
            Query::Prove(key, told) => {
                let proof = prove(&*databases.read().await, &key).await;
                let _ = told.send(proof.map_err(|error| QueryError::Storage {
                    reason: error.to_string(),
                }));
            }
        }
    }
    pending().await
}

async fn finalized<E: EngineRuntime>(base: &Foundation<E>, height: u64) -> Option<FinalizedProof> {
    let height = Height::new(height);
    let block = base.marshal.get_block(Identifier::Height(height)).await?;
    let certificate = base.marshal.get_finalization(height).await;
    Some(FinalizedProof {
        block: block.inner().encode().to_vec(),
        certificate: certificate.map(|certificate| certificate.encode().to_vec()),
    })
}
