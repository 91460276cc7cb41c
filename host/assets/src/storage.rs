//! Room on a disk: what is free, and how fast it is written, flushed and read. Knows a directory,
//! nothing of what is kept there.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise, statvfs};
use types::StorageFacts;

/// Most that is written for a test: enough to leave the caches of a disk's controller, little enough
/// for a slow one to take in seconds.
pub const TEST_BYTES_MAX: u64 = 16 << 20;
/// Of what is free, the test takes one part in so many at most.
const TEST_PART_OF_FREE: u64 = 4;
/// Least that says anything about speed.
const TEST_BYTES_MIN: u64 = 64 << 10;
/// Flushes whose median counts.
const FLUSHES: usize = 5;
/// What is written before each flush: one block.
const FLUSH_BYTES: usize = 4 << 10;

/// The room of the file system that a directory is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What it could hold if it were empty.
    pub total_bytes: u64,
    /// What this process may still write.
    pub free_bytes: u64,
}

/// A disk that was not measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureStorageError {
    /// No room for the test.
    #[error("{} has {free_bytes} bytes free: too little to measure, make room", .path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
    },
    /// The system refused.
    #[error("cannot {action} in {}: {source}", .path.display())]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was read is not what was written.
    #[error("{} gave back other bytes than were written: do not trust this disk", .path.display())]
    Corrupt {
        /// The directory.
        path: PathBuf,
    },
}

/// What the file system of `directory` says of itself.
///
/// # Errors
/// [`MeasureStorageError`] if there is no such directory.
pub fn room(directory: &Path) -> Result<Room, MeasureStorageError> {
    let said =
        statvfs(directory).map_err(|error| failed("ask for room", directory, error.into()))?;
    let unit = said.f_frsize;
    Ok(Room {
        total_bytes: said.f_blocks.saturating_mul(unit),
        free_bytes: said.f_bavail.saturating_mul(unit),
    })
}

/// Asks for free space in `directory` and measures a file there that has no name any more: random
/// bytes, a quarter of what is free and 16 MiB at most, written and flushed, then read after the
/// system was asked to forget them. A file system in memory does not forget.
///
/// # Errors
/// [`MeasureStorageError`] if the disk is full, refuses or gives back other bytes.
pub fn measure_storage(directory: &Path) -> Result<StorageFacts, MeasureStorageError> {
    let Room { free_bytes, .. } = room(directory)?;
    let test_bytes = (free_bytes / TEST_PART_OF_FREE).min(TEST_BYTES_MAX);
    if test_bytes < TEST_BYTES_MIN {
        let path = directory.to_owned();
        return Err(MeasureStorageError::Full { path, free_bytes });
    }
    let written = fresh(test_bytes).map_err(|source| failed("draw", directory, source))?;
    let tested = test(directory, &written);
    let (write, flush, read, same) = tested.map_err(|(action, source)| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MeasureStorageError::Full {
            path: directory.to_owned(),
            free_bytes: room(directory).map_or(0, |room| room.free_bytes),
        },
        _ => failed(action, directory, source),
    })?;
    if !same {
        let path = directory.to_owned();
        return Err(MeasureStorageError::Corrupt { path });
    }
    Ok(StorageFacts {
        bytes: free_bytes,
        write_bytes_per_s: per_second(test_bytes, write),
        read_bytes_per_s: per_second(test_bytes, read),
        flush_us: u64::try_from(flush.as_micros()).unwrap_or(u64::MAX),
    })
}

type Tested = (Duration, Duration, Duration, bool);

/// How long writing, a flush and reading took, and whether the bytes came back.
fn test(directory: &Path, written: &[u8]) -> Result<Tested, (&'static str, io::Error)> {
    let mut file = tempfile::tempfile_in(directory).map_err(|error| ("create a file", error))?;
    let start = Instant::now();
    file.write_all(written).map_err(|error| ("write", error))?;
    file.sync_all().map_err(|error| ("flush", error))?;
    let write = start.elapsed();

    let read = read_back(&mut file, written).map_err(|error| ("read", error))?;

    let mut flushes = Vec::with_capacity(FLUSHES);
    for block in written.chunks(FLUSH_BYTES).take(FLUSHES) {
        let start = Instant::now();
        // Over what is there: an appended block would measure the growth of a file, too.
        file.rewind().map_err(|error| ("seek", error))?;
        file.write_all(block).map_err(|error| ("write", error))?;
        file.sync_data().map_err(|error| ("flush", error))?;
        flushes.push(start.elapsed());
    }
    flushes.sort_unstable();
    let flush = flushes.get(flushes.len() / 2).copied().unwrap_or_default();
    Ok((write, flush, read.0, read.1))
}

fn read_back(file: &mut File, written: &[u8]) -> io::Result<(Duration, bool)> {
    fadvise(&*file, 0, None, Advice::DontNeed)?;
    file.rewind()?;
    let mut again = vec![0; written.len()];
    let start = Instant::now();
    file.read_exact(&mut again)?;
    Ok((start.elapsed(), again == written))
}

/// `count` bytes that nobody has stored before, so that neither compression nor sharing of equal
/// blocks makes a disk look faster than it is.
fn fresh(count: u64) -> io::Result<Vec<u8>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    let count = usize::try_from(count).map_err(io::Error::other)?;
    let mut bytes = vec![0; count];
    blake3::Hasher::new_keyed(&seed)
        .finalize_xof()
        .fill(&mut bytes);
    Ok(bytes)
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> MeasureStorageError {
    let path = path.to_owned();
    MeasureStorageError::Failed {
        action,
        path,
        source,
    }
}
