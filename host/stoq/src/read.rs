//! The receiving half of a stream. The peer's reply is read before the first data.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::VarInt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::bounds::HEADER_BYTES_MAX;
use crate::close::CloseReason;
use crate::proto::{
    FrameError, PREFIX_BYTES, REPLY_BODY_BYTES_MIN, StreamRefusal, StreamReply, body_bytes,
};

/// Why one end gives up a stream, as a number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamCode {
    /// The handle was dropped.
    Abandoned = 1,
    /// Time is up.
    DeadlinePassed = 2,
    /// The stream was refused; the reply says why.
    Refused = 3,
}

impl StreamCode {
    pub(crate) const fn number(self) -> u32 {
        self as u32
    }
}

/// When a stream ends by itself. It takes a timer only when something really waits.
#[derive(Debug)]
pub(crate) struct Alarm {
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(crate) const fn new(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            timer: None,
        }
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn is_past(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether time is up; if not, the task is woken when it is.
    pub(crate) fn rings(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else {
            return false;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(context).is_ready()
    }
}

/// The receiving half of a stream. Dropped early, the peer is told to stop.
#[derive(Debug)]
pub struct RecvStream {
    inner: quinn::RecvStream,
    /// What was read of the reply, while it is awaited.
    reply: Option<Vec<u8>>,
    /// The refusal, once read: every later read repeats it.
    refused: Option<StreamRefusal>,
    alarm: Alarm,
}

/// A read that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The peer refused the stream.
    #[error(transparent)]
    Refused(StreamRefusal),
    /// The peer gave the stream up.
    #[error("the peer gave the stream up (code {0})")]
    Reset(u64),
    /// The deadline of the stream has passed; it is stopped.
    #[error("the deadline of the stream has passed")]
    DeadlinePassed,
    /// The stream ended before what was asked for, or before the reply.
    #[error("the stream ended early")]
    EndedEarly,
    /// More than the limit of [`RecvStream::read_to_end`].
    #[error("the stream is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The first bytes are no reply.
    #[error("the peer's reply: {0}")]
    BadReply(FrameError),
    /// The session has ended.
    #[error("the session has ended: {0}")]
    SessionEnded(CloseReason),
    /// Early data was not taken; ask again.
    #[error("the peer did not take early data")]
    EarlyDataRejected,
    /// The stream was stopped before.
    #[error("the stream is stopped")]
    Stopped,
}

impl From<quinn::ReadError> for ReadError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Reset(code.into_inner()),
            quinn::ReadError::ConnectionLost(error) => {
                Self::SessionEnded(CloseReason::from_error(&error))
            }
            quinn::ReadError::ClosedStream | quinn::ReadError::IllegalOrderedRead => Self::Stopped,
            quinn::ReadError::ZeroRttRejected => Self::EarlyDataRejected,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Refused(_) => io::ErrorKind::ConnectionRefused,
            ReadError::Reset(_) | ReadError::EarlyDataRejected => io::ErrorKind::ConnectionReset,
            ReadError::DeadlinePassed => io::ErrorKind::TimedOut,
            ReadError::EndedEarly => io::ErrorKind::UnexpectedEof,
            ReadError::TooLong { .. } | ReadError::BadReply(_) => io::ErrorKind::InvalidData,
            ReadError::SessionEnded(_) => io::ErrorKind::ConnectionAborted,
            ReadError::Stopped => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}

impl RecvStream {
    /// The half of the one who was asked: data from the start.
    pub(crate) fn of_request(inner: quinn::RecvStream, deadline: Option<Instant>) -> Self {
        Self {
            inner,
            reply: None,
            refused: None,
            alarm: Alarm::new(deadline),
        }
    }

    /// The half of the one who asked: the reply comes first.
    pub(crate) fn of_reply(inner: quinn::RecvStream, deadline: Option<Instant>) -> Self {
        Self {
            inner,
            reply: Some(Vec::new()),
            refused: None,
            alarm: Alarm::new(deadline),
        }
    }

    /// Waits for the peer's reply. Services reply with their first data, or when they flush.
    ///
    /// # Errors
    /// [`ReadError::Refused`] and every other [`ReadError`].
    pub async fn accepted(&mut self) -> Result<(), ReadError> {
        std::future::poll_fn(|context| self.poll_reply(context)).await
    }

    /// Reads what is there into `buffer`; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        let mut buffer = ReadBuf::new(buffer);
        std::future::poll_fn(|context| self.poll_receive(context, &mut buffer)).await?;
        Ok(Some(buffer.filled().len()).filter(|bytes| *bytes > 0))
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    /// [`ReadError::EndedEarly`] and every other [`ReadError`].
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        let mut buffer = ReadBuf::new(buffer);
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            std::future::poll_fn(|context| self.poll_receive(context, &mut buffer)).await?;
            if buffer.filled().len() == before {
                return Err(ReadError::EndedEarly);
            }
        }
        Ok(())
    }

    /// The next bytes, at most `bytes_max`, without copying them; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_chunk(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.accepted().await?;
        let deadline = self.alarm.deadline();
        let read = self.inner.read_chunk(bytes_max, true);
        let chunk = match deadline {
            None => read.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline, read).await {
                Ok(chunk) => chunk?,
                Err(_) => return Err(self.passed()),
            },
        };
        Ok(chunk.map(|chunk| chunk.bytes))
    }

    /// Everything up to the end of the stream, if that is at most `bytes_max`.
    ///
    /// # Errors
    /// [`ReadError::TooLong`] and every other [`ReadError`].
    pub async fn read_to_end(&mut self, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk(usize::MAX).await? {
            if all.len() + chunk.len() > bytes_max {
                return Err(ReadError::TooLong { bytes_max });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: u32) {
        // It may have ended already, which is as good.
        let _ = self.inner.stop(VarInt::from_u32(code));
    }

    /// Whether the stream travelled before the handshake had ended, and so could be a replay.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.inner.is_0rtt()
    }

    fn passed(&mut self) -> ReadError {
        self.stop(StreamCode::DeadlinePassed.number());
        ReadError::DeadlinePassed
    }

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), ReadError>> {
        ready!(self.poll_reply(context))?;
        let read = self.inner.poll_read_buf(context, buffer);
        if read.is_pending() && self.alarm.rings(context) {
            return Poll::Ready(Err(self.passed()));
        }
        Poll::Ready(Ok(ready!(read)?))
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        if let Some(refusal) = &self.refused {
            return Poll::Ready(Err(ReadError::Refused(refusal.clone())));
        }
        while let Some(so_far) = &mut self.reply {
            let missing = match missing_bytes(so_far) {
                Ok(missing) => missing,
                Err(error) => return Poll::Ready(Err(ReadError::BadReply(error))),
            };
            if missing == 0 {
                let body = so_far.get(PREFIX_BYTES..).unwrap_or_default();
                let reply = StreamReply::from_body(body).map_err(ReadError::BadReply)?;
                self.reply = None;
                if let StreamReply::Refused(refusal) = reply {
                    self.refused = Some(refusal.clone());
                    return Poll::Ready(Err(ReadError::Refused(refusal)));
                }
                break;
            }
            let mut bytes = [0; HEADER_BYTES_MAX];
            let wanted = bytes.get_mut(..missing).unwrap_or_default();
            let read = self.inner.poll_read(context, wanted);
            if read.is_pending() && self.alarm.rings(context) {
                return Poll::Ready(Err(self.passed()));
            }
            let read = ready!(read)?;
            if read == 0 {
                return Poll::Ready(Err(ReadError::EndedEarly));
            }
            so_far.extend_from_slice(bytes.get(..read).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

/// How many bytes the frame that begins with `so_far` still lacks, as far as is known.
fn missing_bytes(so_far: &[u8]) -> Result<usize, FrameError> {
    // The shortest reply is the usual one: one read is enough for it.
    const LEAST: usize = PREFIX_BYTES + REPLY_BODY_BYTES_MIN;
    let Some(prefix) = so_far
        .first_chunk::<PREFIX_BYTES>()
        .filter(|_| so_far.len() >= LEAST)
    else {
        return Ok(LEAST - so_far.len());
    };
    let body = body_bytes(*prefix, HEADER_BYTES_MAX)?;
    if body < REPLY_BODY_BYTES_MIN {
        return Err(FrameError::Malformed);
    }
    Ok((PREFIX_BYTES + body).saturating_sub(so_far.len()))
}

impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut()
            .poll_receive(context, buffer)
            .map_err(Into::into)
    }
}
