//! What hosts show of their assets, and what this node keeps for its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;

use admin::{
    ApiError, AssetAnswer, ClientError, ErrorCode, KeepRequest, KeptStatus, SpaceStatus,
    TransactionReport,
};
use ledger::{AssetOperation, KeptContent, SpaceRecord};
use types::{AssetId, AssetType, NodeId};

use crate::api::assets::find;
use crate::api::membership::reported;
use crate::api::refusal::{Body, Path, Refused};
use crate::proving::{self, ProveError};
use crate::shared::Shared;

/// How long another node has to answer: it reads 33 chunks.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What the host of an asset shows of it now: its part of the proofs of an operation.
#[utoipa::path(
    get,
    path = "/v1/assets/{asset}/answer",
    params(("asset" = String, Path)),
    responses(
        (status = 200, body = AssetAnswer), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(asset): Path<AssetId>,
) -> Result<Json<AssetAnswer>, Refused> {
    let host = find(&shared.state().view, &asset)?.host;
    if host != shared.node {
        return Ok(Json(asked(&shared, host, &asset).await?));
    }
    let anchor = proving::newest_anchor(&shared).await.map_err(refused)?;
    let answer = proving::answer(&shared, asset, anchor).await;
    let answer = answer.map_err(refused)?.encode();
    Ok(Json(AssetAnswer {
        anchor_height: anchor.height,
        anchor_digest: anchor.digest,
        answer: HEXLOWER.encode(&answer),
    }))
}

/// Passes the question on. Whoever hosts it answers itself, so it goes no further.
async fn asked(shared: &Shared, host: NodeId, asset: &AssetId) -> Result<AssetAnswer, Refused> {
    let away = |why: &str| {
        let text = format!(
            "node {} hosts {} and {why}: an operation needs its answer",
            host.short(),
            asset.short()
        );
        Refused::new(ErrorCode::Unavailable, text)
    };
    let peers = shared.peers.get();
    let client = peers.and_then(|peers| peers.admin_of(&host));
    let client = client.ok_or_else(|| away("has no session with this one"))?;
    match tokio::time::timeout(ANSWER_TIME, client.asset_answer(asset)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ClientError::Refused(error))) => Err(Refused::new(error.code, error.message)),
        Ok(Err(error)) => Err(away(&format!("cannot be asked ({error})"))),
        Err(_) => Err(away("does not answer")),
    }
}

/// Commits this node to keep an artifact for a storage asset of its own. Fetched from members where it
/// is not here.
#[utoipa::path(
    post,
    path = "/v1/assets/{asset}/keep",
    params(("asset" = String, Path)),
    request_body = KeepRequest,
    responses(
        (status = 200, body = TransactionReport), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 422, body = ApiError)
    )
)]
pub(super) async fn keep(
    State(shared): State<Arc<Shared>>,
    Path(asset): Path<AssetId>,
    Body(KeepRequest { root }): Body<KeepRequest>,
) -> Result<Json<TransactionReport>, Refused> {
    find(&shared.state().view, &asset)?;
    if asset.asset_type() != AssetType::Storage {
        let text = format!("{} is no storage: only that keeps contents", asset.short());
        return Err(Refused::new(ErrorCode::Refused, text));
    }
    if shared.artifacts.size(&root).is_none()
        && let Some(peers) = shared.peers.get()
    {
        let fetched = peers.fetch(&shared.artifacts, root).await;
        fetched.map_err(Refused::not_found)?;
    }
    let bytes = shared.artifacts.size(&root);
    let bytes =
        bytes.ok_or_else(|| Refused::not_found(format!("artifact {root} is not on this node")))?;
    let content = KeptContent { root, bytes };
    let keep = AssetOperation::Keep { asset, content };
    let signed = proving::sign(&shared, &keep, false, |_| asset).await;
    let signed = signed.map_err(refused)?;
    Ok(Json(reported(&shared, signed).await?))
}

/// What the ledger knows of the space of an asset.
pub(super) fn space_status(space: SpaceRecord) -> SpaceStatus {
    let kept = space.kept.iter().map(|kept| KeptStatus {
        root: kept.root,
        bytes: kept.bytes,
    });
    SpaceStatus {
        kept: kept.collect(),
        open_at: space.open.map(|open| open.height),
        proven_at: space.proven_at,
        failed_at: space.failed_at,
    }
}

pub(super) fn refused(error: ProveError) -> Refused {
    match error {
        ProveError::Sign(error) => super::membership::sign_refused(error),
        ProveError::State(error) => Refused::internal(error),
        ProveError::NoAnchor { .. } | ProveError::Stopping => {
            Refused::new(ErrorCode::Unavailable, error)
        }
        ProveError::Artifact(_) | ProveError::Read { .. } => {
            Refused::new(ErrorCode::Refused, error)
        }
    }
}
