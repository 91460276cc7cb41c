//! One request: what is written to its stream, and what is made of what comes back. What to ask for
//! is decided elsewhere.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use storage::{
    Artifacts, BadSliceError, FillArtifactError, GroupSet, Partial, SizeProof, StorageError,
    WriteSliceError, group_count,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use types::{Digest, NodeId};

use crate::driver::Sources;
use crate::fetch_types::{AskId, Event};
use crate::frames::{ReadFrameError, read_frame, write_frame};
use crate::wire::{GroupSpan, Message, Request, SliceHead, Wanted};

/// What a request tells the driver.
#[derive(Debug)]
pub(crate) enum Outcome {
    Event(Event),
    /// This machine's disk refused: no peer can help.
    Disk(StorageError),
    /// Somebody else stored the artifact meanwhile.
    Whole,
}

/// What all requests of one fetch share.
#[derive(Debug)]
pub(crate) struct Asking {
    artifacts: Artifacts,
    digest: Digest,
    /// None before a size is proven.
    partial: Mutex<Option<Partial>>,
    outcomes: mpsc::Sender<Outcome>,
}

/// How a request ends early.
enum Stop {
    Tell(Event),
    Disk(StorageError),
    Whole,
}

impl Asking {
    pub(crate) fn new(
        artifacts: Artifacts,
        digest: Digest,
        partial: Option<Partial>,
        outcomes: mpsc::Sender<Outcome>,
    ) -> Self {
        Self {
            artifacts,
            digest,
            partial: Mutex::new(partial),
            outcomes,
        }
    }

    pub(crate) fn partial(&self) -> Option<Partial> {
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.clone()
    }

    /// Asks one peer and tells everything that comes of it.
    pub(crate) async fn ask<S: Sources>(
        self: Arc<Self>,
        sources: Arc<S>,
        (ask, peer): (AskId, NodeId),
        wanted: Wanted,
    ) {
        let outcome = match self.converse(&*sources, (ask, peer), wanted).await {
            Ok(()) => Outcome::Event(Event::Ended { ask }),
            Err(Stop::Tell(event)) => Outcome::Event(event),
            Err(Stop::Disk(error)) => Outcome::Disk(error),
            Err(Stop::Whole) => Outcome::Whole,
        };
        // The driver is gone: nobody wants to know.
        let _ = self.outcomes.send(outcome).await;
    }

    async fn converse<S: Sources>(
        self: &Arc<Self>,
        sources: &S,
        (ask, peer): (AskId, NodeId),
        wanted: Wanted,
    ) -> Result<(), Stop> {
        let broke = |error: std::io::Error| {
            let reason = error.to_string();
            Stop::Tell(Event::Broke { ask, reason })
        };
        let violated = |reason: &str| {
            let reason = reason.to_owned();
            Stop::Tell(Event::Violated { ask, reason })
        };
        let (mut reader, mut writer) = sources.open(peer).await.map_err(broke)?;
        let request = Message::Request(Request {
            digest: self.digest,
            wanted: wanted.clone(),
        });
        write_frame(&mut writer, &request, &[])
            .await
            .map_err(broke)?;
        writer.shutdown().await.map_err(broke)?;
        let mut size = None;
        let mut owed = GroupSet::new();
        let mut content = Vec::new();
        loop {
            let message = read_frame(&mut reader).await.map_err(|error| match error {
                ReadFrameError::Decode(error) => violated(&error.to_string()),
                ReadFrameError::Stream(error) => broke(error),
            })?;
            match (message, size) {
                (None, _) => return Ok(()),
                (Some(Message::Refused(refusal)), _) => {
                    return Err(Stop::Tell(Event::Refused { ask, refusal }));
                }
                (Some(Message::Have(have)), None) => {
                    size = Some(have.bytes);
                    owed = owed_of(&wanted, have.bytes);
                    let (bytes, held) = (have.bytes, GroupSpan::set(&have.held));
                    self.tell(Event::Has { ask, bytes, held }).await;
                }
                (Some(Message::Missing(spans)), Some(_)) => {
                    let groups = GroupSpan::set(&spans);
                    groups.ranges().iter().for_each(|range| owed.remove(range));
                    self.tell(Event::Lacks { ask, groups }).await;
                }
                (Some(Message::Slice(head)), Some(bytes)) => {
                    let groups = head.groups.range();
                    if !owed.contains(&groups) {
                        return Err(violated("a slice that was not asked for"));
                    }
                    owed.remove(&groups);
                    content = read_content(&mut reader, head, content)
                        .await
                        .map_err(broke)?;
                    content = self.take((ask, groups.clone()), bytes, content).await?;
                    self.tell(Event::Stored { ask, groups, bytes }).await;
                }
                _ => return Err(violated("a message out of order")),
            }
        }
    }

    async fn tell(&self, event: Event) {
        let _ = self.outcomes.send(Outcome::Event(event)).await;
    }

    /// Checks and stores a slice; gives the buffer back.
    async fn take(
        self: &Arc<Self>,
        (ask, groups): (AskId, Range<u64>),
        bytes: u64,
        content: Vec<u8>,
    ) -> Result<Vec<u8>, Stop> {
        let asking = Arc::clone(self);
        let wanted = groups.clone();
        let stored = spawn_blocking(move || {
            let stored = asking.store(&wanted, bytes, &content);
            (stored, content)
        });
        let (stored, content) = stored.await.map_err(|error| {
            let reason = error.to_string();
            Stop::Tell(Event::Broke { ask, reason })
        })?;
        match stored {
            Ok(true) => Ok(content),
            Ok(false) => Err(Stop::Whole),
            Err(WriteSliceError::Bad(_)) => Err(Stop::Tell(Event::Bad { ask, groups })),
            Err(WriteSliceError::Storage(error)) => Err(Stop::Disk(error)),
        }
    }

    /// False if the artifact is here without our doing.
    fn store(
        &self,
        groups: &Range<u64>,
        bytes: u64,
        encoded: &[u8],
    ) -> Result<bool, WriteSliceError> {
        if let Some(partial) = self.partial() {
            if partial.bytes() != bytes {
                // The claim is judged by the plan; the slice was cut for another tree.
                let groups = groups.clone();
                return Err(BadSliceError::Range { groups, bytes }.into());
            }
            return partial.write_slice(groups, encoded).map(|()| true);
        }
        if self.artifacts.size(&self.digest).is_some() {
            return Ok(false);
        }
        let proof = SizeProof::verify(self.digest, bytes, encoded)?;
        let partial = match self.artifacts.fill(&proof) {
            Ok(partial) => partial,
            Err(FillArtifactError::Whole(_)) => return Ok(false),
            Err(FillArtifactError::Storage(error)) => return Err(error.into()),
        };
        *self.partial.lock().unwrap_or_else(PoisonError::into_inner) = Some(partial);
        Ok(true)
    }
}

/// The groups that the answer to `wanted` may bring, of an artifact of `bytes`.
fn owed_of(wanted: &Wanted, bytes: u64) -> GroupSet {
    let total = group_count(bytes);
    match wanted {
        Wanted::Last => GroupSet::from(total - 1..total),
        Wanted::Groups(spans) => GroupSpan::set(spans).intersection(&GroupSet::from(0..total)),
    }
}

/// Reads the slice that `head` announces into `content`. Its length was checked with the message.
async fn read_content(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    head: SliceHead,
    mut content: Vec<u8>,
) -> std::io::Result<Vec<u8>> {
    let bytes = usize::try_from(head.bytes).map_err(std::io::Error::other)?;
    content.clear();
    // Only what comes takes memory: whoever announces much and sends little holds little.
    reader
        .take(u64::from(head.bytes))
        .read_to_end(&mut content)
        .await?;
    if content.len() == bytes {
        Ok(content)
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}
