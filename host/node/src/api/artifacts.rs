//! Artifacts: taken in as a stream, checked against their digest, looked into.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use admin::{ARTIFACT_BYTES_MAX, ApiError, ArtifactQuery, ArtifactReport, ArtifactUse, ErrorCode};
use storage::{Artifacts, ReadArtifactError, StoreArtifactError};
use types::Digest;

use crate::api::refusal::{Path, Query, Refused};
use crate::shared::Shared;

/// Pieces that wait between the socket and the disk.
const PIECES_MAX: usize = 16;

/// How long an artifact stays that somebody was told is here, whatever else needs the room: long
/// enough for a client to send its other artifacts and to have the deployment admitted, short
/// enough that one that never comes does not block the next.
const DEPLOY_WITHIN: Duration = Duration::from_secs(120);

/// What is known of a stored artifact.
#[utoipa::path(
    get,
    path = "/v1/artifacts/{digest}",
    params(("digest" = String, Path, description = "blake3:<64 hex digits>"), ArtifactQuery),
    responses((status = 200, body = ArtifactReport), (status = 400, body = ApiError), (status = 404, body = ApiError), (status = 422, body = ApiError))
)]
pub(super) async fn describe(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<Digest>,
    Query(query): Query<ArtifactQuery>,
) -> Result<Json<ArtifactReport>, Refused> {
    report(&shared, digest, query.r#use).await.map(Json)
}

/// Stores an artifact. It is kept while a deployment names it. Without one it is kept for two
/// minutes, and from then on until something else needs its room, a quarter of an hour at most.
#[utoipa::path(
    put,
    path = "/v1/artifacts/{digest}",
    params(("digest" = String, Path, description = "blake3:<64 hex digits>"), ArtifactQuery),
    request_body(content_type = "application/octet-stream"),
    responses(
        (status = 200, body = ArtifactReport), (status = 400, body = ApiError),
        (status = 413, body = ApiError), (status = 422, body = ApiError),
        (status = 507, body = ApiError, description = "the node's quota has no room for it")
    )
)]
pub(super) async fn store(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<Digest>,
    Query(query): Query<ArtifactQuery>,
    body: axum::body::Body,
) -> Result<Json<ArtifactReport>, Refused> {
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let artifacts = shared.artifacts.clone();
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > ARTIFACT_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let writer =
        tokio::task::spawn_blocking(move || write(&artifacts, &digest, announced, received));
    let sent = receive(body, pieces).await;
    let written = writer.await.map_err(Refused::internal)?;
    sent?;
    written.map_err(|error| match error {
        StoreArtifactError::Digest { .. } => Refused::new(ErrorCode::BadRequest, error),
        StoreArtifactError::Storage(storage) => match storage.quota_exceeded() {
            Some(exceeded) => {
                let text = format!("no room on this node: {exceeded} (`nexus up --storage-quota`)");
                Refused::new(ErrorCode::QuotaExceeded, text)
            }
            None => Refused::internal(storage),
        },
    })?;
    report(&shared, digest, query.r#use).await.map(Json)
}

async fn receive(
    mut body: axum::body::Body,
    pieces: mpsc::Sender<Option<Bytes>>,
) -> Result<(), Refused> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let broken = |error| Refused::new(ErrorCode::BadRequest, error);
        let Ok(piece) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        bytes += piece.len();
        if bytes > ARTIFACT_BYTES_MAX {
            return Err(too_large());
        }
        // If the writer gave up, it says why; a client that is not heard out does not listen.
        let _ = pieces.send(Some(piece)).await;
    }
    // The end: without it the writer knows that the body was cut off.
    let _ = pieces.send(None).await;
    Ok(())
}

fn too_large() -> Refused {
    let text = format!("the artifact is larger than {ARTIFACT_BYTES_MAX} bytes");
    Refused::new(ErrorCode::TooLarge, text)
}

fn write(
    artifacts: &Artifacts,
    digest: &Digest,
    announced: u64,
    mut pieces: mpsc::Receiver<Option<Bytes>>,
) -> Result<(), StoreArtifactError> {
    let mut upload = artifacts.upload_sized(announced)?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Some(piece) => upload.write(&piece)?,
            None => return upload.finish(digest),
        }
    }
    Ok(())
}

async fn report(
    shared: &Arc<Shared>,
    digest: Digest,
    r#use: ArtifactUse,
) -> Result<ArtifactReport, Refused> {
    let shared = Arc::clone(shared);
    shared.artifacts.refresh(&digest);
    shared.artifacts.await_pin(&digest, DEPLOY_WITHIN);
    let looked = tokio::task::spawn_blocking(move || match r#use {
        ArtifactUse::File => {
            let bytes = shared.artifacts.size(&digest);
            let bytes = bytes.ok_or_else(|| absent(&ReadArtifactError::Absent(digest)))?;
            Ok(ArtifactReport {
                digest,
                bytes,
                component: None,
            })
        }
        ArtifactUse::Component => {
            let content = shared
                .artifacts
                .read(&digest)
                .map_err(|error| absent(&error))?;
            let component = inspect(&shared, &content)?;
            let bytes = content.len() as u64;
            Ok(ArtifactReport {
                digest,
                bytes,
                component: Some(component),
            })
        }
    });
    looked.await.map_err(Refused::internal)?
}

fn inspect(shared: &Shared, content: &[u8]) -> Result<admin::Inspection, Refused> {
    let found = shared.runtime.inspect(content);
    let found = found.map_err(|error| Refused::new(ErrorCode::Refused, error))?;
    Ok(admin::Inspection {
        kind: found.kind,
        imports: found.imports.iter().map(ToString::to_string).collect(),
        exports: found.exports.iter().map(ToString::to_string).collect(),
    })
}

fn absent(error: &ReadArtifactError) -> Refused {
    match error {
        ReadArtifactError::Absent(_) => Refused::not_found(error),
        _ => Refused::internal(error),
    }
}
