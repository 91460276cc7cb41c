//! The ledger for those who check it themselves: blocks with what proves them final, entries of the
//! state with what proves them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;

use admin::{ApiError, BlockProof, ErrorCode, StateProof};
use consensus::QueryError;
use ledger::StateKey;
use types::Digest;

use crate::api::refusal::{Path, Refused};
use crate::shared::Shared;

/// A final block, with its certificate of finality.
#[utoipa::path(
    get,
    path = "/v1/ledger/blocks/{height}",
    params(("height" = u64, Path)),
    responses(
        (status = 200, body = BlockProof), (status = 400, body = ApiError),
        (status = 404, body = ApiError)
    )
)]
pub(super) async fn block(
    State(shared): State<Arc<Shared>>,
    Path(height): Path<u64>,
) -> Result<Json<BlockProof>, Refused> {
    let proof = shared.ledger.finalized(height).await.map_err(unanswered)?;
    let Some(proof) = proof else {
        let text = format!("this node has no final block at height {height}");
        return Err(Refused::not_found(text));
    };
    Ok(Json(BlockProof {
        block: HEXLOWER.encode(&proof.block),
        certificate: proof.certificate.map(|bytes| HEXLOWER.encode(&bytes)),
    }))
}

/// Whether a certificate is logged, with the proof under the state root of the last final block.
#[utoipa::path(
    get,
    path = "/v1/ledger/certificates/{fingerprint}",
    params(("fingerprint" = String, Path)),
    responses(
        (status = 200, body = StateProof), (status = 400, body = ApiError),
        (status = 503, body = ApiError)
    )
)]
pub(super) async fn certificate(
    State(shared): State<Arc<Shared>>,
    Path(fingerprint): Path<Digest>,
) -> Result<Json<StateProof>, Refused> {
    let key = StateKey::certificate(&fingerprint);
    let proof = shared.ledger.prove(key).await.map_err(unanswered)?;
    let proof =
        proof.ok_or_else(|| Refused::new(ErrorCode::Unavailable, "no block is final yet"))?;
    Ok(Json(StateProof {
        height: proof.height,
        state_root: Digest::from_bytes(proof.state_root).hex(),
        proof: HEXLOWER.encode(&proof.bytes),
    }))
}

fn unanswered(error: QueryError) -> Refused {
    Refused::new(ErrorCode::Unavailable, error)
}
