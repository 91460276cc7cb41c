//! The rules of the fabric: which are in force, and this node's own votes about the next.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use admin::{ApiError, NextRules, RulesStatus, RulesVote, TransactionReport};
use ledger::{
    DecodeRecordError, KnownRules, Operation, RulesChange, RulesOperation, RulesRecord, View,
};

use crate::api::membership::sign;
use crate::api::refusal::{Path, Refused};
use crate::shared::Shared;

/// Lets this node, a validator, vote for new rules from a height on. It need not know them.
#[utoipa::path(
    post,
    path = "/v1/rules/vote/{version}/{height}",
    params(("version" = u32, Path), ("height" = u64, Path)),
    responses(
        (status = 200, body = TransactionReport), (status = 400, body = ApiError),
        (status = 422, body = ApiError)
    )
)]
pub(super) async fn vote(
    State(shared): State<Arc<Shared>>,
    Path((version, height)): Path<(u32, u64)>,
) -> Result<Json<TransactionReport>, Refused> {
    let vote = RulesOperation::Vote(RulesChange { version, height });
    sign(&shared, Operation::Rules(vote)).await
}

/// Lets this node vote against the decided change of the rules, or take its own vote back.
#[utoipa::path(
    post,
    path = "/v1/rules/cancel",
    responses((status = 200, body = TransactionReport), (status = 422, body = ApiError))
)]
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<TransactionReport>, Refused> {
    sign(&shared, Operation::Rules(RulesOperation::Cancel)).await
}

/// What the state says of the rules, beside what this program knows.
pub(super) fn status(view: &View) -> Result<RulesStatus, DecodeRecordError> {
    let RulesRecord {
        version,
        since,
        next,
        votes,
    } = view.rules()?;
    let wish = |RulesChange { version, height }| NextRules { version, height };
    let vote = |(validator, operation)| RulesVote {
        validator,
        wish: match operation {
            RulesOperation::Vote(change) => Some(wish(change)),
            RulesOperation::Cancel => None,
        },
    };
    Ok(RulesStatus {
        version,
        since,
        next: next.map(wish),
        known_oldest: KnownRules::FIRST,
        known_newest: KnownRules::RELEASED.newest(),
        votes: votes.into_iter().map(vote).collect(),
    })
}
