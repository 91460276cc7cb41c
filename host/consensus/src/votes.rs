//! How far each view of the vote journal was flushed, noted in a file beside it, so that a journal
//! that lost votes is told from one with a torn end. Never knows what a vote says.
//!
//! The journal keeps a file for each view and cuts it at the first entry that does not hold: it
//! cannot tell a write that a loss of power tore from votes whose bytes changed later. After each
//! flush of the journal, and so before a vote is sent, the flushed length goes here; at the start
//! that much of each file must hold. What stands behind it was sent to nobody and may be torn.
//!
//! The note is written, not flushed, before the vote is sent: the end of the process takes none
//! away and the vote waits for no second flush. A loss of power may take the notes since their last
//! flush, which a vote begins and at most once a [`FLUSH_PAUSE`]. That leaves a shorter length that
//! holds, too: less is checked then, and nothing good is refused. A note is in one sector, so it is
//! the new one or the old one.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Buf as _;
use commonware_cryptography::Crc32;
use commonware_runtime::{
    Blob, BlobVersion, Error, Handle, IoBufs, IoBufsMut, ReadOptions, Storage, WriteOptions,
};

use crate::data_dir::votes_partition;
use crate::engine::PAGE_BYTES;
use crate::time::Time;

/// Views that are noted: more than the journal keeps behind the last final one, and only a fabric
/// that has agreed on nothing for longer than the others last has older ones without a note.
const NOTED_VIEWS: u64 = 256;
/// Bytes of a note: view, flushed bytes, checksum of both, and zeros. A sector holds whole ones.
const NOTE_BYTES: usize = 32;
const NOTE_TEXT_BYTES: usize = 16;
/// Pause between two flushes of the notes: a vote of each second may wait a little longer.
const FLUSH_PAUSE: Duration = Duration::from_secs(1);
/// The file's name in its partition.
const NOTES: &[u8] = b"notes";
/// Two lengths with a checksum each at the end of the journal's pages.
const FOOTER_BYTES: usize = 12;
const PAGE: usize = PAGE_BYTES as usize;
const PAGE_TEXT_BYTES: usize = PAGE - FOOTER_BYTES;

/// The partition of the notes on votes in `epoch`.
fn notes_partition(epoch: u64) -> String {
    format!("flushed-votes-epoch-{epoch}")
}

/// Removes the votes in an epoch that is over. A node that never voted in it has none.
pub(crate) async fn forget(context: &impl Storage, epoch: u64) {
    // What stays of an epoch that is over is never read.
    let _ = context.remove(&notes_partition(epoch), None).await;
    let _ = context.remove(&votes_partition(epoch), None).await;
}

/// What a vote journal has lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckVotesError {
    /// A view holds less than was flushed.
    #[error("of {flushed} bytes that were flushed in view {view}, {intact} hold")]
    Lost {
        view: u64,
        flushed: u64,
        intact: u64,
    },
    /// The disk, or the head of a file.
    #[error("view {view} cannot be read: {reason}")]
    View { view: u64, reason: String },
    /// The folder of the journal or the file of the notes.
    #[error("they cannot be read: {0}")]
    Read(String),
}

/// Compares the journal of `epoch` with what was flushed of it. Reads that much and changes
/// nothing.
pub(crate) async fn check(context: &impl Storage, epoch: u64) -> Result<(), CheckVotesError> {
    let votes = votes_partition(epoch);
    let read = |error: Error| CheckVotesError::Read(error.to_string());
    let notes = notes(context, epoch).await.map_err(read)?;
    if notes.is_empty() {
        return Ok(());
    }
    let views = names(context, &votes).await.map_err(read)?;
    let views: Vec<_> = views.iter().filter_map(|name| view_of(name)).collect();
    // The journal removes views from the oldest on.
    let oldest = views.iter().min();
    for (view, flushed) in notes {
        let intact = if views.contains(&view) {
            let held = held(context, &votes, view, flushed).await;
            held.map_err(|error| CheckVotesError::View {
                view,
                reason: error.to_string(),
            })?
        } else if oldest.is_some_and(|oldest| view < *oldest) {
            continue;
        } else {
            0
        };
        if intact < flushed {
            return Err(CheckVotesError::Lost {
                view,
                flushed,
                intact,
            });
        }
    }
    Ok(())
}

/// The notes that hold: view and flushed bytes. One that does not hold says nothing.
async fn notes(context: &impl Storage, epoch: u64) -> Result<Vec<(u64, u64)>, Error> {
    let partition = notes_partition(epoch);
    let found = names(context, &partition).await?;
    if !found.iter().any(|name| name == NOTES) {
        return Ok(Vec::new());
    }
    let (file, size) = context.open(&partition, NOTES).await?;
    let size = usize::try_from(size.min(NOTED_VIEWS * NOTE_BYTES as u64)).unwrap_or(0);
    if size == 0 {
        return Ok(Vec::new());
    }
    let bytes = file.read_at(0, size, ReadOptions::default()).await?;
    let bytes = bytes.coalesce();
    let notes = bytes.as_ref().chunks_exact(NOTE_BYTES);
    Ok(notes.filter_map(decode_note).collect())
}

async fn names(context: &impl Storage, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
    match context.scan(partition).await {
        Err(Error::PartitionMissing(_)) => Ok(Vec::new()),
        found => found,
    }
}

fn view_of(name: &[u8]) -> Option<u64> {
    name.try_into().ok().map(u64::from_be_bytes)
}

/// Bytes of a view that hold from its beginning on; looks no further than `wanted`.
async fn held(
    context: &impl Storage,
    partition: &str,
    view: u64,
    wanted: u64,
) -> Result<u64, Error> {
    let (file, size) = context.open(partition, &view.to_be_bytes()).await?;
    let mut held = 0;
    for page in 0..size / PAGE as u64 {
        let at = page * PAGE as u64;
        let bytes = file.read_at(at, PAGE, ReadOptions::default()).await?;
        let Some(len) = intact_bytes(bytes.coalesce().as_ref()) else {
            break;
        };
        held += len as u64;
        if held >= wanted || len < PAGE_TEXT_BYTES {
            break;
        }
    }
    Ok(held)
}

/// The longer one of a page's two lengths whose checksum holds.
fn intact_bytes(page: &[u8]) -> Option<usize> {
    let (text, footer) = page.split_at_checked(PAGE_TEXT_BYTES)?;
    let slots = footer.chunks_exact(FOOTER_BYTES / 2);
    let lengths = slots.filter_map(|slot| {
        let (len, sum) = slot.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        let covered = text.get(..len).filter(|covered| !covered.is_empty())?;
        (Crc32::checksum(covered).to_be_bytes() == *sum).then_some(len)
    });
    lengths.max()
}

pub(crate) fn encode_note(view: u64, flushed: u64) -> [u8; NOTE_BYTES] {
    let mut note = [0; NOTE_BYTES];
    let mut text = [0; NOTE_TEXT_BYTES];
    text[..8].copy_from_slice(&view.to_be_bytes());
    text[8..].copy_from_slice(&flushed.to_be_bytes());
    note[..NOTE_TEXT_BYTES].copy_from_slice(&text);
    note[NOTE_TEXT_BYTES..NOTE_TEXT_BYTES + 4]
        .copy_from_slice(&Crc32::checksum(&text).to_be_bytes());
    note
}

pub(crate) fn decode_note(note: &[u8]) -> Option<(u64, u64)> {
    let (view, rest) = note.split_first_chunk::<8>()?;
    let (flushed, _) = rest.split_first_chunk::<8>()?;
    let (view, flushed) = (u64::from_be_bytes(*view), u64::from_be_bytes(*flushed));
    (flushed > 0 && encode_note(view, flushed) == *note).then_some((view, flushed))
}

/// The file of the notes, while its epoch lasts.
pub(crate) struct Notes<B> {
    votes: String,
    file: B,
    time: Time,
    flushed: Mutex<Option<Instant>>,
}

impl<B: Blob> Notes<B> {
    pub(crate) async fn open(
        context: &impl Storage<Blob = B>,
        epoch: u64,
        time: Time,
    ) -> Result<Self, Error> {
        let (file, _) = context.open(&notes_partition(epoch), NOTES).await?;
        Ok(Self {
            votes: votes_partition(epoch),
            file,
            time,
            flushed: Mutex::default(),
        })
    }

    async fn note(&self, view: u64, flushed: u64) -> Result<(), Error> {
        let at = (view % NOTED_VIEWS) * NOTE_BYTES as u64;
        let note = encode_note(view, flushed).to_vec();
        self.file
            .write_at(at, note, WriteOptions::default())
            .await?;
        if self.flush_is_due() {
            // It goes on by itself, and a flush that fails fails the next write.
            drop(self.file.start_sync().await);
        }
        Ok(())
    }

    fn flush_is_due(&self) -> bool {
        let now = self.time.now();
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = flushed.is_none_or(|then| now.saturating_duration_since(then) >= FLUSH_PAUSE);
        if due {
            *flushed = Some(now);
        }
        due
    }
}

/// Opens a file whose flushes are noted if it is a view of the journal.
pub(crate) async fn open_noted<E: Storage>(
    context: &E,
    notes: &Arc<Notes<E::Blob>>,
    (partition, name): (&str, &[u8]),
    versions: RangeInclusive<BlobVersion>,
) -> Result<(NotedBlob<E::Blob>, u64, BlobVersion), Error> {
    let (inner, size, version) = context.open_versioned(partition, name, versions).await?;
    let view = view_of(name).filter(|_| partition == notes.votes);
    let blob = NotedBlob {
        inner,
        size: AtomicU64::new(size),
        notes: view.map(|view| (view, notes.clone())),
    };
    Ok((blob, size, version))
}

/// A file of the engine; one of the vote journal has its flushes noted.
pub(crate) struct NotedBlob<B> {
    inner: B,
    size: AtomicU64,
    notes: Option<(u64, Arc<Notes<B>>)>,
}

impl<B: Blob> NotedBlob<B> {
    /// The journal has one writer, which waits for each flush: nothing is written meanwhile.
    async fn note(&self) -> Result<(), Error> {
        let Some((view, notes)) = &self.notes else {
            return Ok(());
        };
        let pages = self.size.load(Ordering::Relaxed) / PAGE as u64;
        let Some(full) = pages.checked_sub(1) else {
            return Ok(());
        };
        let at = full * PAGE as u64 + PAGE_TEXT_BYTES as u64;
        let footer = self.inner.read_at(at, FOOTER_BYTES, ReadOptions::default());
        let footer = footer.await?.coalesce();
        let slots = footer.as_ref().chunks_exact(FOOTER_BYTES / 2);
        let lengths = slots.filter_map(|slot| slot.first_chunk::<2>());
        let last = lengths.map(|len| u16::from_be_bytes(*len)).max();
        let flushed = full * PAGE_TEXT_BYTES as u64 + u64::from(last.unwrap_or(0));
        notes.note(*view, flushed).await
    }
}

impl<B: Blob> Blob for NotedBlob<B> {
    fn read_at_buf(
        &self,
        offset: u64,
        len: usize,
        bufs: impl Into<IoBufsMut> + Send,
        options: ReadOptions,
    ) -> impl Future<Output = Result<IoBufsMut, Error>> + Send {
        self.inner.read_at_buf(offset, len, bufs, options)
    }

    fn read_at(
        &self,
        offset: u64,
        len: usize,
        options: ReadOptions,
    ) -> impl Future<Output = Result<IoBufsMut, Error>> + Send {
        self.inner.read_at(offset, len, options)
    }

    async fn write_at(
        &self,
        offset: u64,
        bufs: impl Into<IoBufs> + Send,
        options: WriteOptions,
    ) -> Result<(), Error> {
        let bufs: IoBufs = bufs.into();
        let end = offset.saturating_add(bufs.remaining() as u64);
        self.inner.write_at(offset, bufs, options).await?;
        self.size.fetch_max(end, Ordering::Relaxed);
        if options.contains(WriteOptions::SYNC) {
            self.note().await?;
        }
        Ok(())
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        self.inner.resize(len).await?;
        self.size.store(len, Ordering::Relaxed);
        Ok(())
    }

    async fn sync(&self) -> Result<(), Error> {
        self.inner.sync().await?;
        self.note().await
    }

    /// The voter waits for its flushes, so it starts none that it does not wait for.
    fn start_sync(&self) -> impl Future<Output = Handle<()>> + Send {
        self.inner.start_sync()
    }
}

#[cfg(test)]
#[path = "votes_tests.rs"]
mod tests;
