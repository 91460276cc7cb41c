//! The fabric: its members and their certificates, its tickets, its signers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

use admin::{
    Acceptance, AddressStatus, ApiError, CertificateStatus, ErrorCode, FabricStatus, InviteStatus,
    MemberStatus, RoleList, RoleStatus, TransactionReport,
};
use discovery::Liveness;
use ledger::{
    CertificateRecord, DecodeRecordError, MemberRecord, Membership, MembershipOperation, NodePlace,
    Operation, View,
};
use types::{Digest, Name, NodeId};

use crate::api::fabric::shown;
use crate::api::refusal::{Path, Refused};
use crate::clock::unix_ms;
use crate::shared::Shared;
use crate::signer::{SignError, Signed};

/// Members, their certificates, and tickets.
#[utoipa::path(get, path = "/v1/fabric", responses((status = 200, body = FabricStatus)))]
pub(super) async fn fabric(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<FabricStatus>, Refused> {
    let state = shared.state();
    let status = fabric_status(&shared, &state.view).map_err(Refused::internal)?;
    Ok(Json(status))
}

/// The canonical bytes of the genesis. Their digest, under its domain tag, is the fabric's id.
#[utoipa::path(
    get,
    path = "/v1/genesis",
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>))
)]
pub(super) async fn genesis(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    (kind, shared.genesis.encode())
}

/// Everyone who may sign transactions.
#[utoipa::path(get, path = "/v1/roles", responses((status = 200, body = RoleList)))]
pub(super) async fn roles(State(shared): State<Arc<Shared>>) -> Result<Json<RoleList>, Refused> {
    let principals = shared
        .state()
        .view
        .principals()
        .map_err(Refused::internal)?;
    let status = |(principal, record): (_, ledger::PrincipalRecord)| RoleStatus {
        principal,
        role: record.role.to_string(),
    };
    Ok(Json(RoleList {
        principals: principals.into_iter().map(status).collect(),
    }))
}

/// Lets this node, a validator, vote that a node may join without a ticket.
#[utoipa::path(
    post,
    path = "/v1/fabric/approve/{node}",
    params(("node" = String, Path, description = "public key, 64 hex digits")),
    responses(
        (status = 200, body = TransactionReport), (status = 400, body = ApiError),
        (status = 422, body = ApiError)
    )
)]
pub(super) async fn approve(
    State(shared): State<Arc<Shared>>,
    Path(node): Path<NodeId>,
) -> Result<Json<TransactionReport>, Refused> {
    let approve = MembershipOperation::Approve { node };
    sign(&shared, Operation::Membership(approve)).await
}

/// Lets this node leave the fabric. Its sessions close, and it may join again.
#[utoipa::path(
    post,
    path = "/v1/fabric/leave",
    responses((status = 200, body = TransactionReport), (status = 422, body = ApiError))
)]
pub(super) async fn leave(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<TransactionReport>, Refused> {
    sign(&shared, Operation::Membership(MembershipOperation::Leave)).await
}

/// Signs an operation of this node's own and reports its fate.
pub(super) async fn sign(
    shared: &Shared,
    operation: Operation,
) -> Result<Json<TransactionReport>, Refused> {
    let (report, _) = sign_numbered(shared, operation).await?;
    Ok(Json(report))
}

/// As [`sign`], with the nonce that the transaction carried.
pub(super) async fn sign_numbered(
    shared: &Shared,
    operation: Operation,
) -> Result<(TransactionReport, u64), Refused> {
    let signed = shared.signer.submit(shared, operation).await;
    let signed = signed.map_err(sign_refused)?;
    Ok((reported(shared, signed).await?, signed.nonce))
}

/// Reports an operation of this node's own once this node shows it.
pub(super) async fn reported(
    shared: &Shared,
    signed: Signed,
) -> Result<TransactionReport, Refused> {
    shown(shared, signed.height).await?;
    Ok(TransactionReport {
        id: signed.id,
        height: signed.height,
        outcome: Acceptance::Applied,
    })
}

pub(super) fn sign_refused(error: SignError) -> Refused {
    let code = match &error {
        SignError::Refused(_) => ErrorCode::Refused,
        SignError::Submit(_) => ErrorCode::Unavailable,
    };
    Refused::new(code, error)
}

fn fabric_status(shared: &Shared, view: &View) -> Result<FabricStatus, DecodeRecordError> {
    let record = view.fabric()?;
    let now_ms = unix_ms();
    let mut members = Vec::new();
    let places: BTreeMap<NodeId, NodePlace> = view
        .places()?
        .into_iter()
        .map(|place| (place.node, place))
        .collect();
    for (node, member) in view.members()? {
        let founder = record
            .as_ref()
            .is_some_and(|fabric| fabric.nodes.contains(&node));
        let validator = record
            .as_ref()
            .is_some_and(|fabric| fabric.validators.contains(&node));
        let MemberRecord {
            membership,
            joined_at,
            certificates,
        } = member;
        let mut logged = Vec::new();
        for fingerprint in certificates {
            if let Some(record) = view.certificate(&fingerprint)? {
                logged.push(certificate_status(fingerprint, record, now_ms));
            }
        }
        let (membership, reason) = match membership {
            Membership::Member => ("member", None),
            Membership::Left { .. } => ("left", None),
            Membership::Evicted { reason, .. } => ("evicted", Some(reason)),
        };
        let seen = seen(shared, &node);
        let place = places.get(&node);
        members.push(MemberStatus {
            node,
            membership: membership.to_owned(),
            reason,
            founder,
            validator,
            joined_at,
            certificates: logged,
            liveness: seen.liveness.as_str().to_owned(),
            heard_at_ms: seen.heard_at_ms,
            addresses: seen.addresses,
            relays: seen.relays,
            placements: place.map_or(0, |place| place.record.placements),
            takes: takes(place).to_owned(),
            labels: labels(place),
        });
    }
    let invite = |(ticket, record): (_, ledger::InviteRecord)| InviteStatus {
        ticket,
        expires_at_ms: record.expires_at_ms,
        by: record.by,
        used_by: record.used_by,
    };
    Ok(FabricStatus {
        fabric: shared.fabric,
        height: view.height(),
        members,
        invites: view.invites()?.into_iter().map(invite).collect(),
    })
}

/// Whether a node takes replicas, in a word.
fn takes(place: Option<&NodePlace>) -> &'static str {
    match place {
        Some(place) if place.is_gone() => "gone",
        Some(place) => place.record.state.as_str(),
        None => "nothing",
    }
}

fn labels(place: Option<&NodePlace>) -> BTreeMap<String, String> {
    let labels = place.map(|place| place.record.labels.iter());
    let label = |(label, value): (&Name, &Name)| (label.to_string(), value.to_string());
    labels.into_iter().flatten().map(label).collect()
}

/// What this node knows of another that the ledger does not.
struct Seen {
    liveness: Liveness,
    heard_at_ms: Option<u64>,
    addresses: Vec<AddressStatus>,
    relays: Vec<NodeId>,
}

fn seen(shared: &Shared, node: &NodeId) -> Seen {
    let said = |address: SocketAddr, source: &str| AddressStatus {
        address: address.to_string(),
        source: source.to_owned(),
    };
    let peers = shared.peers.get();
    if *node == shared.node {
        let own = peers.map_or(&[][..], |peers| peers.advertised());
        return Seen {
            liveness: Liveness::Alive,
            heard_at_ms: None,
            addresses: own.iter().map(|address| said(*address, "own")).collect(),
            relays: peers.map_or_else(Vec::new, |peers| peers.gossip().relays()),
        };
    }
    let sights = peers.map(|peers| peers.gossip().sights());
    let sight = sights.as_ref().and_then(|sights| sights.get(node));
    let known = peers.map_or_else(Vec::new, |peers| peers.known(node));
    Seen {
        liveness: sight.map_or(Liveness::Unknown, |sight| sight.liveness),
        heard_at_ms: sight.and_then(|sight| sight.heard_at_ms),
        addresses: known
            .iter()
            .map(|known| said(known.address, known.source.as_str()))
            .collect(),
        relays: sight
            .and_then(|sight| sight.record.as_ref())
            .map_or_else(Vec::new, |record| record.relays.clone()),
    }
}

pub(super) fn certificate_status(
    fingerprint: Digest,
    record: CertificateRecord,
    now_ms: u64,
) -> CertificateStatus {
    let state = match &record.revoked {
        Some(_) => "revoked",
        None if now_ms < record.not_before_ms => "not yet valid",
        None if now_ms > record.not_after_ms => "expired",
        None => "good",
    };
    CertificateStatus {
        fingerprint,
        state: state.to_owned(),
        reason: record.revoked.map(|revoked| revoked.reason),
        not_before_ms: record.not_before_ms,
        not_after_ms: record.not_after_ms,
        issued_at: record.issued_at,
    }
}
