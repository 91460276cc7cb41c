//! The directory of a volume: which file has which name, kept in blocks of file 0. Pure; reading and
//! writing those blocks is done in `files`.
//!
//! A block is a *bucket*: a length (4 bytes, little endian), postcard of an enum whose outermost variant
//! is the version, zeros. A name is in one bucket. Whatever happens to a file is the write of one bucket
//! (a block is written wholly or not), so it is done or not. Buckets are used from the first on without a
//! gap, so the first block that was never written is behind the last one.
//!
//! Each bucket has the *serial* of its last change; the highest one of all only grows, and a new file's
//! number is the serial under which it is made, so no number comes twice.
//!
//! A file that takes the name of another moves between buckets in three writes: its entry says where it
//! goes; the other's entry gets its number; its entry goes. The second one is when it happens: an entry
//! that says where it goes is void as soon as the name there has its number.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::layout::BLOCK_BYTES;
use super::path::FilePath;

/// The file that keeps the directory.
pub const DIRECTORY_FILE: u64 = 0;
/// The file that a volume is that is used without a directory.
pub const BLOCKS_FILE: u64 = 1;
/// Numbers of files with names are above this.
pub(super) const RESERVED_FILES: u64 = 16;
/// Most bytes of a bucket that gets another name: what a change of one file writes at most, nearly.
const BUCKET_BYTES: usize = 8 << 10;
/// Most buckets: a directory is held in memory, 8 MiB of names at most.
pub const BUCKETS_MAX: usize = 1_024;
/// Longest file.
pub const LENGTH_MAX: u64 = 1 << 50;
/// The length that comes first.
const PREFIX: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
enum Versioned {
    V1(Bucket),
}

/// Some files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Of its last change.
    pub serial: u64,
    /// Ascending by their names.
    pub entries: Vec<Entry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub path: FilePath,
    /// Its number in the volume.
    pub file: u64,
    /// Its bytes.
    pub length: u64,
    /// From its end to here there may be anything: zeros must be written before it grows over it.
    pub stale_until: u64,
    /// It takes this name if the file of that name has its number, and is no more under this one.
    pub moves_to: Option<FilePath>,
}

/// A block that is no bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block is no part of a directory in its one form")]
pub struct DecodeBucketError;

/// No room for another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirectoryFull;

impl Bucket {
    /// The block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let block = postcard::to_extend(&Versioned::V1(self.clone()), vec![0; PREFIX]);
        // Only a serializer of one's own could refuse.
        let mut block = block.unwrap_or_default();
        let bytes = u32::try_from(block.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
        for (place, byte) in block.iter_mut().zip(bytes.to_le_bytes()) {
            *place = byte;
        }
        block
    }

    /// The bucket of a block; none if that was never written.
    ///
    /// # Errors
    /// [`DecodeBucketError`].
    pub fn decode(block: &[u8]) -> Result<Option<Self>, DecodeBucketError> {
        let Some((prefix, rest)) = block.split_first_chunk::<PREFIX>() else {
            let empty = block.iter().all(|byte| *byte == 0);
            return if empty {
                Ok(None)
            } else {
                Err(DecodeBucketError)
            };
        };
        let bytes = usize::try_from(u32::from_le_bytes(*prefix)).map_err(|_| DecodeBucketError)?;
        let (body, zeros) = rest.split_at_checked(bytes).ok_or(DecodeBucketError)?;
        if block.len() > BLOCK_BYTES || zeros.iter().any(|byte| *byte != 0) {
            return Err(DecodeBucketError);
        }
        if body.is_empty() {
            return Ok(None);
        }
        let read = postcard::from_bytes(body).map_err(|_| DecodeBucketError)?;
        let Versioned::V1(bucket) = read;
        // Numbers and lengths have longer forms, and bytes may follow.
        let encoded = bucket.encode();
        let is_canonical = encoded.get(PREFIX..) == Some(body);
        if is_canonical && bucket.is_valid() {
            Ok(Some(bucket))
        } else {
            Err(DecodeBucketError)
        }
    }

    fn is_valid(&self) -> bool {
        let paths = self.entries.iter().map(|entry| &entry.path);
        let good = |entry: &Entry| {
            let numbers = RESERVED_FILES < entry.file && entry.file <= self.serial;
            numbers && entry.length <= LENGTH_MAX && entry.stale_until <= LENGTH_MAX
        };
        paths.is_sorted_by(|one, other| one < other) && self.entries.iter().all(good)
    }

    fn find(&self, path: &FilePath) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.path.cmp(path))
    }

    pub(super) fn get(&self, path: &FilePath) -> Option<&Entry> {
        self.entries.get(self.find(path).ok()?)
    }

    pub(super) fn set(&mut self, entry: Entry) {
        match self.find(&entry.path) {
            Ok(at) => {
                if let Some(place) = self.entries.get_mut(at) {
                    *place = entry;
                }
            }
            Err(at) => self.entries.insert(at, entry),
        }
    }

    pub(super) fn unset(&mut self, path: &FilePath) {
        if let Ok(at) = self.find(path) {
            self.entries.remove(at);
        }
    }
}

/// All buckets, as they were read and changed since.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    buckets: Vec<Bucket>,
    /// How long each is as a block.
    bytes: Vec<usize>,
    /// In which bucket a name is.
    names: BTreeMap<FilePath, usize>,
    /// Those that say where they go.
    moving: BTreeSet<FilePath>,
    serial: u64,
}

impl Directory {
    pub(super) fn new(buckets: Vec<Bucket>) -> Self {
        let mut directory = Self {
            serial: RESERVED_FILES,
            ..Self::default()
        };
        for (index, bucket) in buckets.into_iter().enumerate() {
            directory.take(index, bucket);
        }
        directory
    }

    /// The serial of the next change, and the number of a file that it makes.
    pub(super) const fn next_serial(&self) -> u64 {
        self.serial + 1
    }

    /// Of each bucket, its last change.
    pub(super) fn serials(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(|bucket| bucket.serial)
    }

    /// The file that has this name, and its bucket.
    pub(super) fn get(&self, path: &FilePath) -> Option<(usize, &Entry)> {
        let (index, entry) = self.named(path)?;
        (!self.is_void(entry)).then_some((index, entry))
    }

    fn named(&self, path: &FilePath) -> Option<(usize, &Entry)> {
        let index = *self.names.get(path)?;
        Some((index, self.buckets.get(index)?.get(path)?))
    }

    /// Whether it has moved.
    fn is_void(&self, entry: &Entry) -> bool {
        let there = entry.moves_to.as_ref().and_then(|path| self.named(path));
        there.is_some_and(|(_, there)| there.file == entry.file)
    }

    /// Entries that a move left behind.
    pub(super) fn void(&self) -> Vec<(usize, FilePath)> {
        let void = |path: &FilePath| {
            let (index, entry) = self.named(path)?;
            self.is_void(entry).then(|| (index, path.clone()))
        };
        self.moving.iter().filter_map(void).collect()
    }

    /// Files from behind `after` on, those in a folder if one is given.
    pub(super) fn list(
        &self,
        folder: Option<&FilePath>,
        after: Option<&FilePath>,
    ) -> impl Iterator<Item = &Entry> {
        let within = move |path: &FilePath| folder.is_none_or(|folder| path.is_in(folder));
        let later = move |path: &FilePath| after.is_none_or(|after| path > after);
        // Between a folder and what is in it there may be others, behind what is in it none.
        let may_come = move |path: &FilePath| {
            folder.is_none_or(|folder| path.as_str().starts_with(folder.as_str()))
        };
        let from = after.max(folder);
        let names = self.names.range::<FilePath, _>((
            from.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
            std::ops::Bound::Unbounded,
        ));
        let names = names.take_while(move |(path, _)| may_come(path));
        let named = names.filter(move |(path, _)| within(path) && later(path));
        named.filter_map(|(path, _)| self.get(path).map(|(_, entry)| entry))
    }

    /// Whether a file other than `but` is in the way of this name: one that would be its folder, or is
    /// in it.
    pub(super) fn blocks(&self, path: &FilePath, but: Option<&FilePath>) -> bool {
        let is_file = |folder: FilePath| Some(&folder) != but && self.get(&folder).is_some();
        let mut within = self.list(Some(path), None);
        path.folders().any(is_file) || within.any(|entry| Some(&entry.path) != but)
    }

    /// The numbers of all files.
    pub(super) fn files(&self) -> BTreeSet<u64> {
        let entries = self.buckets.iter().flat_map(|bucket| &bucket.entries);
        entries.map(|entry| entry.file).collect()
    }

    /// Where a new name goes.
    pub(super) fn place(&self, entry: &Entry) -> Result<usize, DirectoryFull> {
        let more = postcard::to_allocvec(entry).map_or(BUCKET_BYTES, |entry| entry.len());
        let has_room = |bytes: &usize| bytes + more <= BUCKET_BYTES;
        match self.bytes.iter().position(has_room) {
            Some(index) => Ok(index),
            None if self.buckets.len() < BUCKETS_MAX => Ok(self.buckets.len()),
            None => Err(DirectoryFull),
        }
    }

    /// A bucket as it would be after a change.
    pub(super) fn changed(&self, index: usize, change: impl FnOnce(&mut Bucket)) -> Bucket {
        let mut bucket = self.buckets.get(index).cloned().unwrap_or_default();
        change(&mut bucket);
        bucket.serial = self.next_serial();
        bucket
    }

    /// Takes a bucket that was written, in the place of the one that was there or behind the last.
    pub(super) fn take(&mut self, index: usize, bucket: Bucket) {
        let before = self.buckets.get_mut(index).map(std::mem::take);
        for entry in before.into_iter().flat_map(|bucket| bucket.entries) {
            self.moving.remove(&entry.path);
            if self.names.get(&entry.path) == Some(&index) {
                self.names.remove(&entry.path);
            }
        }
        for entry in &bucket.entries {
            self.names.insert(entry.path.clone(), index);
            if entry.moves_to.is_some() {
                self.moving.insert(entry.path.clone());
            }
        }
        self.serial = self.serial.max(bucket.serial);
        let bytes = bucket.encode().len();
        match (self.buckets.get_mut(index), self.bytes.get_mut(index)) {
            (Some(place), Some(length)) => (*place, *length) = (bucket, bytes),
            _ => {
                self.buckets.push(bucket);
                self.bytes.push(bytes);
            }
        }
    }
}

/// Whether a bucket fits its block: it may grow a little over what makes it full.
pub(super) fn fits(block: &[u8]) -> bool {
    block.len() <= BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, file: u64) -> Entry {
        Entry {
            path: path.parse().unwrap(),
            file,
            length: 300,
            stale_until: 0,
            moves_to: None,
        }
    }

    #[test]
    fn bytes_are_pinned() {
        let mut bucket = Bucket {
            serial: 20,
            entries: vec![entry("a", 17)],
        };
        let plain = [10, 0, 0, 0, 0, 20, 1, 1, b'a', 17, 0xac, 2, 0, 0];
        assert_eq!(bucket.encode(), plain);
        bucket.entries[0].moves_to = Some("b/c".parse().unwrap());
        let moving = [
            14, 0, 0, 0, 0, 20, 1, 1, b'a', 17, 0xac, 2, 0, 1, 3, b'b', b'/', b'c',
        ];
        assert_eq!(bucket.encode(), moving);
        let mut block = moving.to_vec();
        block.resize(64, 0);
        assert_eq!(Bucket::decode(&block), Ok(Some(bucket)));
        assert_eq!(Bucket::decode(&[0; 64]), Ok(None));
        assert_eq!(Bucket::decode(&[]), Ok(None));
    }

    #[test]
    fn other_forms_and_what_cannot_be_are_refused() {
        let good = Bucket {
            serial: 20,
            entries: vec![entry("a", 17), entry("b", 18)],
        };
        let bad = |change: fn(&mut Bucket)| {
            let mut bucket = good.clone();
            change(&mut bucket);
            assert_eq!(
                Bucket::decode(&bucket.encode()),
                Err(DecodeBucketError),
                "{bucket:?}"
            );
        };
        bad(|bucket| bucket.entries.swap(0, 1));
        bad(|bucket| bucket.entries[1].path = "a".parse().unwrap());
        bad(|bucket| bucket.entries[0].file = 21);
        bad(|bucket| bucket.entries[0].file = RESERVED_FILES);
        bad(|bucket| bucket.entries[0].length = LENGTH_MAX + 1);
        let mut longer = good.encode();
        longer.push(1);
        for bytes in [&longer[..], &[1], &[1, 0, 0, 0, 1], &[9, 0, 0, 0, 0]] {
            assert_eq!(Bucket::decode(bytes), Err(DecodeBucketError), "{bytes:?}");
        }
        assert_eq!(Bucket::decode(&good.encode()), Ok(Some(good)));
    }

    #[test]
    fn an_entry_that_moved_is_void_and_one_that_only_meant_to_is_not() {
        let mut from = entry("a", 17);
        from.moves_to = Some("b".parse().unwrap());
        let bucket = |entries| Bucket {
            serial: 20,
            entries,
        };
        let path = |text: &str| text.parse::<FilePath>().unwrap();
        let before = Directory::new(vec![
            bucket(vec![from.clone()]),
            bucket(vec![entry("b", 18)]),
        ]);
        assert_eq!(before.get(&path("a")).unwrap().1.file, 17);
        assert_eq!(before.get(&path("b")).unwrap().1.file, 18);
        let after = Directory::new(vec![bucket(vec![from]), bucket(vec![entry("b", 17)])]);
        assert_eq!(after.get(&path("a")), None);
        assert_eq!(after.void(), [(0, path("a"))]);
        assert_eq!(after.list(None, None).count(), 1);
    }
}
