//! Moves frames: those about the session over its first stream, and the headers of others.

use crate::bounds::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use crate::close::CloseReason;
use crate::proto::{
    ControlFrame, FrameError, HEADER_BODY_BYTES_MIN, PREFIX_BYTES, body_bytes, decode, encode,
};

/// Reads the body of a stream's header. Every read takes the lock of the connection, so the
/// shortest header, which most are, is read at once.
pub(crate) async fn read_header(stream: &mut quinn::RecvStream) -> Result<Vec<u8>, ReadFrameError> {
    let mut first = [0; PREFIX_BYTES + HEADER_BODY_BYTES_MIN];
    stream.read_exact(&mut first).await?;
    let (prefix, least) = first
        .split_first_chunk::<PREFIX_BYTES>()
        .ok_or(FrameError::Malformed)?;
    let bytes = body_bytes(*prefix, HEADER_BYTES_MAX)?;
    let mut body = least.to_vec();
    if bytes < body.len() {
        return Err(FrameError::Malformed.into());
    }
    body.resize(bytes, 0);
    if let Some(rest) = body.get_mut(HEADER_BODY_BYTES_MIN..)
        && !rest.is_empty()
    {
        stream.read_exact(rest).await?;
    }
    Ok(body)
}

/// A frame that did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFrameError {
    #[error(transparent)]
    Stream(#[from] quinn::ReadExactError),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl ReadFrameError {
    /// Why the session ends of this.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Stream(quinn::ReadExactError::ReadError(quinn::ReadError::ConnectionLost(
                error,
            ))) => CloseReason::from_error(error),
            other => CloseReason::protocol(other),
        }
    }
}

/// Reads the next frame about the session.
pub(crate) async fn read(stream: &mut quinn::RecvStream) -> Result<ControlFrame, ReadFrameError> {
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; body_bytes(prefix, CONTROL_BYTES_MAX)?];
    stream.read_exact(&mut body).await?;
    Ok(decode(&body)?)
}

/// Sends a frame about the session.
pub(crate) async fn write(
    stream: &mut quinn::SendStream,
    frame: &ControlFrame,
) -> Result<(), CloseReason> {
    let bytes = encode(frame, CONTROL_BYTES_MAX).map_err(CloseReason::protocol)?;
    stream.write_all(&bytes).await.map_err(|error| match error {
        quinn::WriteError::ConnectionLost(error) => CloseReason::from_error(&error),
        other => CloseReason::protocol(other),
    })
}
