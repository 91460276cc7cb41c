//! This node among others: where it is reached, its sessions, its certificate.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use admin::{
    ApiError, CapQuery, CertificateStatus, ErrorCode, MeasuredStatus, SessionStatus, StoqStatus,
};
use stoq::{Direction, Measured, SessionInfo};
use types::NodeId;

use crate::api::membership::certificate_status;
use crate::api::refusal::{Path, Query, Refused};
use crate::clock::unix_ms;
use crate::peers::{Peers, label, standing};
use crate::shared::Shared;

/// Where this node is reached by others, and its sessions with them.
#[utoipa::path(get, path = "/v1/stoq", responses((status = 200, body = StoqStatus)))]
pub(super) async fn stoq(State(shared): State<Arc<Shared>>) -> Json<StoqStatus> {
    Json(match shared.peers.get() {
        None => StoqStatus::default(),
        Some(peers) => status(peers),
    })
}

/// Caps what this node sends to a peer, now and after restarts; lifts the cap without a rate.
#[utoipa::path(
    put,
    path = "/v1/stoq/caps/{peer}",
    params(("peer" = String, Path, description = "public key, 64 hex digits"), CapQuery),
    responses((status = 200, body = StoqStatus), (status = 400, body = ApiError), (status = 422, body = ApiError))
)]
pub(super) async fn cap(
    State(shared): State<Arc<Shared>>,
    Path(peer): Path<NodeId>,
    Query(query): Query<CapQuery>,
) -> Result<Json<StoqStatus>, Refused> {
    if query.bytes_per_s == Some(0) {
        let text = "a cap of 0 would end the session: evict the node instead";
        return Err(Refused::new(ErrorCode::BadRequest, text));
    }
    let Some(peers) = shared.peers.get() else {
        return Err(Refused::new(
            ErrorCode::Refused,
            "this node speaks to no others",
        ));
    };
    peers.cap(peer, query.bytes_per_s);
    Ok(Json(status(peers)))
}

/// Gives this node a new certificate now. Answers when it is logged and shown to peers.
#[utoipa::path(
    post,
    path = "/v1/trust/rotate",
    responses((status = 200, body = CertificateStatus), (status = 422, body = ApiError))
)]
pub(super) async fn rotate(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<CertificateStatus>, Refused> {
    let refused = |text: &str| Refused::new(ErrorCode::Refused, text);
    let Some(peers) = shared.peers.get() else {
        let text = "this node speaks to no others, so it has no certificate: start it with --stoq";
        return Err(refused(text));
    };
    let fingerprint = peers.renew().await.map_err(|error| refused(&error))?;
    // The transaction is final; this node's view of the ledger may be a moment behind.
    let mut revision = shared.revision.subscribe();
    let known = || {
        let found = shared.state().view.certificate(&fingerprint);
        found.ok().flatten()
    };
    let seen = revision.wait_for(|_| known().is_some()).await.is_ok();
    let record = known().filter(|_| seen);
    let record =
        record.ok_or_else(|| Refused::new(ErrorCode::Unavailable, "the node is stopping"))?;
    Ok(Json(certificate_status(fingerprint, record, unix_ms())))
}

fn status(peers: &Peers) -> StoqStatus {
    let mut sessions = peers.sessions();
    sessions.sort_by_key(|session| session.peer.id);
    StoqStatus {
        listening: peers.listening().map(|address| address.to_string()),
        addresses: peers.advertised().iter().map(ToString::to_string).collect(),
        certificate: Some(peers.certificate()),
        sessions: sessions.iter().map(session).collect(),
    }
}

fn session(info: &SessionInfo) -> SessionStatus {
    let lost = u128::from(info.packets_lost) * 1_000_000;
    let since_ms = unix_ms().saturating_sub(number(info.age.as_millis()));
    SessionStatus {
        peer: info.peer.id,
        standing: label(standing(&info.peer)).to_owned(),
        remote: info.remote.to_string(),
        via: info.via,
        direction: match info.direction {
            Direction::Inbound => "accepted",
            Direction::Outbound => "dialled",
        }
        .to_owned(),
        since_ms,
        rtt_us: number(info.rtt.as_micros()),
        loss_ppm: number(lost / u128::from(info.packets_sent.max(1))),
        sent_bytes: info.bytes_sent,
        received_bytes: info.bytes_received,
        tier: info.tier.to_string(),
        measured: info.measured.map(|known| measured(&known, since_ms)),
        cap_bytes_per_s: info.cap,
    }
}

fn measured(known: &Measured, since_ms: u64) -> MeasuredStatus {
    MeasuredStatus {
        bytes_per_s: known.goodput_bits / 8,
        rtt_us: number(known.rtt.as_micros()),
        loss_ppm: known.loss_ppm,
        at_ms: since_ms.saturating_add(number(known.at.as_millis())),
    }
}

fn number(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
