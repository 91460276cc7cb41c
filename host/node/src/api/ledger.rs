//! The ledger for those who check it themselves: blocks with what proves them final, entries of the
//! state, and what proves them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use data_encoding::HEXLOWER;
use http::header::CONTENT_TYPE;

use admin::{
    ApiError, BlockProof, EntryQuery, EntryStatus, ErrorCode, KeyList, KeysQuery, LedgerStatus,
    StateProof,
};
use consensus::QueryError;
use ledger::{AnyRecord, StateKey};
use types::Digest;

use crate::api::refusal::{Path, Query, Refused};
use crate::api::rules;
use crate::shared::Shared;

/// Most keys in one answer: a few hundred KiB.
const KEYS_MAX: usize = 10_000;

/// How the ledger of this node stands.
#[utoipa::path(get, path = "/v1/ledger", responses((status = 200, body = LedgerStatus)))]
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<LedgerStatus>, Refused> {
    let rules = rules::status(&shared.state().view).map_err(Refused::internal)?;
    let status = shared.ledger.status();
    let number = |count: usize| count as u64;
    Ok(Json(LedgerStatus {
        fabric: shared.fabric,
        node: shared.node,
        role: status.role.to_string(),
        height: status.height,
        time_ms: status.time_ms,
        state_root: HEXLOWER.encode(&status.state_root),
        epoch: status.epoch,
        validators: number(status.validators),
        next_validators: status.next_validators.map(number),
        rules,
        waiting_transactions: number(status.pool.transactions),
        waiting_bytes: number(status.pool.bytes),
        peers: number(status.peers),
        heard_height: status.heard.map(|heard| heard.height),
        heard_peers: status.heard.map(|heard| number(heard.peers)),
        catching_up: status.catching_up,
        lagging: status.lagging,
        view: status.view,
        nullified: status.nullified,
    }))
}

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
        return Err(no_block(height));
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

/// An entry of the state, as this node has it.
#[utoipa::path(
    get,
    path = "/v1/ledger/entries",
    params(EntryQuery),
    responses(
        (status = 200, body = EntryStatus), (status = 400, body = ApiError),
        (status = 404, body = ApiError)
    )
)]
pub(super) async fn entry(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<EntryQuery>,
) -> Result<Json<EntryStatus>, Refused> {
    let key = state_key(&query.key)?;
    let state = shared.state();
    let height = state.view.height();
    let Some(value) = state.view.value(&key) else {
        let text = format!("the ledger has no entry `{key}` at height {height}");
        return Err(Refused::not_found(text));
    };
    Ok(Json(EntryStatus {
        key: key.to_string(),
        height,
        value: HEXLOWER.encode(value),
        record: record(&key, value)?,
    }))
}

/// The keys of entries.
#[utoipa::path(
    get,
    path = "/v1/ledger/keys",
    params(KeysQuery),
    responses((status = 200, body = KeyList), (status = 400, body = ApiError))
)]
pub(super) async fn keys(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<KeysQuery>,
) -> Result<Json<KeyList>, Refused> {
    let prefix = prefix(&query.prefix)?;
    let state = shared.state();
    let mut entries = state.view.entries(&prefix);
    let keys = entries.by_ref().take(KEYS_MAX);
    let keys = keys.map(|(key, _)| key.to_string()).collect();
    let more = entries.count() as u64;
    Ok(Json(KeyList {
        height: state.view.height(),
        keys,
        more,
    }))
}

/// Proof of what a key holds, or that it holds nothing, for those who know only the fabric's id.
#[utoipa::path(
    get,
    path = "/v1/ledger/proof",
    params(EntryQuery),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn proof(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<EntryQuery>,
) -> Result<impl IntoResponse, Refused> {
    let key = state_key(&query.key)?;
    let proof = shared.ledger.entry_proof(&shared.genesis, &key).await;
    let Some(proof) = proof.map_err(unanswered)? else {
        let text = "no new block has a certificate of finality yet: ask again in a moment";
        return Err(Refused::new(ErrorCode::Unavailable, text));
    };
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, proof.encode()))
}

/// What a value says, for people and scripts; none for a kind of entry that is not known.
pub(super) fn record(key: &StateKey, value: &[u8]) -> Result<Option<serde_json::Value>, Refused> {
    let record = AnyRecord::decode(key, value).map_err(Refused::internal)?;
    let record = record.map(serde_json::to_value).transpose();
    record.map_err(Refused::internal)
}

fn state_key(text: &str) -> Result<StateKey, Refused> {
    text.parse()
        .map_err(|error| Refused::new(ErrorCode::BadRequest, error))
}

/// The bytes that a prefix stands for; none for the empty one.
pub(super) fn prefix(text: &str) -> Result<Vec<u8>, Refused> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    Ok(state_key(text)?.as_bytes().to_vec())
}

pub(super) fn no_block(height: u64) -> Refused {
    Refused::not_found(format!("this node has no final block at height {height}"))
}

pub(super) fn unanswered(error: QueryError) -> Refused {
    Refused::new(ErrorCode::Unavailable, error)
}
