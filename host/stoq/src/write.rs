//! The sending half of a stream. Its first frame travels with the first data.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use quinn::VarInt;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

use crate::close::CloseReason;
use crate::inbound::Place;
use crate::lane::{Lane, poll_grant};
use crate::proto::Service;
use crate::read::{Alarm, StreamCode};

/// Bytes of the first write that are joined with the first frame.
const JOINED_BYTES_MAX: usize = 16 << 10;

/// The sending half of a stream. Dropped without [`SendStream::finish`], the stream is reset: the
/// peer never takes a part for the whole.
#[derive(Debug)]
pub struct SendStream {
    inner: quinn::SendStream,
    /// What must go out before anything else: the first frame, and bytes joined to it.
    first: BytesMut,
    alarm: Alarm,
    finished: bool,
    lane: Arc<Lane>,
    /// Whether what is sent here goes before what the operator's cap holds back of others.
    urgent: bool,
    /// While the operator's cap holds this stream back.
    held: Option<Pin<Box<Sleep>>>,
    /// Given back when the answer has ended: before the peer can know and open the next stream.
    place: Option<Place>,
}

/// A write that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The peer reads no further; its reply may say why.
    #[error("the peer stopped reading (code {0})")]
    Stopped(u64),
    /// The deadline of the stream has passed; it is reset.
    #[error("the deadline of the stream has passed")]
    DeadlinePassed,
    /// The stream was finished before.
    #[error("the stream is finished")]
    Finished,
    /// The session has ended.
    #[error("the session has ended: {0}")]
    SessionEnded(CloseReason),
    /// Early data was not taken; ask again.
    #[error("the peer did not take early data")]
    EarlyDataRejected,
}

impl From<quinn::WriteError> for WriteError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Stopped(code.into_inner()),
            quinn::WriteError::ConnectionLost(error) => {
                Self::SessionEnded(CloseReason::from_error(&error))
            }
            quinn::WriteError::ClosedStream => Self::Finished,
            quinn::WriteError::ZeroRttRejected => Self::EarlyDataRejected,
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Stopped(_) | WriteError::EarlyDataRejected => {
                io::ErrorKind::ConnectionReset
            }
            WriteError::DeadlinePassed => io::ErrorKind::TimedOut,
            WriteError::Finished => io::ErrorKind::BrokenPipe,
            WriteError::SessionEnded(_) => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

impl SendStream {
    pub(crate) fn new(
        inner: quinn::SendStream,
        first: &[u8],
        deadline: Option<Instant>,
        lane: Arc<Lane>,
        place: Option<Place>,
    ) -> Self {
        let priority = inner.priority();
        Self {
            urgent: priority.is_ok_and(|priority| priority >= Service::Consensus.priority()),
            inner,
            first: BytesMut::from(first),
            alarm: Alarm::new(deadline),
            finished: false,
            lane,
            held: None,
            place,
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// [`WriteError`]; some of the bytes may have been sent.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let sent = std::future::poll_fn(|context| self.poll_send(context, bytes)).await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        self.flush().await
    }

    /// Sends all of `chunk` without copying it.
    ///
    /// # Errors
    /// [`WriteError`]; some of the bytes may have been sent.
    pub async fn write_chunk(&mut self, mut chunk: Bytes) -> Result<(), WriteError> {
        if !self.first.is_empty() {
            return self.write_all(&chunk).await;
        }
        while !chunk.is_empty() {
            let wanted = chunk.len();
            let granted = std::future::poll_fn(|context| self.poll_grant(context, wanted)).await?;
            match self.send_part(chunk.split_to(granted)).await {
                Some(sent) => sent?,
                None => return Err(self.passed()),
            }
        }
        Ok(())
    }

    /// Sends the header or reply now if it still waits for data to travel with.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        std::future::poll_fn(|context| self.poll_first(context)).await
    }

    /// Ends the stream: everything that was written will arrive, unless the session ends.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn finish(&mut self) -> Result<(), WriteError> {
        self.flush().await?;
        self.end()
    }

    /// Gives the stream up; the peer reads `code`.
    pub fn reset(&mut self, code: u32) {
        self.first.clear();
        self.finished = true;
        self.place = None;
        // It may be reset or finished already, which is as good.
        let _ = self.inner.reset(VarInt::from_u32(code));
    }

    /// Waits until the peer has acknowledged everything (`None`) or stopped reading (its code).
    ///
    /// # Errors
    /// [`WriteError::SessionEnded`].
    pub async fn stopped(&self) -> Result<Option<u64>, WriteError> {
        let stopped = self
            .inner
            .stopped()
            .await
            .map_err(quinn::WriteError::from)?;
        Ok(stopped.map(VarInt::into_inner))
    }

    /// Sends `part` without copying it; `None` if the deadline passes first.
    async fn send_part(&mut self, part: Bytes) -> Option<Result<(), WriteError>> {
        let mut sent = std::pin::pin!(self.inner.write_chunk(part));
        let sent = std::future::poll_fn(|context| {
            let sent = sent.as_mut().poll(context);
            if sent.is_pending() {
                self.lane.press();
            }
            sent.map_err(WriteError::from)
        });
        match self.alarm.deadline() {
            None => Some(sent.await),
            Some(deadline) => tokio::time::timeout_at(deadline, sent).await.ok(),
        }
    }

    fn end(&mut self) -> Result<(), WriteError> {
        self.finished = true;
        self.place = None;
        self.inner.finish().map_err(|_| WriteError::Finished)
    }

    fn passed(&mut self) -> WriteError {
        self.reset(StreamCode::DeadlinePassed.number());
        WriteError::DeadlinePassed
    }

    /// How many of `wanted` bytes the operator's cap lets through now.
    fn poll_grant(
        &mut self,
        context: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<usize, WriteError>> {
        let granted = poll_grant(&self.lane, wanted, self.urgent, &mut self.held, context);
        if granted.is_pending() && self.alarm.rings(context) {
            return Poll::Ready(Err(self.passed()));
        }
        granted.map(Ok)
    }

    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.first.is_empty() {
            let sent = Pin::new(&mut self.inner).poll_write(context, &self.first);
            if sent.is_pending() && self.alarm.rings(context) {
                return Poll::Ready(Err(self.passed()));
            }
            self.first.advance(ready!(sent)?);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        if self.alarm.is_past() {
            return Poll::Ready(Err(self.passed()));
        }
        if !self.first.is_empty() && self.first.len() < JOINED_BYTES_MAX {
            let joined = bytes.len().min(JOINED_BYTES_MAX);
            let (joined_bytes, _) = bytes.split_at(joined);
            self.first.extend_from_slice(joined_bytes);
            // What cannot go now goes before the next bytes, or when the stream is finished.
            return match self.poll_first(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(joined)),
            };
        }
        ready!(self.poll_first(context))?;
        let granted = ready!(self.poll_grant(context, bytes.len()))?;
        let (now, _later) = bytes.split_at(granted);
        let sent = Pin::new(&mut self.inner).poll_write(context, now);
        let taken = match &sent {
            Poll::Ready(Ok(taken)) => *taken,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.lane.give_back(granted.saturating_sub(taken));
        if sent.is_pending() {
            self.lane.press();
            if self.alarm.rings(context) {
                return Poll::Ready(Err(self.passed()));
            }
        }
        Poll::Ready(Ok(ready!(sent)?))
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.get_mut().poll_send(context, bytes).map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_first(context).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        ready!(stream.poll_first(context))?;
        if stream.finished {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(stream.end().map_err(Into::into))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.finished {
            self.reset(StreamCode::Abandoned.number());
        }
    }
}
