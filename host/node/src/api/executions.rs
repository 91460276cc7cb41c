//! Calls that several nodes run, the draws of orders, and challenges of receipts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;

use admin::{
    ApiError, ChallengeReport, ChallengeRequest, DrawAnswer, DrawRequest, ErrorCode, InvokeAnswer,
    JudgedReceipt, NodeOutcome, NodeVerdict, ReceiptDifference, ReceiptVerdict, ReplicationReport,
    SecondRun,
};
use proofs::VerifyReceiptCertificateError::NoAgreement;
use proofs::{Difference, ExecutionOrder, ExecutionProof, VerifyExecutionError};
use types::NodeId;

use crate::api::refusal::{Body, Refused};
use crate::api::workloads;
use crate::executions::{
    Again, AgainError, Call, DialError, Dialled, Heard, Judged, OrderRefusal, Repeated, Silence,
    Verdict, again, anchored, dial,
};
use crate::shared::Shared;

/// Runs a call on as many nodes as its dial says. The proof is part of the answer if it is wanted.
pub(super) async fn replicated(
    shared: &Arc<Shared>,
    call: Call,
    wants_receipt: bool,
) -> Result<InvokeAnswer, Refused> {
    let Dialled { proof, heard } = dial(shared, call).await.map_err(not_dialled)?;
    let fuel_used = heard.iter().find_map(|heard| match &heard.said {
        Ok((receipt, true)) => Some(receipt.fuel),
        _ => None,
    });
    let receipt = wants_receipt.then(|| HEXLOWER.encode(&proof.encode()));
    let report = ReplicationReport {
        order: proof.order.digest(),
        replication: proof.order.replication,
        anchor: proof.order.anchor,
        nodes: heard.into_iter().map(outcome).collect(),
    };
    Ok(InvokeAnswer {
        result: proof.result,
        fuel_used,
        replication: Some(report),
        receipt,
    })
}

fn outcome(heard: Heard) -> NodeOutcome {
    let node = heard.node;
    match heard.said {
        Ok((receipt, agrees)) => NodeOutcome {
            node,
            verdict: match agrees {
                true => NodeVerdict::Agreed,
                false => NodeVerdict::Outvoted,
            },
            output: Some(receipt.output),
            fuel_used: Some(receipt.fuel),
            reason: None,
        },
        Err(silence) => NodeOutcome {
            node,
            verdict: NodeVerdict::Silent,
            output: None,
            fuel_used: None,
            reason: Some(silence.to_string()),
        },
    }
}

fn not_dialled(error: DialError) -> Refused {
    let code = match &error {
        DialError::Refused(refusal) => refused(refusal),
        DialError::Invoke(error) => workloads::code(error),
        DialError::Export(_) | DialError::TooLarge { .. } => ErrorCode::TooLarge,
        DialError::Draw(_) => ErrorCode::Refused,
        DialError::Entropy(_) => ErrorCode::Internal,
        DialError::NoAgreement { error, heard } => disagreement(error, heard),
    };
    Refused::new(code, error)
}

/// Whether the guest failed, nodes contradict each other, or too few were heard.
fn disagreement(error: &VerifyExecutionError, heard: &[Heard]) -> ErrorCode {
    let VerifyExecutionError::Certificate(NoAgreement { needed, .. }) = error else {
        return ErrorCode::Refused;
    };
    let guest =
        |heard: &&Heard| matches!(&heard.said, Err(Silence::Refused(OrderRefusal::Guest(_))));
    if heard.iter().filter(guest).count() >= usize::from(*needed) {
        return ErrorCode::GuestFailed;
    }
    let busy = |heard: &Heard| matches!(&heard.said, Err(Silence::Refused(OrderRefusal::Busy)));
    match heard.iter().filter(|heard| heard.said.is_ok()).count() {
        0 | 1 if heard.iter().any(busy) => ErrorCode::Busy,
        0 | 1 => ErrorCode::Unavailable,
        _ => ErrorCode::Refused,
    }
}

const fn refused(refusal: &OrderRefusal) -> ErrorCode {
    use OrderRefusal as R;
    match refusal {
        R::Busy => ErrorCode::Busy,
        R::UnknownWorkload(_) | R::UnknownComponent(_) => ErrorCode::NotFound,
        R::NotDeterministic
        | R::NotCallable(_)
        | R::Secrets
        | R::Stateful
        | R::Draw(_)
        | R::OtherFabric(_)
        | R::OtherGeneration { .. }
        | R::OtherArtifact { .. }
        | R::OtherSeed { .. } => ErrorCode::Refused,
        R::Guest(_) => ErrorCode::GuestFailed,
        R::Malformed(_) | R::NotCanonical | R::Invoke(_) => ErrorCode::BadRequest,
        _ => ErrorCode::Unavailable,
    }
}

/// Whom the anchor of an order draws.
#[utoipa::path(
    post,
    path = "/v1/receipts/draw",
    request_body = DrawRequest,
    responses(
        (status = 200, body = DrawAnswer), (status = 400, body = ApiError),
        (status = 422, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn draw(
    State(shared): State<Arc<Shared>>,
    Body(request): Body<DrawRequest>,
) -> Result<Json<DrawAnswer>, Refused> {
    let order = bytes(&request.order)?;
    let order = ExecutionOrder::decode(&order);
    let order = order.map_err(|error| Refused::new(ErrorCode::BadRequest, error))?;
    if order.fabric != shared.fabric {
        let refusal = OrderRefusal::OtherFabric(order.fabric);
        return Err(Refused::new(ErrorCode::Refused, refusal));
    }
    let anchor = anchored(&shared, order.anchor).await;
    let anchor = anchor.map_err(|refusal| Refused::new(refused(&refusal), refusal))?;
    let drawn = order.drawn(&anchor.beacon, &anchor.members);
    let drawn = drawn.map_err(|error| Refused::new(ErrorCode::Refused, error))?;
    Ok(Json(DrawAnswer {
        anchor: order.anchor,
        drawn: drawn.into_iter().collect(),
    }))
}

/// Has members that have no receipt in a proof run its order again.
#[utoipa::path(
    post,
    path = "/v1/receipts/challenge",
    request_body = ChallengeRequest,
    responses(
        (status = 200, body = ChallengeReport), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 422, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn challenge(
    State(shared): State<Arc<Shared>>,
    Body(request): Body<ChallengeRequest>,
) -> Result<Json<ChallengeReport>, Refused> {
    let proof = bytes(&request.receipt)?;
    let proof = ExecutionProof::decode(&proof);
    let proof = proof.map_err(|error| Refused::new(ErrorCode::BadRequest, error))?;
    let Again { receipts, repeated } = again(&shared, &proof).await.map_err(|error| {
        let code = match &error {
            AgainError::Proof(_) | AgainError::Nobody => ErrorCode::Refused,
            AgainError::Refused(refusal) => refused(refusal),
        };
        Refused::new(code, error)
    })?;
    Ok(Json(ChallengeReport {
        order: proof.order.digest(),
        receipts: receipts.into_iter().map(judged).collect(),
        again: repeated.into_iter().map(second_run).collect(),
    }))
}

fn judged(judged: Judged) -> JudgedReceipt {
    let Judged {
        node,
        verdict,
        differing,
    } = judged;
    let differences = differing.iter().flat_map(|(by, differences)| {
        let one = |difference| told(*by, difference);
        differences.iter().map(one)
    });
    JudgedReceipt {
        node,
        verdict: match verdict {
            Verdict::Confirmed => ReceiptVerdict::Confirmed,
            Verdict::Refuted => ReceiptVerdict::Refuted,
            Verdict::Undecided => ReceiptVerdict::Undecided,
        },
        differences: differences.collect(),
    }
}

/// A difference as people and scripts read it.
fn told(by: NodeId, difference: &Difference) -> ReceiptDifference {
    let told = |field: &str, claimed: &dyn ToString, found: &dyn ToString| ReceiptDifference {
        by,
        field: field.to_owned(),
        claimed: claimed.to_string(),
        found: found.to_string(),
    };
    match difference {
        Difference::Component { claimed, found } => told("component", claimed, found),
        Difference::Export { claimed, found } => told("export", claimed, found),
        Difference::Input { claimed, found } => told("input", claimed, found),
        Difference::Output { claimed, found } => told("output", claimed, found),
        Difference::Fuel { claimed, found } => told("fuel", claimed, found),
        Difference::MemoryPeak { claimed, found } => told("memory", claimed, found),
        Difference::Profile { claimed, found } => told("engine", &claimed.engine, &found.engine),
    }
}

fn second_run(repeated: Repeated) -> SecondRun {
    let node = repeated.node;
    match repeated.said {
        Ok(receipt) => SecondRun {
            node,
            output: Some(receipt.output),
            fuel_used: Some(receipt.fuel),
            reason: None,
        },
        Err(silence) => SecondRun {
            node,
            output: None,
            fuel_used: None,
            reason: Some(silence.to_string()),
        },
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, Refused> {
    let bytes = HEXLOWER.decode(hex.as_bytes());
    bytes.map_err(|error| Refused::new(ErrorCode::BadRequest, format!("not hex: {error}")))
}
