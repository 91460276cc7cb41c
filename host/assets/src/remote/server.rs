//! The end that has what was leased: one stream, one operation at a time. What a peer sends ahead waits in
//! the stream, whose window bounds it; what it does not read stops this end.

use std::future::ready;
use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::frames::{ReadFrameError, read_body, read_frame, read_length};
use super::wire::{
    Answer, DecodeRegionFrameError, FRAME_BYTES_MAX, HELLO_BYTES_MAX, Hello, Opened, Refusal,
    Welcome, bounded, decode_hello, decode_request, encode_region_frame,
};
use crate::region::RegionAccess;

/// What is waited for the first frame, and for the rest of one that began.
const FRAME_PATIENCE: Duration = Duration::from_secs(10);
/// What is waited for a peer to read an answer: one that is slower than 2 kB/s costs memory only.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// A stream that did not come to its end. The peer sees it end.
#[derive(Debug, thiserror::Error)]
pub enum ServeRegionError {
    /// What came is no frame of this service.
    #[error(transparent)]
    Frame(#[from] DecodeRegionFrameError),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Stream(#[from] io::Error),
    /// Nobody reads, or a frame stays half.
    #[error("the peer did not move for {0:?}")]
    Stalled(Duration),
    /// Nothing came.
    #[error("the stream ended before it said what for")]
    NoHello,
}

impl From<ReadFrameError> for ServeRegionError {
    fn from(error: ReadFrameError) -> Self {
        match error {
            ReadFrameError::Decode(error) => Self::Frame(error),
            ReadFrameError::Stream(error) => Self::Stream(error),
        }
    }
}

/// Reads the first frame of a stream: whoever admits decides by it what answers the rest.
///
/// # Errors
/// [`ServeRegionError`].
pub async fn read_hello(reader: &mut (impl AsyncRead + Unpin)) -> Result<Hello, ServeRegionError> {
    let hello = timeout(FRAME_PATIENCE, read_frame(reader, HELLO_BYTES_MAX)).await;
    let hello = hello.map_err(|_| ServeRegionError::Stalled(FRAME_PATIENCE))??;
    Ok(decode_hello(&hello.ok_or(ServeRegionError::NoHello)?)?)
}

/// Says no to a stream, and ends it.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn refuse_stream(
    mut writer: impl AsyncWrite + Unpin,
    refusal: Refusal,
) -> Result<(), ServeRegionError> {
    let welcome: Welcome = Err(bounded(refusal));
    send(&mut writer, &welcome).await?;
    Ok(writer.shutdown().await?)
}

/// Answers a stream whose capability was good for `opened`, until its peer ends it: one operation
/// after the other, each by what `apply` says. Returns how many were answered.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn serve_operations<Operation, Answered, Applying>(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    opened: Opened,
    decode: impl Fn(&[u8]) -> Result<Operation, DecodeRegionFrameError>,
    mut apply: impl FnMut(Operation) -> Applying,
) -> Result<u64, ServeRegionError>
where
    Answered: Serialize,
    Applying: Future<Output = Answered>,
{
    let welcome: Welcome = Ok(opened);
    send(&mut writer, &welcome).await?;
    let mut answered = 0;
    while let Some(length) = read_length(&mut reader, FRAME_BYTES_MAX).await? {
        let body = timeout(FRAME_PATIENCE, read_body(&mut reader, length)).await;
        let body = body.map_err(|_| ServeRegionError::Stalled(FRAME_PATIENCE))??;
        // Whole before it has an effect: a peer that goes away in between changes nothing.
        let answer = apply(decode(&body)?).await;
        send(&mut writer, &answer).await?;
        answered += 1;
    }
    writer.shutdown().await?;
    Ok(answered)
}

/// As [`serve_operations`], for a region; `now_ms` is the monotonic clock that its term is counted by.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn serve_access(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    access: &RegionAccess,
    now_ms: impl Fn() -> u64,
) -> Result<u64, ServeRegionError> {
    let bytes = access.region().bytes();
    serve_operations(
        reader,
        writer,
        Opened { bytes },
        decode_request,
        |operation| {
            let answer: Answer = access.apply(operation, now_ms());
            ready(answer)
        },
    )
    .await
}

/// Answers one stream of a region until its peer ends it. `admit` judges the capability.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn serve_region<Admitting>(
    mut reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    admit: impl FnOnce(Vec<u8>) -> Admitting,
    now_ms: impl Fn() -> u64,
) -> Result<u64, ServeRegionError>
where
    Admitting: Future<Output = Result<RegionAccess, Refusal>>,
{
    let hello = read_hello(&mut reader).await?;
    match admit(hello.capability).await {
        Ok(access) => serve_access(reader, writer, &access, now_ms).await,
        Err(refusal) => refuse_stream(writer, refusal).await.map(|()| 0),
    }
}

async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), ServeRegionError> {
    let frame = encode_region_frame(message)?;
    let sent = timeout(ANSWER_PATIENCE, async {
        writer.write_all(&frame).await?;
        writer.flush().await
    });
    sent.await
        .map_err(|_| ServeRegionError::Stalled(ANSWER_PATIENCE))??;
    Ok(())
}
