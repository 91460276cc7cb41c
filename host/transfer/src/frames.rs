//! Messages on a stream: two bytes of length, little endian, then the message. Knows nothing of order.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::bounds::FRAME_BYTES_MAX;
use crate::wire::{DecodeError, Message};

/// A message that did not come.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// What came is none.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Stream(#[from] io::Error),
}

/// Reads the next message; none if the stream ended before it.
///
/// # Errors
/// [`ReadFrameError`] if the stream ended within it or it is no message.
pub async fn read_frame(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Message>, ReadFrameError> {
    let mut length = [0; 2];
    let (first, rest) = length.split_at_mut(1);
    if reader.read(first).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(rest).await?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLong(length).into());
    }
    let mut encoded = vec![0; length];
    reader.read_exact(&mut encoded).await?;
    Ok(Some(Message::decode(&encoded)?))
}

/// Writes a message, and `content` after it: what [`Message::Slice`] announces, else nothing.
///
/// # Errors
/// The stream's.
pub async fn write_frame(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &Message,
    content: &[u8],
) -> io::Result<()> {
    let encoded = message.encode();
    let length = u16::try_from(encoded.len()).map_err(io::Error::other)?;
    let head = [&length.to_le_bytes(), encoded.as_slice()].concat();
    writer.write_all(&head).await?;
    writer.write_all(content).await
}
