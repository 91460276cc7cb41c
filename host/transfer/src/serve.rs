//! The answering side: one request per stream, slices checked before they are sent, memory bounded by
//! the number of streams.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use storage::{
    ArtifactReader, Artifacts, GroupSet, ReadArtifactError, ReadSliceError, StorageError, slices_of,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use crate::bounds::{REQUEST_PATIENCE, SLICE_PATIENCE, SPANS_MAX};
use crate::frames::{ReadFrameError, read_frame, write_frame};
use crate::wire::{GroupSpan, Have, Message, Refusal, Request, SliceHead, Wanted};

/// Answers requests out of a store. Clones are the same server.
#[derive(Debug, Clone)]
pub struct Server {
    artifacts: Artifacts,
    slots: Arc<Semaphore>,
}

/// What a stream was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// So many bytes of content and hashes were sent.
    Sent(u64),
    /// It was refused.
    Refused(Refusal),
}

/// A stream that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What came is no request.
    #[error(transparent)]
    Request(#[from] ReadFrameError),
    /// Another message than a request came, or none.
    #[error("the stream began with something else than a request")]
    NoRequest,
    /// Nobody reads, or nobody asks.
    #[error("the peer did not move for {0:?}")]
    Stalled(Duration),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Stream(#[from] io::Error),
    /// The store refused: an error of this machine.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A task ended early: the process is shutting down.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// A slice to send, and the reader that it came from.
type Next = (ArtifactReader, Result<Vec<u8>, ReadSliceError>);

impl Server {
    /// Serves `artifacts`. At most `streams_max` streams are answered at once, half a megabyte each;
    /// others are told that the node is busy.
    #[must_use]
    pub fn new(artifacts: Artifacts, streams_max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(streams_max.min(Semaphore::MAX_PERMITS)));
        Self { artifacts, slots }
    }

    /// Answers the request on one stream and ends it.
    ///
    /// # Errors
    /// [`ServeError`], for the log: the peer sees the stream end.
    pub async fn serve(
        &self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Result<Served, ServeError> {
        let Ok(_slot) = self.slots.try_acquire() else {
            return refuse(&mut writer, Refusal::Busy).await;
        };
        let request = timeout(REQUEST_PATIENCE, read_frame(&mut reader)).await;
        let request = request.map_err(|_| ServeError::Stalled(REQUEST_PATIENCE))??;
        let Some(Message::Request(Request { digest, wanted })) = request else {
            return Err(ServeError::NoRequest);
        };
        let artifacts = self.artifacts.clone();
        let source = match spawn_blocking(move || artifacts.reader(&digest)).await? {
            Ok(source) => source,
            Err(ReadArtifactError::Absent(_)) => {
                return refuse(&mut writer, Refusal::Absent).await;
            }
            Err(ReadArtifactError::Damaged { .. }) => {
                return refuse(&mut writer, Refusal::Damaged).await;
            }
            Err(ReadArtifactError::Storage(error)) => {
                refuse(&mut writer, Refusal::Damaged).await?;
                return Err(error.into());
            }
        };
        let held = source.held();
        let have = Message::Have(Have {
            bytes: source.bytes(),
            held: GroupSpan::of_set(&held),
        });
        send(&mut writer, &have, &[]).await?;
        let asked = match wanted {
            Wanted::Last => GroupSet::from(source.groups() - 1..source.groups()),
            Wanted::Groups(spans) => GroupSpan::set(&spans),
        };
        let there = asked.intersection(&held);
        let mut missing = asked;
        there
            .ranges()
            .iter()
            .for_each(|range| missing.remove(range));
        for ranges in missing.ranges().chunks(SPANS_MAX) {
            let spans = ranges.iter().cloned().map(GroupSpan::from).collect();
            send(&mut writer, &Message::Missing(spans), &[]).await?;
        }
        send_slices(&mut writer, source, &there).await
    }

    /// Refuses what is asked on one stream, whatever it is.
    ///
    /// # Errors
    /// [`ServeError`] if not even that can be said.
    pub async fn refuse(
        mut writer: impl AsyncWrite + Unpin,
        refusal: Refusal,
    ) -> Result<Served, ServeError> {
        refuse(&mut writer, refusal).await
    }
}

/// Sends the slices of `groups`; while one is sent, the next one is read.
async fn send_slices(
    writer: &mut (impl AsyncWrite + Unpin),
    source: ArtifactReader,
    groups: &GroupSet,
) -> Result<Served, ServeError> {
    let mut slices = groups.ranges().iter().cloned().flat_map(slices_of);
    let mut sent = 0;
    let mut buffer = Vec::new();
    let mut current = slices.next();
    let mut reading = current
        .clone()
        .map(|groups| spawn_blocking(move || read(source, &groups, Vec::new())));
    while let (Some(groups), Some(task)) = (current, reading) {
        let (source, encoded) = task.await?;
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(ReadSliceError::Storage(error)) => {
                refuse(writer, Refusal::Damaged).await?;
                return Err(error.into());
            }
            // Damage was found since it was said to be here.
            Err(_) => return refuse(writer, Refusal::Damaged).await,
        };
        current = slices.next();
        reading = current.clone().map(|groups| {
            let buffer = std::mem::take(&mut buffer);
            spawn_blocking(move || read(source, &groups, buffer))
        });
        let head = Message::Slice(SliceHead {
            groups: groups.into(),
            bytes: u32::try_from(encoded.len()).map_err(io::Error::other)?,
        });
        send(writer, &head, &encoded).await?;
        sent += encoded.len() as u64;
        buffer = encoded;
    }
    timeout(SLICE_PATIENCE, writer.shutdown())
        .await
        .map_err(|_| ServeError::Stalled(SLICE_PATIENCE))??;
    Ok(Served::Sent(sent))
}

fn read(mut source: ArtifactReader, groups: &Range<u64>, mut buffer: Vec<u8>) -> Next {
    buffer.clear();
    let read = source.slice(groups, &mut buffer);
    (source, read.map(|()| buffer))
}

async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &Message,
    content: &[u8],
) -> Result<(), ServeError> {
    timeout(SLICE_PATIENCE, write_frame(writer, message, content))
        .await
        .map_err(|_| ServeError::Stalled(SLICE_PATIENCE))?
        .map_err(Into::into)
}

async fn refuse(
    writer: &mut (impl AsyncWrite + Unpin),
    refusal: Refusal,
) -> Result<Served, ServeError> {
    send(writer, &Message::Refused(refusal), &[]).await?;
    timeout(SLICE_PATIENCE, writer.shutdown())
        .await
        .map_err(|_| ServeError::Stalled(SLICE_PATIENCE))??;
    Ok(Served::Refused(refusal))
}
