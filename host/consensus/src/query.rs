//! Questions of the node to the engine's thread, and their answers: final blocks as stored, proofs
//! of the state. Never decides and never changes anything.

use std::future::pending;

use commonware_codec::Encode as _;
use commonware_consensus::Heightable as _;
use commonware_consensus::marshal::Identifier;
use commonware_consensus::types::Height;
use commonware_cryptography::Digestible as _;
use ledger::StateKey;
use tokio::sync::{mpsc, oneshot};

use crate::block::Digest;
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
    Height([u8; 32], Answer<u64>),
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
            Query::Height(digest, told) => {
                let _ = told.send(Ok(height(base, Digest::from(digest)).await));
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

/// The height of the final block with this digest. A candidate may have it, too: what counts is
/// whether it is the one that is final there.
async fn height<E: EngineRuntime>(base: &Foundation<E>, digest: Digest) -> Option<u64> {
    let height = base.marshal.get_block(&digest).await?.height();
    let kept = base.marshal.get_block(Identifier::Height(height)).await?;
    (kept.digest() == digest).then(|| height.get())
}
