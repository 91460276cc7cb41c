//! Moves frames about the session over its first stream.

use crate::bounds::CONTROL_BYTES_MAX;
use crate::close::CloseReason;
use crate::proto::{ControlFrame, FrameError, PREFIX_BYTES, body_bytes, decode, encode};

/// Reads the body of the next frame of any kind.
pub(crate) async fn read_body(
    stream: &mut quinn::RecvStream,
    bytes_max: usize,
) -> Result<Vec<u8>, ReadFrameError> {
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; body_bytes(prefix, bytes_max)?];
    stream.read_exact(&mut body).await?;
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
    let body = read_body(stream, CONTROL_BYTES_MAX).await?;
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
