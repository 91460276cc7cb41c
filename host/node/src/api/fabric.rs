//! The node, its ledger, its signers, its metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::CONTENT_TYPE;

use admin::{
    ApiError, ArtifactsStatus, ErrorCode, NodeStatus, PrincipalStatus, QuorumStatus,
    TransactionReport,
};
use consensus::SubmitError;
use monitor::{CompileSample, METRICS_CONTENT_TYPE, NodeSample};
use types::{Digest, Principal};

use crate::api::blocks::acceptance;
use crate::api::refusal::{Path, Refused};
use crate::api::rules;
use crate::shared::Shared;
use crate::status;

/// The node's status.
#[utoipa::path(
    get,
    path = "/v1/node",
    responses((status = 200, body = NodeStatus), (status = 500, body = ApiError))
)]
pub(super) async fn node(State(shared): State<Arc<Shared>>) -> Result<Json<NodeStatus>, Refused> {
    let store = shared.artifacts.clone();
    // It lists a folder.
    let pinned = tokio::task::spawn_blocking(move || store.bytes_pinned()).await;
    let pinned = pinned.map_err(Refused::internal)?;
    let artifacts = ArtifactsStatus {
        quota_bytes: shared.artifacts.bytes_max(),
        used_bytes: shared.artifacts.bytes(),
        pinned_bytes: pinned.map_err(Refused::internal)?,
    };
    let ledger = shared.ledger.status();
    let deployments = deployments(&shared);
    Ok(Json(NodeStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: shared.node,
        fabric: shared.fabric,
        height: ledger.height,
        state_root: Digest::from_bytes(ledger.state_root).hex(),
        block_time_ms: ledger.time_ms,
        rules: rules::status(&shared.state().view).map_err(Refused::internal)?,
        validators: u32::try_from(ledger.validators).unwrap_or(u32::MAX),
        waiting_transactions: u32::try_from(ledger.pool.transactions).unwrap_or(u32::MAX),
        quorum: ledger.quorum.map(|quorum| QuorumStatus {
            needed: u32::try_from(quorum.needed).unwrap_or(u32::MAX),
            reached: u32::try_from(quorum.reached).unwrap_or(u32::MAX),
            missing: quorum.missing.into_iter().collect(),
            waiting_ms: quorum
                .waiting_for
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }),
        http: shared.http.map(|address| address.to_string()),
        https: shared.https.map(|address| address.to_string()),
        https_certificate: shared.shown.as_ref().map(|shown| shown.status()),
        data_directory: shared.data_dir.display().to_string(),
        uptime_ms: shared.now_ms(),
        deployments,
        replicas_running: status::replicas_running(&shared),
        instances_max: shared.instances_max,
        instances_free: u32::try_from(shared.runtime.free_slots()).unwrap_or(u32::MAX),
        artifacts,
    }))
}

/// What the ledger knows of a signer.
#[utoipa::path(
    get,
    path = "/v1/principals/{id}",
    params(("id" = String, Path, description = "public key, 64 hex digits")),
    responses((status = 200, body = PrincipalStatus), (status = 400, body = ApiError), (status = 404, body = ApiError))
)]
pub(super) async fn principal(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<Principal>,
) -> Result<Json<PrincipalStatus>, Refused> {
    let state = shared.state();
    let record = state.view.principal(&id).map_err(Refused::internal)?;
    let Some(record) = record else {
        let fabric = shared.fabric.short();
        return Err(Refused::not_found(format!(
            "fabric {fabric} does not know signer {id}"
        )));
    };
    Ok(Json(PrincipalStatus {
        principal: id,
        role: record.role.to_string(),
        nonce: record.nonce,
        fabric: shared.fabric,
        height: state.view.height(),
    }))
}

/// Submits a signed transaction; answers when it is final, durable and seen by this node.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    request_body(content_type = "application/octet-stream", description = "canonical signed bytes"),
    responses(
        (status = 200, body = TransactionReport, description = "in a final block, applied or refused there"),
        (status = 400, body = ApiError), (status = 429, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn submit(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<TransactionReport>, Refused> {
    let id = Digest::of(&body);
    let finality = shared.ledger.submit(body.to_vec()).await.map_err(|error| {
        let code = match &error {
            SubmitError::Invalid(_) => ErrorCode::BadRequest,
            SubmitError::Expired { .. } => ErrorCode::Refused,
            SubmitError::Full { .. } | SubmitError::PrincipalFull { .. } => ErrorCode::Busy,
            SubmitError::Stopped { .. } | SubmitError::Skipped { .. } => ErrorCode::Unavailable,
        };
        Refused::new(code, error)
    })?;
    shown(&shared, finality.height).await?;
    Ok(Json(TransactionReport {
        id,
        height: finality.height,
        outcome: acceptance(finality.outcome),
    }))
}

/// Waits until this node shows the block at `height`: what a client asks next must show what it has
/// just been told.
pub(super) async fn shown(shared: &Shared, height: u64) -> Result<(), Refused> {
    let mut revision = shared.revision.subscribe();
    let seen = revision
        .wait_for(|_| shared.state().view.height() >= height)
        .await;
    seen.map_err(|_| Refused::new(ErrorCode::Unavailable, "the node is stopping"))?;
    Ok(())
}

/// Metrics as text (OpenMetrics 1.0).
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let ledger = shared.ledger.status();
    let compile = shared.runtime.compile_stats();
    let sample = NodeSample {
        height: ledger.height,
        waiting_transactions: ledger.pool.transactions as u64,
        replicas_running: status::replicas_running(&shared).into(),
        deployments: deployments(&shared).into(),
        compile: CompileSample {
            cache_hits: compile.cache_hits,
            cache_misses: compile.cache_misses,
            cache_rejected: compile.cache_rejected,
            cache_bytes_loaded: compile.cache_bytes_loaded,
            compiled: compile.compiled,
            compile_time: compile.compile_time,
            instances_max: shared.instances_max.into(),
            instances_free: shared.runtime.free_slots() as u64,
        },
    };
    (
        [(CONTENT_TYPE, METRICS_CONTENT_TYPE)],
        shared.metrics.encode(&sample),
    )
}

fn deployments(shared: &Shared) -> u32 {
    let record = shared.state().view.fabric();
    // A state that cannot be read ends the node elsewhere.
    record.ok().flatten().map_or(0, |record| record.deployments)
}
