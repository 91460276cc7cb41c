//! Validators: who votes, and this node's own votes about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;

use admin::{
    Absence, ApiError, BlockProof, Conviction, HandoverList, ProposedChange, TransactionReport,
    ValidatorList, ValidatorStatus,
};
use ledger::{
    AbsenceRecord, ConvictionRecord, DecodeRecordError, Evidence, Operation, ValidatorChange,
    ValidatorOperation, View, quorum, witnesses,
};
use types::NodeId;

use crate::api::membership::sign;
use crate::api::refusal::{Path, Refused};
use crate::shared::Shared;

/// Who votes, who will, and what is being voted on.
#[utoipa::path(get, path = "/v1/validators", responses((status = 200, body = ValidatorList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<ValidatorList>, Refused> {
    let state = shared.state();
    let list = validator_list(&shared, &state.view).map_err(Refused::internal)?;
    Ok(Json(list))
}

/// The ends of epochs in which validators changed: with them whoever knows the genesis can check
/// what later validators signed.
#[utoipa::path(get, path = "/v1/ledger/handovers", responses((status = 200, body = HandoverList)))]
pub(super) async fn handovers(State(shared): State<Arc<Shared>>) -> Json<HandoverList> {
    let handovers = shared.ledger.handovers();
    let proof = |handover: consensus::Handover| BlockProof {
        block: HEXLOWER.encode(&handover.block),
        certificate: Some(HEXLOWER.encode(&handover.certificate)),
    };
    Json(HandoverList {
        handovers: handovers.into_iter().map(proof).collect(),
    })
}

/// Lets this node, a validator, vote that a member gets a vote.
#[utoipa::path(
    post,
    path = "/v1/validators/add/{node}",
    params(("node" = String, Path, description = "public key, 64 hex digits")),
    responses(
        (status = 200, body = TransactionReport), (status = 400, body = ApiError),
        (status = 422, body = ApiError)
    )
)]
pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    Path(node): Path<NodeId>,
) -> Result<Json<TransactionReport>, Refused> {
    vote(&shared, ValidatorChange::Add { node }).await
}

/// Lets this node, a validator, vote that another loses its vote.
#[utoipa::path(
    post,
    path = "/v1/validators/remove/{node}",
    params(("node" = String, Path, description = "public key, 64 hex digits")),
    responses(
        (status = 200, body = TransactionReport), (status = 400, body = ApiError),
        (status = 422, body = ApiError)
    )
)]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(node): Path<NodeId>,
) -> Result<Json<TransactionReport>, Refused> {
    vote(&shared, ValidatorChange::Remove { node }).await
}

/// Lets this node give its vote back.
#[utoipa::path(
    post,
    path = "/v1/validators/resign",
    responses((status = 200, body = TransactionReport), (status = 422, body = ApiError))
)]
pub(super) async fn resign(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<TransactionReport>, Refused> {
    let operation = Operation::Validator(ValidatorOperation::Resign);
    sign(&shared, operation).await
}

async fn vote(
    shared: &Shared,
    change: ValidatorChange,
) -> Result<Json<TransactionReport>, Refused> {
    let operation = Operation::Validator(ValidatorOperation::Vote(change));
    sign(shared, operation).await
}

fn validator_list(shared: &Shared, view: &View) -> Result<ValidatorList, DecodeRecordError> {
    let now: BTreeSet<NodeId> = view
        .fabric()?
        .map(|fabric| fabric.validators.into_iter().collect())
        .unwrap_or_default();
    let committee = view.committee()?;
    let next: BTreeSet<NodeId> = match committee.next {
        Some(next) => next.into_iter().collect(),
        None => now.clone(),
    };
    let proposed = |(change, votes)| {
        let (change, node) = match change {
            ValidatorChange::Add { node } => ("add", node),
            ValidatorChange::Remove { node } => ("remove", node),
        };
        ProposedChange {
            change: change.to_owned(),
            node,
            votes,
        }
    };
    let conviction = |(node, record)| {
        let ConvictionRecord { at, evidence } = record;
        let Evidence::Contradiction(contradiction) = evidence;
        Conviction {
            node,
            at,
            epoch: contradiction.epoch,
            view: contradiction.view,
        }
    };
    let in_office: Vec<NodeId> = now.iter().copied().collect();
    let absence = |(node, record): (NodeId, AbsenceRecord)| {
        let since = record.since(&in_office);
        Absence {
            node,
            witnesses: record.counting(&in_office).count() as u64,
            needed: witnesses(in_office.len()) as u64,
            since: since.map(|since| since.height),
            since_ms: since.map(|since| since.time_ms),
        }
    };
    let absent = view.absences()?.into_iter().map(absence);
    let epoch = shared.ledger.status().epoch;
    let blocks = u64::from(shared.genesis.epoch_blocks());
    Ok(ValidatorList {
        epoch,
        epoch_ends_at: epoch.saturating_add(1).saturating_mul(blocks) - 1,
        quorum: quorum(now.len()) as u64,
        validators: now
            .union(&next)
            .map(|node| ValidatorStatus {
                node: *node,
                now: now.contains(node),
                next: next.contains(node),
            })
            .collect(),
        proposed: committee.proposed.into_iter().map(proposed).collect(),
        convicted: view.convictions()?.into_iter().map(conviction).collect(),
        absent: absent.filter(|absence| absence.witnesses > 0).collect(),
    })
}
