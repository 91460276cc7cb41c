//! What hosts show of their assets, and what this node keeps for its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;

use admin::{
    ApiError, AssetAnswer, ErrorCode, KeepRequest, KeptStatus, SpaceStatus, TransactionReport,
};
use ledger::{AssetOperation, KeptContent, SpaceRecord};
use types::{AssetId, AssetType};

use crate::api::assets::find;
use crate::api::membership::reported;
use crate::api::refusal::{Body, Path, Refused};
use crate::proving::{self, ProveError, Subject};
use crate::shared::Shared;

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
    let shown = proving::shown_by(&shared, host, asset).await;
    let (anchor, answer) = shown.map_err(refused)?;
    Ok(Json(AssetAnswer {
        anchor_height: anchor.height,
        anchor_digest: anchor.digest,
        answer: HEXLOWER.encode(&answer.encode()),
    }))
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
    let signed = proving::sign(&shared, &keep, |_| Subject::own(&shared, asset)).await;
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
        ProveError::NoAnchor { .. } | ProveError::Away { .. } | ProveError::Stopping => {
            Refused::new(ErrorCode::Unavailable, error)
        }
        ProveError::Artifact(_) | ProveError::Read { .. } | ProveError::NotShown { .. } => {
            Refused::new(ErrorCode::Refused, error)
        }
    }
}
