//! Artifacts: taken in as a stream, checked against their digest, looked into.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use admin::{ARTIFACT_BYTES_MAX, ApiError, ArtifactQuery, ArtifactReport, ArtifactUse, ErrorCode};
use storage::{Artifacts, ReadArtifactError, StoreArtifactError};
use types::Digest;

use crate::api::refusal::{Path, Query, Refused};
use crate::shared::Shared;

/// Pieces that wait between the socket and the disk.
const PIECES_MAX: usize = 16;

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

/// Stores an artifact. It is kept while a deployment names it, and for a quarter of an hour without.
#[utoipa::path(
    put,
    path = "/v1/artifacts/{digest}",
    params(("digest" = String, Path, description = "blake3:<64 hex digits>"), ArtifactQuery),
    request_body(content_type = "application/octet-stream"),
    responses(
        (status = 200, body = ArtifactReport), (status = 400, body = ApiError),
        (status = 413, body = ApiError), (status = 422, body = ApiError)
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
    let writer = tokio::task::spawn_blocking(move || write(&artifacts, &digest, received));
    let sent = receive(body, pieces).await;
    let written = writer.await.map_err(Refused::internal)?;
    sent?;
    written.map_err(|error| match error {
        StoreArtifactError::Digest { .. } => Refused::new(ErrorCode::BadRequest, error),
        StoreArtifactError::Storage(_) => Refused::internal(error),
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
            let text = format!("the artifact is larger than {ARTIFACT_BYTES_MAX} bytes");
            return Err(Refused::new(ErrorCode::TooLarge, text));
        }
        if pieces.send(Some(piece)).await.is_err() {
            // The writer gave up and says why.
            return Ok(());
        }
    }
    // The end: without it the writer knows that the body was cut off.
    let _ = pieces.send(None).await;
    Ok(())
}

fn write(
    artifacts: &Artifacts,
    digest: &Digest,
    mut pieces: mpsc::Receiver<Option<Bytes>>,
) -> Result<(), StoreArtifactError> {
    let mut upload = artifacts.upload()?;
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
