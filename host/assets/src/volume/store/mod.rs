//! A member's store: pieces in one file, which never takes more than was leased and
//! [`OVERHEAD_BYTES`]. Knows no lease but its name, no term and no capability.
//!
//! ```text
//! two heads, a page each | records, each in whole units of 512 bytes, at least eight
//! ```
//!
//! *Durable.* A record is written content first. A flush makes all records durable, then a head that
//! says up to which one they are. Opening takes all records up to there; the tags of the last of each
//! block must add up to what the head says, or the store is damaged, and not served. Those after it were not flushed; they
//! count up to the first that is missing or torn. So what is left is always what was asked up to some
//! moment, not before the last flush.
//!
//! *Why no database.* What is kept are values of one size, a little more than a power of two, and the
//! file must not be larger than what was leased. The tables of `storage` would round each of them up
//! to the next power of two, and grow by their own rules.

mod disk;
#[doc(hidden)]
pub mod fuzz;
mod head;
mod heads;
mod pieces;
mod record;
mod room;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use types::LeaseId;

pub use self::pieces::stored_bytes;

use self::disk::{Disk, open_file};
use self::head::{Head, PAGE_BYTES, encode_head};
pub(crate) use self::heads::made_ms;
use self::heads::{first_head, newest_head};
use self::pieces::{Pieces, Place, Purpose, RECORD_UNITS_MIN, UNIT_BYTES, units_of};
use self::record::{HEADER_BYTES, Record, What, decode_record, encode_record, hash_of};
use self::room::Extent;
use crate::volume::{
    BlockKey, KEYS_MAX, LISTED_MAX, MemberDone, MemberError, MemberOp, PIECE_BYTES_MAX, Version,
};

/// Both places for a head.
const HEADS_BYTES: u64 = 2 * PAGE_BYTES as u64;
/// What a store's file may take beside what was leased: its heads, and a record that says that a file
/// was removed, so that there is always room for that.
pub const OVERHEAD_BYTES: u64 = HEADS_BYTES + RECORD_UNITS_MIN * UNIT_BYTES;
/// Most pieces of one store: some 100 MB of memory. A larger lease is for larger pieces.
pub const PIECES_MAX: usize = 1 << 20;
/// Flushes after which whatever is dying has gone.
const SETTLING_FLUSHES: usize = 3;
/// What is read at once to find records.
const SCAN_BYTES: usize = 1 << 20;

/// A store that was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenStoreError {
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
    /// What is there is not what was flushed.
    #[error("the store is damaged, and not served: {0}")]
    Damaged(&'static str),
    /// No randomness.
    #[error("the system gave no randomness")]
    Entropy,
}

/// The pieces of one lease, on one disk.
#[derive(Debug)]
pub(crate) struct Store {
    disk: Box<dyn Disk>,
    bytes: u64,
    head: Head,
    pieces: Pieces,
    /// The sequence of the last record.
    last: u64,
    /// Why nothing is written any more: what is on the disk may not be what is known here.
    broken: Option<String>,
}

impl Store {
    /// Opens the store in `folder`, making it if there is none.
    pub(crate) fn at(
        folder: &Path,
        lease: LeaseId,
        bytes: u64,
        made_ms: u64,
    ) -> Result<Self, OpenStoreError> {
        let first = first_head(lease, made_ms)?;
        let file = open_file(folder, Some(&first))?;
        Self::open(Box::new(file), lease, bytes)
    }

    /// Opens the store on `disk`.
    pub(crate) fn open(
        disk: Box<dyn Disk>,
        lease: LeaseId,
        bytes: u64,
    ) -> Result<Self, OpenStoreError> {
        let (head, spoilt) = newest_head(disk.as_ref())?;
        let head = head.ok_or(OpenStoreError::Damaged("it has no whole head"))?;
        if head.lease != lease {
            return Err(OpenStoreError::Damaged("it is of another lease"));
        }
        let units = u32::try_from(bytes / UNIT_BYTES + RECORD_UNITS_MIN).unwrap_or(u32::MAX);
        let mut store = Self {
            disk,
            bytes,
            pieces: Pieces::new(units, head.secret),
            last: head.flushed,
            head,
            broken: None,
        };
        let mut found = store.scan()?;
        found.sort_by_key(|(record, _)| record.sequence);
        store.take_found(found, spoilt)?;
        // Sequences of records that do not count are given again: nothing may be left of them.
        while !store.pieces.is_settled() {
            store.settle()?;
        }
        if store.last > store.head.flushed {
            store.settle()?;
        }
        Ok(store)
    }

    /// All records, in the order of their places.
    fn scan(&mut self) -> Result<Vec<(Record, Extent)>, OpenStoreError> {
        let bytes = self.disk.bytes()?.saturating_sub(HEADS_BYTES);
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let mut found = Vec::new();
        let (mut at, mut begin, mut window) = (0_u32, 0_u32, Vec::new());
        while at < units {
            let ahead = u64::from(at - begin) * UNIT_BYTES;
            let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
            let header = window.get(ahead..).and_then(<[u8]>::first_chunk);
            let Some(header) = header else {
                let rest = usize::try_from(u64::from(units - at) * UNIT_BYTES);
                window.resize(rest.unwrap_or(SCAN_BYTES).min(SCAN_BYTES), 0);
                self.disk.read(offset(at), &mut window)?;
                begin = at;
                continue;
            };
            let Some(record) = decode_record(header, u64::from(at), &self.head.secret) else {
                at += 1;
                continue;
            };
            let units = units_of(record.content_bytes());
            let extent = Extent { at, units };
            if !self.pieces.claim(extent) {
                return Err(OpenStoreError::Damaged("a record lies outside"));
            }
            found.push((record, extent));
            at = at.saturating_add(units);
        }
        Ok(found)
    }

    /// Takes records in the order of their sequence: all that are durable, and those after them as
    /// far as none is missing. While a head is written all are durable: beside one that is `spoilt` none
    /// is missing, or more is damaged than that.
    fn take_found(
        &mut self,
        found: Vec<(Record, Extent)>,
        spoilt: bool,
    ) -> Result<(), OpenStoreError> {
        let mut ended = false;
        let mut checked = false;
        let mut before = 0;
        let flushed = self.head.flushed;
        for (record, extent) in found {
            let sequence = record.sequence;
            if sequence == std::mem::replace(&mut before, sequence) {
                return Err(OpenStoreError::Damaged("two records claim to be one"));
            }
            if sequence > flushed && !std::mem::replace(&mut checked, true) {
                self.check_tags()?;
            }
            if sequence > flushed {
                ended |= sequence != self.last + 1 || !self.is_whole(&record, extent)?;
                if ended && spoilt {
                    return Err(OpenStoreError::Damaged("a head is spoilt"));
                }
                if ended {
                    self.pieces.discard(extent);
                    continue;
                }
                self.last = sequence;
            }
            self.take_record(&record, extent);
        }
        if !checked {
            self.check_tags()?;
        }
        Ok(())
    }

    fn check_tags(&self) -> Result<(), OpenStoreError> {
        if self.pieces.tags() == self.head.live {
            return Ok(());
        }
        Err(OpenStoreError::Damaged(
            "records that were flushed are missing or changed",
        ))
    }

    fn is_whole(&self, record: &Record, extent: Extent) -> io::Result<bool> {
        let What::Piece { content, .. } = &record.what else {
            return Ok(true);
        };
        let mut bytes = vec![0; record.content_bytes().min(PIECE_BYTES_MAX)];
        self.disk
            .read(offset(extent.at) + HEADER_BYTES as u64, &mut bytes)?;
        Ok(hash_of(&bytes, &self.head.secret) == *content)
    }

    fn take_record(&mut self, record: &Record, extent: Extent) {
        match record.what {
            What::Piece {
                key,
                version,
                keep,
                bytes,
                ..
            } => {
                let place = Place {
                    version,
                    sequence: record.sequence,
                    at: extent.at,
                    bytes,
                };
                self.pieces.install(key, place, keep);
            }
            What::Removed { file } => self.pieces.remove(file, extent),
        }
    }

    /// What of the leased bytes is taken.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.pieces.used_bytes().min(self.bytes)
    }

    /// Does what a member is asked, but for its usage.
    pub(crate) fn apply(&mut self, operation: MemberOp) -> Result<MemberDone, MemberError> {
        match operation {
            MemberOp::Epoch => Ok(MemberDone::Epoch(self.head.fenced)),
            MemberOp::Fence { epoch } => self.fence(epoch),
            MemberOp::Versions { keys } => {
                check_count(keys.len())?;
                let versions = keys.iter().map(|key| self.pieces.versions(key));
                Ok(MemberDone::Versions(versions.collect()))
            }
            MemberOp::Read { key, version } => self.read(&key, version),
            MemberOp::Write {
                epoch,
                key,
                version,
                keep,
                bytes,
            } => {
                self.check_writer(epoch)?;
                self.write(key, version, keep, &bytes)
            }
            MemberOp::Remove { epoch, file } => {
                self.check_writer(epoch)?;
                self.record(What::Removed { file }, &[])
            }
            MemberOp::List { after } => Ok(MemberDone::Listed(self.pieces.list(after, LISTED_MAX))),
            MemberOp::Flush => {
                self.check_whole()?;
                if self.last > self.head.flushed {
                    self.settle().map_err(disk_failed)?;
                }
                Ok(MemberDone::Done)
            }
            MemberOp::Settle { epoch, pieces } => {
                self.check_writer(epoch)?;
                check_count(pieces.len())?;
                for (key, version) in &pieces {
                    self.pieces.settle(key, *version);
                }
                Ok(MemberDone::Done)
            }
            MemberOp::Usage => Err(MemberError::Invalid("not asked of a store".to_owned())),
        }
    }

    /// Refuses once something was not written.
    pub(crate) fn check_whole(&self) -> Result<(), MemberError> {
        let broken = self.broken.clone();
        broken.map_or(Ok(()), |why| Err(MemberError::Disk(why)))
    }

    fn check_writer(&self, epoch: u64) -> Result<(), MemberError> {
        self.check_whole()?;
        let fenced = self.head.fenced;
        if epoch == fenced {
            return Ok(());
        }
        Err(MemberError::Fenced { fenced })
    }

    fn fence(&mut self, epoch: u64) -> Result<MemberDone, MemberError> {
        self.check_whole()?;
        let fenced = self.head.fenced;
        if epoch <= fenced {
            return Err(MemberError::Fenced { fenced });
        }
        self.head.fenced = epoch;
        self.settle().map_err(disk_failed)?;
        Ok(MemberDone::Done)
    }

    fn read(&self, key: &BlockKey, version: Option<Version>) -> Result<MemberDone, MemberError> {
        let Some(place) = self.pieces.find(key, version) else {
            return Ok(MemberDone::Read(None));
        };
        let bytes = usize::try_from(place.bytes).unwrap_or(0);
        let mut record = vec![0; HEADER_BYTES + bytes];
        self.disk
            .read(offset(place.at), &mut record)
            .map_err(disk_failed)?;
        let content = record.split_off(HEADER_BYTES);
        let header = record.first_chunk();
        let header =
            header.and_then(|header| decode_record(header, place.at.into(), &self.head.secret));
        let whole = header.is_some_and(|header| match header.what {
            What::Piece { content: hash, .. } => {
                header.sequence == place.sequence && hash == hash_of(&content, &self.head.secret)
            }
            What::Removed { .. } => false,
        });
        if whole {
            return Ok(MemberDone::Read(Some((place.version, content))));
        }
        let BlockKey { file, block } = key;
        let text = format!("the piece of block {block} of file {file} is damaged");
        Err(MemberError::Disk(text))
    }

    fn write(
        &mut self,
        key: BlockKey,
        version: Version,
        keep: Option<Version>,
        content: &[u8],
    ) -> Result<MemberDone, MemberError> {
        if content.len() > PIECE_BYTES_MAX {
            let count = content.len();
            let text = format!("a piece of {count} bytes is longer than {PIECE_BYTES_MAX}");
            return Err(MemberError::Invalid(text));
        }
        // Again, or late.
        let greatest = self.pieces.find(&key, None);
        if greatest.is_some_and(|greatest| version <= greatest.version) {
            return Ok(MemberDone::Done);
        }
        if self.pieces.count() >= PIECES_MAX {
            let text = format!("the member keeps {PIECES_MAX} pieces, the most");
            return Err(MemberError::Invalid(text));
        }
        let keep = keep.and_then(|keep| self.pieces.find(&key, Some(keep)));
        let what = What::Piece {
            key,
            version,
            keep: keep.map(|place| place.sequence),
            bytes: u32::try_from(content.len()).unwrap_or(u32::MAX),
            content: hash_of(content, &self.head.secret),
        };
        self.record(what, content)
    }

    /// Writes a record and takes it.
    fn record(&mut self, what: What, content: &[u8]) -> Result<MemberDone, MemberError> {
        let purpose = match what {
            What::Removed { .. } => Purpose::Removal,
            What::Piece { key, .. } if self.pieces.find(&key, None).is_some() => Purpose::Rewriting,
            What::Piece { .. } => Purpose::Block,
        };
        let extent = self.make_room(units_of(content.len()), purpose)?;
        let at = offset(extent.at);
        // A content that is cut off is none: it has no header.
        if let Err(error) = self.disk.write(at + HEADER_BYTES as u64, content) {
            self.pieces.give(extent);
            return Err(disk_failed(error));
        }
        let record = Record {
            sequence: self.last + 1,
            what,
        };
        let header = encode_record(&record, extent.at.into(), &self.head.secret);
        self.guarded(|store| store.disk.write(at, &header))
            .map_err(disk_failed)?;
        self.last += 1;
        self.take_record(&record, extent);
        Ok(MemberDone::Done)
    }

    fn make_room(&mut self, units: u32, purpose: Purpose) -> Result<Extent, MemberError> {
        for _ in 0..=SETTLING_FLUSHES {
            if let Some(extent) = self.pieces.take(units, purpose) {
                return Ok(extent);
            }
            if self.pieces.is_settled() {
                break;
            }
            self.settle().map_err(disk_failed)?;
        }
        let wanted_bytes = u64::from(units) * UNIT_BYTES;
        let bytes = self.bytes;
        Err(MemberError::Full {
            wanted_bytes,
            bytes,
        })
    }

    /// Makes all durable, and brings what is dying one step further.
    fn settle(&mut self) -> io::Result<()> {
        self.guarded(|store| {
            store.disk.flush()?;
            store.head.generation += 1;
            store.head.flushed = store.last;
            store.head.live = store.pieces.tags();
            let at = store.head.generation % 2 * PAGE_BYTES as u64;
            store.disk.write(at, &encode_head(&store.head))?;
            store.disk.flush()?;
            for extent in store.pieces.flushed() {
                store.disk.write(offset(extent.at), &[0; HEADER_BYTES])?;
            }
            Ok(())
        })
    }

    /// After a failure nothing is written until the store is opened again: the system may have
    /// dropped what it could not write.
    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let acted = act(self);
        if let Err(error) = &acted {
            self.broken = Some(error.to_string());
        }
        acted
    }
}

fn check_count(count: usize) -> Result<(), MemberError> {
    if count <= KEYS_MAX {
        return Ok(());
    }
    let text = format!("{count} blocks at once are more than {KEYS_MAX}");
    Err(MemberError::Invalid(text))
}

/// Where a unit is in the file.
fn offset(unit: u32) -> u64 {
    HEADS_BYTES + u64::from(unit) * UNIT_BYTES
}

fn disk_failed(error: impl std::fmt::Display) -> MemberError {
    MemberError::Disk(error.to_string())
}
