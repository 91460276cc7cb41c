//! Frames on a stream. Knows nothing of what they say.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::wire::DecodeRegionFrameError;

/// A frame that did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFrameError {
    /// What came is none.
    #[error(transparent)]
    Decode(#[from] DecodeRegionFrameError),
    /// The stream broke.
    #[error(transparent)]
    Stream(#[from] io::Error),
}

/// Reads the length of the next frame; none if the stream ended before it.
pub(super) async fn read_length(
    reader: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<Option<usize>, ReadFrameError> {
    let mut length = [0; 4];
    let (first, rest) = length.split_at_mut(1);
    if reader.read(first).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(rest).await?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(DecodeRegionFrameError::TooLong { bytes, bytes_max }.into());
    }
    Ok(Some(bytes))
}

/// Reads the next frame; none if the stream ended before it.
pub(super) async fn read_frame(
    reader: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, ReadFrameError> {
    let Some(bytes) = read_length(reader, bytes_max).await? else {
        return Ok(None);
    };
    read_body(reader, bytes).await.map(Some)
}

/// Reads what follows the length of a frame.
pub(super) async fn read_body(
    reader: &mut (impl AsyncRead + Unpin),
    bytes: usize,
) -> Result<Vec<u8>, ReadFrameError> {
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).await?;
    Ok(body)
}
