//! The room that artifacts take on the disk: quota, pins, and who goes when more is needed. Knows
//! files by their names only, never what is in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use types::Digest;

use crate::artifact_errors::{QuotaExceededError, StorageError, failed};

const UPLOAD_PREFIX: &str = "upload-";

/// What a file of an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The content, whole.
    Whole,
    /// Which groups of a partial artifact were written.
    Claims,
    /// The content, in part.
    Partial,
    /// The hash pairs.
    Pairs,
}

impl Part {
    /// In the order of removal: what is left after a kill is no artifact any more.
    const ALL: [Self; 4] = [Self::Whole, Self::Claims, Self::Partial, Self::Pairs];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Claims => ".groups",
            Self::Partial => ".partial",
            Self::Pairs => ".bao",
        }
    }

    fn parse(name: &str) -> Option<(Digest, Self)> {
        let (hex, suffix) = name.split_at_checked(2 * Digest::BYTES)?;
        let part = Self::ALL.into_iter().find(|part| part.suffix() == suffix)?;
        Some((format!("blake3:{hex}").parse().ok()?, part))
    }
}

/// A folder of artifacts and its accounts.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    bytes_max: u64,
    unfinished: AtomicU64,
    /// Held while files come and go, so that sums and uses stay right.
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    /// Bytes of the files of artifacts, whole and partial.
    held: u64,
    /// Bytes that unfinished files take or will take.
    reserved: u64,
    pinned: BTreeSet<Digest>,
    /// Stays until then, or until it is pinned: from then on the pins alone decide.
    awaited: HashMap<Digest, Instant>,
    in_use: HashMap<Digest, usize>,
}

/// The files of one artifact.
#[derive(Debug)]
struct Found {
    bytes: u64,
    used_at: SystemTime,
    parts: BTreeSet<Part>,
}

/// Keeps an artifact from going while it is read or filled.
#[derive(Debug)]
pub(crate) struct InUse {
    space: Arc<Space>,
    digest: Digest,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut accounts = self.space.accounts();
        if let Some(count) = accounts.in_use.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                accounts.in_use.remove(&self.digest);
            }
        }
    }
}

impl Space {
    /// Opens `folder`, making it if need be, and clears away what is of no use without what a kill
    /// has left out.
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<Self, StorageError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let space = Self {
            folder: folder.to_owned(),
            bytes_max,
            unfinished: AtomicU64::new(0),
            accounts: Mutex::default(),
        };
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let path = entry.map_err(failed("list", folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UPLOAD_PREFIX) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        for (digest, found) in space.list()? {
            let has = |part| found.parts.contains(&part);
            let whole = has(Part::Whole);
            let partial = !whole && has(Part::Partial) && has(Part::Claims);
            for part in &found.parts {
                let keep = match part {
                    Part::Whole => true,
                    Part::Claims | Part::Partial => partial,
                    Part::Pairs => whole || partial,
                };
                if !keep {
                    remove(&space.path(&digest, *part))?;
                }
            }
        }
        let held = space.list()?.values().map(|found| found.bytes).sum();
        space.accounts().held = held;
        Ok(space)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, digest: &Digest, part: Part) -> PathBuf {
        self.folder.join(digest.hex() + part.suffix())
    }

    /// A name for a file that becomes something under another name, or nothing.
    pub(crate) fn unfinished(&self) -> PathBuf {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{UPLOAD_PREFIX}{number}"))
    }

    /// Bytes that are taken, by whatever.
    pub(crate) fn bytes(&self) -> u64 {
        let accounts = self.accounts();
        accounts.held + accounts.reserved
    }

    pub(crate) fn pin(&self, digests: BTreeSet<Digest>) {
        let mut accounts = self.accounts();
        accounts
            .awaited
            .retain(|digest, _| !digests.contains(digest));
        accounts.pinned = digests;
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes of the files of artifacts that are pinned.
    pub(crate) fn bytes_pinned(&self) -> Result<u64, StorageError> {
        let found = self.list()?;
        let accounts = self.accounts();
        let pinned = found
            .iter()
            .filter(|(digest, _)| accounts.pinned.contains(digest));
        Ok(pinned.map(|(_, found)| found.bytes).sum())
    }

    /// Keeps `digest` for `time` from now, if it is here and not pinned.
    pub(crate) fn await_pin(&self, digest: &Digest, time: Duration) {
        let now = Instant::now();
        let mut accounts = self.accounts();
        accounts.awaited.retain(|_, until| *until > now);
        let here = fs::exists(self.path(digest, Part::Whole)).unwrap_or(false);
        if here && !accounts.pinned.contains(digest) {
            accounts.awaited.insert(*digest, now + time);
        }
    }

    pub(crate) fn hold(self: &Arc<Self>, digest: &Digest) -> InUse {
        *self.accounts().in_use.entry(*digest).or_default() += 1;
        InUse {
            space: Arc::clone(self),
            digest: *digest,
        }
    }

    /// Takes `bytes` for something unfinished, making room if need be.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), StorageError> {
        let mut accounts = self.accounts();
        let fits = |accounts: &Accounts| {
            let taken = accounts.held.saturating_add(accounts.reserved);
            taken.saturating_add(bytes) <= self.bytes_max
        };
        if !fits(&accounts) {
            let idle = self.make_room(&mut accounts, bytes)?;
            if !fits(&accounts) {
                let taken = accounts.held.saturating_add(accounts.reserved);
                let exceeded = QuotaExceededError {
                    bytes_max: self.bytes_max,
                    bytes_held: taken.saturating_sub(idle),
                    bytes_wanted: bytes,
                };
                return Err(StorageError::quota(&self.folder, exceeded));
            }
        }
        accounts.reserved += bytes;
        Ok(())
    }

    /// Gives back what [`Self::reserve`] took.
    pub(crate) fn release(&self, bytes: u64) {
        let mut accounts = self.accounts();
        accounts.reserved = accounts.reserved.saturating_sub(bytes);
    }

    /// Lets `place` put files under their names that were reserved as `bytes`; they count as held
    /// from then on. What they replaced is no longer counted.
    pub(crate) fn settle<T>(
        &self,
        bytes: u64,
        replaced: &Path,
        place: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut accounts = self.accounts();
        let before = fs::metadata(replaced).map_or(0, |metadata| metadata.len());
        let placed = place()?;
        accounts.reserved = accounts.reserved.saturating_sub(bytes);
        accounts.held = accounts.held.saturating_add(bytes).saturating_sub(before);
        Ok(placed)
    }

    /// Removes the files of `digest` among `parts`.
    pub(crate) fn discard(&self, digest: &Digest, parts: &[Part]) -> Result<(), StorageError> {
        let mut accounts = self.accounts();
        for part in parts {
            let path = self.path(digest, *part);
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            remove(&path)?;
            accounts.held = accounts.held.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Removes what `live` does not name, nobody has pinned or uses and that is older than `age`.
    pub(crate) fn sweep(
        &self,
        live: &BTreeSet<Digest>,
        age: Duration,
    ) -> Result<usize, StorageError> {
        let mut accounts = self.accounts();
        let mut found = self.list()?;
        let old = |found: &Found| found.used_at.elapsed().is_ok_and(|elapsed| elapsed > age);
        let gone: Vec<Digest> = found
            .iter()
            .filter(|(digest, found)| !live.contains(digest) && old(found))
            .filter(|(digest, _)| accounts.may_go(digest))
            .map(|(digest, _)| *digest)
            .collect();
        for digest in &gone {
            self.delete(digest)?;
            found.remove(digest);
        }
        accounts.held = found.values().map(|found| found.bytes).sum();
        Ok(gone.len())
    }

    /// Removes the least recently used until `more` bytes fit beside the rest. If they would not
    /// fit without all that may go, nothing goes; says how much that would have been.
    fn make_room(&self, accounts: &mut Accounts, more: u64) -> Result<u64, StorageError> {
        let found = self.list()?;
        accounts.held = found.values().map(|found| found.bytes).sum();
        let taken = accounts.held.saturating_add(accounts.reserved);
        let mut excess = taken.saturating_add(more).saturating_sub(self.bytes_max);
        let mut idle: Vec<_> = found
            .iter()
            .filter(|(digest, _)| accounts.may_go(digest))
            .collect();
        let room: u64 = idle.iter().map(|(_, found)| found.bytes).sum();
        if room < excess {
            return Ok(room);
        }
        idle.sort_by_key(|(_, found)| found.used_at);
        for (digest, found) in idle {
            if excess == 0 {
                break;
            }
            self.delete(digest)?;
            accounts.held = accounts.held.saturating_sub(found.bytes);
            excess = excess.saturating_sub(found.bytes);
        }
        Ok(0)
    }

    fn delete(&self, digest: &Digest) -> Result<(), StorageError> {
        Part::ALL
            .into_iter()
            .try_for_each(|part| remove(&self.path(digest, part)))
    }

    fn list(&self) -> Result<BTreeMap<Digest, Found>, StorageError> {
        let folder = &self.folder;
        let mut artifacts = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let entry = entry.map_err(failed("list", folder))?;
            let name = entry.file_name();
            let Some((digest, part)) = name.to_str().and_then(Part::parse) else {
                continue;
            };
            let metadata = match entry.metadata() {
                // Unfinished files get their names without asking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(failed("inspect", &entry.path()))?,
            };
            let found = artifacts.entry(digest).or_insert(Found {
                bytes: 0,
                used_at: SystemTime::UNIX_EPOCH,
                parts: BTreeSet::new(),
            });
            found.bytes += metadata.len();
            found.parts.insert(part);
            if matches!(part, Part::Whole | Part::Partial) {
                let used_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.used_at = found.used_at.max(used_at);
            }
        }
        Ok(artifacts)
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn may_go(&self, digest: &Digest) -> bool {
        let awaited = self.awaited.get(digest);
        !self.pinned.contains(digest)
            && !self.in_use.contains_key(digest)
            && awaited.is_none_or(|until| *until <= Instant::now())
    }
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}
