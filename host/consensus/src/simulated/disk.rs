//! A disk that keeps what was flushed, and at a loss of power tears what was not. Never knows what
//! the files hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::dice::Dice;

/// What reaches a disk whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Longest flush in a simulation.
const FLUSH_MS_MAX: u64 = 4;

/// A node's disk. Clones are the same disk; it outlives the node's process.
#[derive(Clone, Debug)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
    /// How often the power was cut before this handle came to be.
    cuts: u64,
}

#[derive(Debug)]
struct Inner {
    partitions: BTreeMap<String, BTreeMap<Vec<u8>, Arc<File>>>,
    dice: Dice,
    /// Every write and flush fails.
    failing: bool,
    /// Flushes are said to be done, and are not.
    lying: bool,
    /// How often the power was cut.
    cuts: u64,
}

impl Disk {
    /// An empty disk, whose delays and losses follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            partitions: BTreeMap::new(),
            dice: Dice::new(seed),
            failing: false,
            lying: false,
            cuts: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            cuts: 0,
        }
    }

    /// A handle that removes files until the power is cut, as those that are open change theirs.
    pub(crate) fn powered(&self) -> Self {
        let cuts = self.lock().cuts;
        Self {
            inner: self.inner.clone(),
            cuts,
        }
    }

    /// From now on every write and flush fails, or none does.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// From now on flushes are only said to be done: what no ledger can survive, and a simulation
    /// must find.
    pub fn lie(&self, lying: bool) {
        self.lock().lying = lying;
    }

    /// Cuts the power: what was flushed stays, and of each other write nothing, its beginning, some
    /// of its sectors or all. Handles of before see the old contents and change nothing any more.
    pub fn cut_power(&self) {
        let mut inner = self.lock();
        inner.cuts += 1;
        let Inner {
            partitions, dice, ..
        } = &mut *inner;
        for file in partitions.values_mut().flat_map(BTreeMap::values_mut) {
            *file = Arc::new(file.after_power_cut(dice));
        }
    }

    /// Bytes in all files.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let inner = self.lock();
        let files = inner.partitions.values().flat_map(BTreeMap::values);
        files.map(|file| file.lock().live.len()).sum()
    }

    pub(crate) fn fails(&self) -> bool {
        self.lock().failing
    }

    pub(crate) fn lies(&self) -> bool {
        self.lock().lying
    }

    pub(crate) fn flush_time(&self) -> Duration {
        Duration::from_millis(self.lock().dice.below(FLUSH_MS_MAX + 1))
    }

    /// The file of that name, created if there is none. That it exists is durable.
    pub(crate) fn open(&self, partition: &str, name: &[u8], version: u16) -> Arc<File> {
        let mut inner = self.lock();
        let files = inner.partitions.entry(partition.to_owned()).or_default();
        let file = files.entry(name.to_vec());
        file.or_insert_with(|| Arc::new(File::new(version))).clone()
    }

    pub(crate) fn exists(&self, partition: &str, name: &[u8]) -> Option<u16> {
        let inner = self.lock();
        let file = inner.partitions.get(partition)?.get(name)?;
        Some(file.version)
    }

    /// Removes a file, or all of a partition; says whether there was one.
    pub(crate) fn remove(&self, partition: &str, name: Option<&[u8]>) -> bool {
        let mut inner = self.lock();
        if inner.cuts != self.cuts {
            // A task of a process that is gone, in its last turn.
            return true;
        }
        match name {
            Some(name) => inner
                .partitions
                .get_mut(partition)
                .is_some_and(|files| files.remove(name).is_some()),
            None => inner.partitions.remove(partition).is_some(),
        }
    }

    /// The names of the files in a partition, if there is one.
    #[must_use]
    pub fn scan(&self, partition: &str) -> Option<Vec<Vec<u8>>> {
        let inner = self.lock();
        Some(inner.partitions.get(partition)?.keys().cloned().collect())
    }

    /// A panic elsewhere leaves the state whole: no statement leaves it half changed.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) version: u16,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// What a reader sees.
    pub(crate) live: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last flush, in order.
    pending: Vec<Change>,
    /// Changes flushed since the file was opened: where `pending` begins.
    flushed: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    /// Durable since it was done, whatever becomes of older changes.
    Through(usize, Vec<u8>),
    Resize(usize),
}

impl File {
    const fn new(version: u16) -> Self {
        Self {
            version,
            contents: Mutex::new(Contents {
                live: Vec::new(),
                durable: Vec::new(),
                pending: Vec::new(),
                flushed: 0,
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let contents = self.lock();
        let mut durable = contents.durable.clone();
        // Most often a disk loses all or nothing of a file; the rest is for the unlucky.
        let luck = dice.below(4);
        for change in &contents.pending {
            match luck {
                // What is durable already was done on top of the changes that are lost.
                0 => break,
                1 => change.apply(&mut durable),
                _ => change.tear(&mut durable, dice),
            }
        }
        let after = Self::new(self.version);
        *after.lock() = Contents {
            live: durable.clone(),
            durable,
            ..Contents::default()
        };
        after
    }
}

impl Contents {
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write(offset, bytes.to_vec()));
    }

    pub(crate) fn resize(&mut self, length: usize) {
        self.change(Change::Resize(length));
    }

    /// Writes so that these bytes, and no others, are durable when it returns.
    pub(crate) fn write_through(&mut self, offset: usize, bytes: &[u8]) {
        let change = Change::Through(offset, bytes.to_vec());
        change.apply(&mut self.live);
        change.apply(&mut self.durable);
        // Older changes that are still open must not undo it at a loss of power or a flush.
        self.pending.push(change);
    }

    /// Everything until now, for [`Contents::flush`].
    pub(crate) const fn mark(&self) -> usize {
        self.flushed + self.pending.len()
    }

    /// Makes durable what was done before `mark`.
    pub(crate) fn flush(&mut self, mark: usize) {
        let count = mark.saturating_sub(self.flushed).min(self.pending.len());
        for change in self.pending.drain(..count) {
            change.apply(&mut self.durable);
        }
        for later in &self.pending {
            if matches!(later, Change::Through(..)) {
                later.apply(&mut self.durable);
            }
        }
        self.flushed += count;
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) | Self::Through(offset, bytes) => {
                put(contents, *offset, bytes);
            }
            Self::Resize(length) => contents.resize(*length, 0),
        }
    }

    /// Applies as much of it as a disk without power may have.
    fn tear(&self, contents: &mut Vec<u8>, dice: &mut Dice) {
        match (self, dice.below(4)) {
            (Self::Through(..), _) => self.apply(contents),
            (_, 0) => {}
            (_, 1) | (Self::Resize(_), _) => self.apply(contents),
            (Self::Write(offset, bytes), 2) => {
                let kept = dice.below(bytes.len() as u64 + 1);
                let kept = usize::try_from(kept).unwrap_or(bytes.len());
                put(contents, *offset, bytes.get(..kept).unwrap_or(bytes));
            }
            (Self::Write(offset, bytes), _) => {
                let mut at = *offset;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    // Sectors begin where the disk's do, not where the write does.
                    let room = SECTOR_BYTES - at % SECTOR_BYTES;
                    let (sector, after) = rest.split_at(room.min(rest.len()));
                    if dice.below(2) == 0 {
                        put(contents, at, sector);
                    }
                    at += sector.len();
                    rest = after;
                }
            }
        }
    }
}

fn put(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    if let Some(place) = contents.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_survives_and_handles_of_before_change_nothing() {
        for seed in 0..64 {
            let disk = Disk::new(seed);
            let file = disk.open("p", b"f", 0);
            file.lock().write(0, &[1; 2000]);
            let mark = file.lock().mark();
            file.lock().write(2000, &[2; 2000]);
            file.lock().flush(mark);
            disk.cut_power();
            file.lock().write(0, &[9; 10]);
            let mark = file.lock().mark();
            file.lock().flush(mark);
            let again = disk.open("p", b"f", 0);
            let contents = again.lock();
            assert_eq!(
                contents.live.get(..2000),
                Some([1; 2000].as_slice()),
                "{seed}"
            );
            assert!(contents.live.len() <= 4000);
            assert_eq!(contents.live, contents.durable);
        }
    }

    #[test]
    fn a_write_through_survives_older_changes_and_flushes() {
        for seed in 0..64 {
            let disk = Disk::new(seed);
            let file = disk.open("p", b"f", 0);
            file.lock().write(0, &[1; 2000]);
            let mark = file.lock().mark();
            file.lock().write_through(500, &[2; 1000]);
            if seed % 2 == 0 {
                file.lock().flush(mark);
            }
            disk.cut_power();
            let again = disk.open("p", b"f", 0);
            let contents = again.lock();
            assert_eq!(
                contents.live.get(500..1500),
                Some([2; 1000].as_slice()),
                "{seed}"
            );
        }
    }

    #[test]
    fn a_write_is_lost_kept_and_torn_by_turns() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let disk = Disk::new(seed);
            let file = disk.open("p", b"f", 0);
            file.lock().write(0, &[1; 4 * SECTOR_BYTES]);
            disk.cut_power();
            let again = disk.open("p", b"f", 0);
            let kept = again.lock().live.iter().filter(|byte| **byte == 1).count();
            seen.insert(match kept {
                0 => "lost",
                kept if kept == 4 * SECTOR_BYTES => "kept",
                _ => "torn",
            });
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
    }
}
