//! Messages from operators, so that a worker can be tried out.

use std::sync::Arc;

use admin::{ApiError, ErrorCode, PublishAnswer, PublishQuery};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use runtime::{Message, PublishError, Publisher as _};

use crate::api::refusal::{Query, Refused};
use crate::shared::Shared;

/// Queues a message for every component of this node that subscribes to its topic.
#[utoipa::path(
    post,
    path = "/v1/messages",
    params(PublishQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = PublishAnswer), (status = 400, body = ApiError),
        (status = 429, body = ApiError)
    )
)]
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<PublishQuery>,
    data: Bytes,
) -> Result<Json<PublishAnswer>, Refused> {
    let message = Message {
        topic: query.topic,
        content_type: None,
        metadata: Vec::new(),
        data,
    };
    let subscribers = shared.bus.publish(message).map_err(|error| {
        let code = match &error {
            PublishError::QueueFull { .. } => ErrorCode::Busy,
            PublishError::TooLarge(_) => ErrorCode::BadRequest,
        };
        Refused::new(code, error)
    })?;
    let subscribers = u32::try_from(subscribers).unwrap_or(u32::MAX);
    Ok(Json(PublishAnswer { subscribers }))
}
