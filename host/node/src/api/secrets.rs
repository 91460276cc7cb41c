//! Secrets: set, listed by name, removed. No answer holds a value.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;

use admin::{ApiError, ErrorCode, SecretList};
use types::Name;

use crate::api::refusal::{Path, Refused};
use crate::secrets::ChangeSecretError;
use crate::shared::Shared;

/// The names of all secrets.
#[utoipa::path(get, path = "/v1/secrets", responses((status = 200, body = SecretList)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<SecretList> {
    Json(list_of(&shared))
}

/// Sets a secret to the text of the body. Replicas get it when they start.
#[utoipa::path(
    put,
    path = "/v1/secrets/{name}",
    params(("name" = String, Path)),
    request_body(content_type = "application/octet-stream", description = "the value, UTF-8"),
    responses(
        (status = 200, body = SecretList), (status = 400, body = ApiError),
        (status = 413, body = ApiError), (status = 422, body = ApiError)
    )
)]
pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    body: Bytes,
) -> Result<Json<SecretList>, Refused> {
    let value = String::from_utf8(body.to_vec())
        .map_err(|_| Refused::new(ErrorCode::BadRequest, "the value is not UTF-8 text"))?;
    change(shared, move |shared| shared.secrets.set(name, value)).await
}

/// Removes a secret. Replicas that run keep what they got.
#[utoipa::path(
    delete,
    path = "/v1/secrets/{name}",
    params(("name" = String, Path)),
    responses((status = 200, body = SecretList), (status = 404, body = ApiError))
)]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
) -> Result<Json<SecretList>, Refused> {
    if !shared.secrets.names().contains(&name) {
        return Err(Refused::not_found(format!("no secret is called `{name}`")));
    }
    change(shared, move |shared| shared.secrets.remove(&name).map(drop)).await
}

fn list_of(shared: &Shared) -> SecretList {
    SecretList {
        secrets: shared.secrets.names(),
    }
}

async fn change(
    shared: Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<(), ChangeSecretError> + Send + 'static,
) -> Result<Json<SecretList>, Refused> {
    let done = tokio::task::spawn_blocking(move || {
        let changed = work(&shared);
        changed.map(|()| Json(list_of(&shared)))
    });
    let done = done.await.map_err(Refused::internal)?;
    done.map_err(|error| {
        let code = match &error {
            ChangeSecretError::TooLarge { .. } => ErrorCode::TooLarge,
            ChangeSecretError::TooMany => ErrorCode::Refused,
            ChangeSecretError::Io { .. } => ErrorCode::Internal,
        };
        Refused::new(code, error)
    })
}
