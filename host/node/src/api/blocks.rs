//! Blocks and transactions for people: listed, opened, found, followed.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::{StreamExt as _, stream};
use http::header::CONTENT_TYPE;

use admin::{
    Acceptance, ApiError, BlockContents, BlockList, BlockSummary, BlocksQuery, ErrorCode,
    FinalTransaction, WatchQuery, WatchedBlock,
};
use consensus::FinalizedProof;
use ledger::{SignedTransaction, TransactionOutcome};
use types::Digest;

use crate::api::ledger::{no_block, prefix, unanswered};
use crate::api::refusal::{Path, Query, Refused};
use crate::api::watching::Watching;
use crate::shared::Shared;

/// Blocks of a list unless it is said, and at most: each is read from disk, one after the other.
const BLOCKS: u64 = 20;
const BLOCKS_MAX: u64 = 256;

/// Blocks and bytes of them that are looked through for one transaction, from the newest down: a
/// second or two. Older ones are found by whoever knows their height.
const SEARCHED_BLOCKS_MAX: u64 = 4_096;
const SEARCHED_BYTES_MAX: usize = 256 << 20;

/// Some final blocks in a row.
#[utoipa::path(
    get,
    path = "/v1/ledger/blocks",
    params(BlocksQuery),
    responses(
        (status = 200, body = BlockList), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BlocksQuery>,
) -> Result<Json<BlockList>, Refused> {
    let limit = query.limit.unwrap_or(BLOCKS).min(BLOCKS_MAX);
    let tip = shared.ledger.status().height;
    let newest = tip.saturating_add(1).saturating_sub(limit);
    let first = query.from.unwrap_or(newest).max(1);
    let last = tip.min(first.saturating_add(limit).saturating_sub(1));
    let mut blocks = Vec::new();
    for height in first..=last {
        match stored(&shared, height).await? {
            Some(proof) => blocks.push(summary(&shared, &proof)?),
            // Pruned ones come first; whoever asks for one of them hears it.
            None if query.from.is_none() && blocks.is_empty() => {}
            None => return Err(no_block(height)),
        }
    }
    Ok(Json(BlockList { blocks }))
}

/// A block by its height or by its digest.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(try_from = "String")]
pub(super) enum BlockName {
    Height(u64),
    Digest(Digest),
}

impl TryFrom<String> for BlockName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(height) = text.parse() {
            return Ok(Self::Height(height));
        }
        let digest = Digest::from_str(&text);
        digest
            .map(Self::Digest)
            .map_err(|_| format!("`{text}` is neither a height nor a digest"))
    }
}

/// What is in a final block.
#[utoipa::path(
    get,
    path = "/v1/ledger/contents/{block}",
    params(("block" = String, Path, description = "its height, or its digest")),
    responses(
        (status = 200, body = BlockContents), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn contents(
    State(shared): State<Arc<Shared>>,
    Path(block): Path<BlockName>,
) -> Result<Json<BlockContents>, Refused> {
    let height = match block {
        BlockName::Height(height) => height,
        BlockName::Digest(digest) => {
            let found = shared.ledger.height_of(*digest.as_bytes()).await;
            let missing = || Refused::not_found(format!("this node has no final block {digest}"));
            found.map_err(unanswered)?.ok_or_else(missing)?
        }
    };
    let proof = stored(&shared, height).await?;
    let proof = proof.ok_or_else(|| no_block(height))?;
    let block = summary(&shared, &proof)?;
    let transactions = transactions(&shared, height, &proof)?;
    Ok(Json(BlockContents {
        block,
        transactions,
    }))
}

/// A final transaction by its id.
#[utoipa::path(
    get,
    path = "/v1/ledger/transactions/{id}",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = FinalTransaction), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn transaction(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<Digest>,
) -> Result<Json<FinalTransaction>, Refused> {
    let tip = shared.ledger.status().height;
    let known = shared.history.height_of(&id);
    let lowest = tip.saturating_sub(SEARCHED_BLOCKS_MAX).max(1);
    let (highest, lowest) = known.map_or((tip, lowest), |height| (height, height));
    let (mut looked, mut bytes) = (tip.saturating_add(1), 0);
    for height in (lowest..=highest).rev() {
        let Some(proof) = stored(&shared, height).await? else {
            break;
        };
        let carries = consensus::carries_transaction(&proof.block, &id);
        if carries.map_err(Refused::internal)? {
            let found = transactions(&shared, height, &proof)?;
            let mut found = found.into_iter().filter(|found| found.id == id);
            return found.next().map(Json).ok_or_else(|| no_block(height));
        }
        looked = height;
        bytes += proof.block.len();
        if bytes > SEARCHED_BYTES_MAX {
            break;
        }
    }
    let text = match looked {
        1 => format!("no block up to height {tip} has transaction {id}"),
        _ => format!(
            "no block from height {looked} to {tip} has transaction {id}; this node did not look \
             through older ones, or has them no more"
        ),
    };
    Err(Refused::not_found(text))
}

/// Final blocks as they come, one [`WatchedBlock`] a line.
#[utoipa::path(
    get,
    path = "/v1/ledger/watch",
    params(WatchQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = WatchedBlock),
        (status = 400, body = ApiError), (status = 404, body = ApiError)
    )
)]
pub(super) async fn watch(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<WatchQuery>,
) -> Result<Response, Refused> {
    let prefix = query.prefix.as_deref().map(prefix).transpose()?;
    let next = shared.state().view.height().saturating_add(1);
    let from = query.from.unwrap_or(next).max(1);
    if from < next {
        let first = shared.history.first().unwrap_or(next);
        if prefix.is_some() && from < first {
            let text = format!(
                "this node remembers what blocks changed from height {first} on: begin there, or \
                 follow blocks without a prefix"
            );
            return Err(Refused::not_found(text));
        }
        if stored(&shared, from).await?.is_none() {
            return Err(no_block(from));
        }
    }
    let stopping = shared.stopping.clone().cancelled_owned();
    let watching = Watching::new(shared, from, prefix);
    let blocks = stream::unfold(watching, async |mut watching| {
        let block = watching.next().await?;
        Some((block, watching))
    });
    let lines = blocks.take_until(Box::pin(stopping)).map(encode);
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn encode(block: WatchedBlock) -> Result<Bytes, Infallible> {
    // A line is plain data: it always serialises.
    let mut text = serde_json::to_vec(&block).unwrap_or_default();
    text.push(b'\n');
    Ok(text.into())
}

pub(super) async fn stored(
    shared: &Shared,
    height: u64,
) -> Result<Option<FinalizedProof>, Refused> {
    shared.ledger.finalized(height).await.map_err(unanswered)
}

pub(super) fn summary(shared: &Shared, proof: &FinalizedProof) -> Result<BlockSummary, Refused> {
    let header = consensus::read_block(&shared.genesis, &proof.block);
    let header = header.map_err(Refused::internal)?;
    Ok(BlockSummary {
        height: header.height,
        time_ms: header.time_ms,
        digest: Digest::from_bytes(header.block_digest),
        parent: Digest::from_bytes(header.parent_digest),
        state_root: HEXLOWER.encode(&header.state_root),
        leader: header.leader,
        transactions: header.transactions as u64,
        certificate: proof.certificate.is_some(),
    })
}

fn transactions(
    shared: &Shared,
    height: u64,
    proof: &FinalizedProof,
) -> Result<Vec<FinalTransaction>, Refused> {
    let read = consensus::read_transactions(&shared.fabric, &proof.block);
    let read = read.map_err(Refused::internal)?;
    (0_u64..)
        .zip(&read)
        .map(|(index, signed)| described(shared, height, index, signed))
        .collect()
}

fn described(
    shared: &Shared,
    height: u64,
    index: u64,
    signed: &SignedTransaction,
) -> Result<FinalTransaction, Refused> {
    let id = signed.id();
    let transaction = signed.transaction();
    let operation = serde_json::to_value(&transaction.operation);
    Ok(FinalTransaction {
        id,
        height,
        index,
        signer: transaction.principal,
        nonce: transaction.nonce,
        expires_at: transaction.expires_at,
        asks: transaction.operation.to_string(),
        operation: operation.map_err(|error| Refused::new(ErrorCode::Internal, error))?,
        outcome: shared.history.outcome(height, &id).map(acceptance),
    })
}

pub(super) fn acceptance(outcome: TransactionOutcome) -> Acceptance {
    match outcome {
        TransactionOutcome::Applied => Acceptance::Applied,
        TransactionOutcome::Refused(refusal) => Acceptance::Refused {
            reason: refusal.name().to_owned(),
            message: refusal.to_string(),
        },
    }
}
