//! Assets and leases: what the ledger says of them, and what this node measures and registers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use admin::{
    ASSETS_LISTED_MAX, ApiError, AssetList, AssetStatus, ErrorCode, LeaseList, LeaseStatus,
    RegisterReport, RegisterRequest,
};
use assets::MeasureError;
use ledger::{AssetOperation, AssetRecord, DecodeRecordError, LeaseRecord, View};
use types::{AssetAddress, AssetFacts, AssetId, LeaseId, Principal};

use crate::api::membership::reported;
use crate::api::refusal::{Body, Path, Refused};
use crate::api::space::{self, space_status};
use crate::measuring::{self, Measurable, MeasureHereError};
use crate::proving::{self, Subject};
use crate::shared::Shared;
use crate::signer::Slot;

/// All assets.
#[utoipa::path(get, path = "/v1/assets", responses((status = 200, body = AssetList)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<AssetList>, Refused> {
    let state = shared.state();
    let view = &state.view;
    let assets = view.assets().map_err(Refused::internal)?;
    let more = assets.len().saturating_sub(ASSETS_LISTED_MAX) as u64;
    let listed = assets.into_iter().take(ASSETS_LISTED_MAX);
    let statuses: Result<Vec<_>, _> = listed
        .map(|(id, record)| asset_status(&shared, view, id, record))
        .collect();
    Ok(Json(AssetList {
        height: view.height(),
        assets: statuses.map_err(Refused::internal)?,
        more,
    }))
}

/// One asset with its leases.
#[utoipa::path(
    get,
    path = "/v1/assets/{asset}",
    params(("asset" = String, Path)),
    responses(
        (status = 200, body = AssetStatus), (status = 400, body = ApiError),
        (status = 404, body = ApiError)
    )
)]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(asset): Path<AssetId>,
) -> Result<Json<AssetStatus>, Refused> {
    let state = shared.state();
    let view = &state.view;
    let record = find(view, &asset)?;
    let status = asset_status(&shared, view, asset, record);
    Ok(Json(status.map_err(Refused::internal)?))
}

/// Measures what this node has of one type, and registers it.
#[utoipa::path(
    post,
    path = "/v1/assets",
    request_body = RegisterRequest,
    responses(
        (status = 200, body = RegisterReport), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 422, body = ApiError)
    )
)]
pub(super) async fn register(
    State(shared): State<Arc<Shared>>,
    Body(request): Body<RegisterRequest>,
) -> Result<Json<RegisterReport>, Refused> {
    let RegisterRequest {
        asset_type,
        container,
        owner,
        policy,
    } = request;
    let thing = Measurable::new(asset_type, container)
        .map_err(|error| Refused::new(ErrorCode::BadRequest, error))?;
    let facts = measure(&shared, thing).await?;
    let register = AssetOperation::Register {
        facts: facts.clone(),
        owner,
        policy,
    };
    let id = |nonce| AssetId::new(&shared.node, &facts, nonce);
    let subject = |slot: Slot| Subject::measured(&shared, id(slot.nonce));
    let signed = proving::sign(&shared, &register, subject).await;
    let signed = signed.map_err(space::refused)?;
    Ok(Json(RegisterReport {
        asset: id(signed.nonce),
        transaction: reported(&shared, signed).await?,
        facts,
    }))
}

/// Measures an asset of this node again, and says so on the ledger.
#[utoipa::path(
    post,
    path = "/v1/assets/{asset}/measure",
    params(("asset" = String, Path)),
    responses(
        (status = 200, body = RegisterReport), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 422, body = ApiError)
    )
)]
pub(super) async fn remeasure(
    State(shared): State<Arc<Shared>>,
    Path(asset): Path<AssetId>,
) -> Result<Json<RegisterReport>, Refused> {
    let record = find(&shared.state().view, &asset)?;
    if record.host != shared.signer.id() {
        let text = format!(
            "{} is hosted by node {}: ask that one",
            asset.short(),
            record.host
        );
        return Err(Refused::new(ErrorCode::Refused, text));
    }
    let facts = measure(&shared, Measurable::of(&record.facts)).await?;
    let remeasure = AssetOperation::Remeasure {
        asset,
        facts: facts.clone(),
    };
    let subject = |_| Subject::measured(&shared, asset);
    let signed = proving::sign(&shared, &remeasure, subject).await;
    let signed = signed.map_err(space::refused)?;
    Ok(Json(RegisterReport {
        asset,
        facts,
        transaction: reported(&shared, signed).await?,
    }))
}

/// One lease that holds.
#[utoipa::path(
    get,
    path = "/v1/leases/{lease}",
    params(("lease" = String, Path)),
    responses(
        (status = 200, body = LeaseStatus), (status = 400, body = ApiError),
        (status = 404, body = ApiError)
    )
)]
pub(super) async fn lease(
    State(shared): State<Arc<Shared>>,
    Path(lease): Path<LeaseId>,
) -> Result<Json<LeaseStatus>, Refused> {
    let state = shared.state();
    let view = &state.view;
    match view.lease(&lease).map_err(Refused::internal)? {
        Some(record) => Ok(Json(lease_status(view, lease, &record))),
        None => {
            let text = format!("there is no {lease}, or it is over");
            Err(Refused::not_found(text))
        }
    }
}

/// The leases that one principal holds.
#[utoipa::path(
    get,
    path = "/v1/holders/{holder}/leases",
    params(("holder" = String, Path, description = "public key, 64 hex digits")),
    responses((status = 200, body = LeaseList), (status = 400, body = ApiError))
)]
pub(super) async fn held(
    State(shared): State<Arc<Shared>>,
    Path(holder): Path<Principal>,
) -> Result<Json<LeaseList>, Refused> {
    let state = shared.state();
    let view = &state.view;
    let held = view.leases_held(&holder).map_err(Refused::internal)?;
    let status = |(id, record): (LeaseId, LeaseRecord)| lease_status(view, id, &record);
    Ok(Json(LeaseList {
        height: view.height(),
        leases: held.into_iter().map(status).collect(),
    }))
}

pub(super) fn find(view: &View, asset: &AssetId) -> Result<AssetRecord, Refused> {
    let record = view.asset(asset).map_err(Refused::internal)?;
    record.ok_or_else(|| Refused::not_found(format!("there is no asset {asset}")))
}

fn asset_status(
    shared: &Shared,
    view: &View,
    id: AssetId,
    record: AssetRecord,
) -> Result<AssetStatus, DecodeRecordError> {
    let slots = view.leases_of(&id)?;
    let mut leases = Vec::with_capacity(slots.leases.len());
    for slot in &slots.leases {
        if let Some(lease) = view.lease(&slot.lease)? {
            leases.push(lease_status(view, slot.lease, &lease));
        }
    }
    Ok(AssetStatus {
        id,
        address: AssetAddress {
            fabric: shared.fabric,
            node: record.host,
            asset: id,
        },
        shared: record.shared(),
        leased: slots.leased(view.time_ms()),
        host: record.host,
        owner: record.owner,
        facts: record.facts,
        policy: record.policy,
        drained: record.drained,
        registered_at: record.registered_at,
        measured_ms: record.measured_ms,
        space: space_status(view.space_of(&id)?),
        leases,
    })
}

fn lease_status(view: &View, id: LeaseId, record: &LeaseRecord) -> LeaseStatus {
    LeaseStatus {
        id,
        asset: record.asset,
        holder: record.holder,
        amount: record.amount,
        granted_ms: record.granted_ms,
        expires_ms: record.expires_ms,
        remaining_ms: record.expires_ms.saturating_sub(view.time_ms()),
    }
}

/// What this node has of one thing now.
async fn measure(shared: &Shared, thing: Measurable) -> Result<AssetFacts, Refused> {
    let asset_type = thing.asset_type();
    let measured = measuring::measure(shared, thing).await;
    measured.map_err(|error| match error {
        MeasureHereError::Measure(absent @ MeasureError::Absent { .. }) => {
            Refused::not_found(format!("this node has no {asset_type}: {absent}"))
        }
        MeasureHereError::Measure(failed) => Refused::internal(failed),
        stopping @ MeasureHereError::Stopping => Refused::new(ErrorCode::Unavailable, stopping),
    })
}
