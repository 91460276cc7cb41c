//! A bounded cache of files that are cheap to lose: written whole or not at all, the least recently
//! used removed first. Knows neither what the files mean nor whether they can be trusted.
//!
//! Layout: `<folder>/<name>` for entries, `<folder>/writing-<n>` for unfinished ones, which
//! [`FileCache::open`] clears away. A file's time of modification is when it was last used.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::artifact_errors::{StorageError, failed};

const UNFINISHED_PREFIX: &str = "writing-";

/// Longest name of an entry: two digests in hex and what stands between them.
const NAME_BYTES_MAX: usize = 160;

/// Files that can be had again for some work. Clones are the same cache.
#[derive(Debug, Clone)]
pub struct FileCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    bytes_max: u64,
    /// Held while files change, so that the sums stay right.
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_name: HashMap<String, Entry>,
    bytes: u64,
    writes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used_at: SystemTime,
}

impl FileCache {
    /// Opens the cache in `folder`, which becomes its owner's alone (mode 0700), clears unfinished
    /// files away and removes what exceeds `bytes_max`.
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be made, listed or written.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, StorageError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).map_err(failed("create", folder))?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder, private).map_err(failed("restrict", folder))?;
        let mut entries = Entries::default();
        for found in fs::read_dir(folder).map_err(failed("list", folder))? {
            let path = found.map_err(failed("list", folder))?.path();
            let metadata = fs::symlink_metadata(&path).map_err(failed("inspect", &path))?;
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| is_name(name) && metadata.is_file()) else {
                // Unfinished, or not ours: nothing here is the only copy of anything.
                if !metadata.is_dir() {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
                continue;
            };
            let used_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.note(name, metadata.len(), used_at);
        }
        let cache = Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                bytes_max,
                entries: Mutex::new(entries),
            }),
        };
        cache.evict(&mut cache.entries(), 0)?;
        Ok(cache)
    }

    /// Where an entry is, whether or not it is there.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.inner.folder.join(name)
    }

    /// Bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries().bytes
    }

    /// The content of an entry, as it is on the disk now; none if there is none.
    ///
    /// # Errors
    /// [`StorageError`] if it is there and cannot be read.
    pub fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        if !self.entries().by_name.contains_key(name) {
            return Ok(None);
        }
        let path = self.path(name);
        let mut file = match File::options().read(true).append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.entries().forget(name);
                return Ok(None);
            }
            other => other.map_err(failed("open", &path))?,
        };
        let mut content = Vec::new();
        // Whoever made the file larger than all entries together may be is not to fill the memory.
        let length = file.metadata().map_err(failed("inspect", &path))?.len();
        content
            .reserve_exact(usize::try_from(length.min(self.inner.bytes_max)).unwrap_or_default());
        let mut limited = (&mut file).take(self.inner.bytes_max);
        limited
            .read_to_end(&mut content)
            .map_err(failed("read", &path))?;
        let now = SystemTime::now();
        // Failing that, it is evicted earlier than it should be.
        let _ = file.set_modified(now);
        if let Some(entry) = self.entries().by_name.get_mut(name) {
            entry.used_at = now;
        }
        Ok(Some(content))
    }

    /// Stores the `parts`, one after the other, under `name`, durable when this returns, in the
    /// place of what was there. What is larger than the whole cache is not kept.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses; what was there before stays then.
    ///
    /// # Panics
    /// If `name` is no file name of this cache: letters, digits and `-`, not `writing-`, at most
    /// 160 of them.
    pub fn store(&self, name: &str, parts: &[&[u8]]) -> Result<(), StorageError> {
        assert!(is_name(name), "`{name}` cannot name an entry");
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if bytes > self.inner.bytes_max {
            return Ok(());
        }
        let unfinished = {
            let mut entries = self.entries();
            entries.writes += 1;
            self.path(&format!("{UNFINISHED_PREFIX}{}", entries.writes))
        };
        let written = write(&unfinished, parts).and_then(|()| {
            let mut entries = self.entries();
            entries.forget(name);
            self.evict(&mut entries, bytes)?;
            let path = self.path(name);
            fs::rename(&unfinished, &path).map_err(failed("rename", &unfinished))?;
            entries.note(name, bytes, SystemTime::now());
            let folder = &self.inner.folder;
            let directory = File::open(folder).map_err(failed("open", folder))?;
            directory.sync_all().map_err(failed("flush", folder))
        });
        if written.is_err() {
            // What cannot be removed now is removed by the next `open`.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Removes an entry, if it is there.
    ///
    /// # Errors
    /// [`StorageError`] if it is there and stays.
    pub fn remove(&self, name: &str) -> Result<(), StorageError> {
        let mut entries = self.entries();
        self.delete(&mut entries, name)
    }

    /// Removes the least recently used until `more` bytes fit beside the rest.
    fn evict(&self, entries: &mut Entries, more: u64) -> Result<(), StorageError> {
        while entries.bytes.saturating_add(more) > self.inner.bytes_max {
            let oldest = entries
                .by_name
                .iter()
                .min_by_key(|(_, entry)| entry.used_at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return Ok(());
            };
            self.delete(entries, &name)?;
        }
        Ok(())
    }

    fn delete(&self, entries: &mut Entries, name: &str) -> Result<(), StorageError> {
        if !entries.by_name.contains_key(name) {
            return Ok(());
        }
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        entries.forget(name);
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.inner
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn note(&mut self, name: &str, bytes: u64, used_at: SystemTime) {
        self.forget(name);
        self.bytes += bytes;
        self.by_name
            .insert(name.to_owned(), Entry { bytes, used_at });
    }

    fn forget(&mut self, name: &str) {
        if let Some(entry) = self.by_name.remove(name) {
            self.bytes -= entry.bytes;
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(UNFINISHED_PREFIX)
}

fn write(path: &Path, parts: &[&[u8]]) -> Result<(), StorageError> {
    let mut options = File::options();
    // One of the same number may have stayed; whatever it is, it is not written through.
    let _ = fs::remove_file(path);
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(failed("create", path))?;
    for part in parts {
        file.write_all(part).map_err(failed("write", path))?;
    }
    file.sync_all().map_err(failed("flush", path))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Makes an entry look as if it had been used `seconds` ago.
    fn age(path: &Path, seconds: u64) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn what_is_stored_is_loaded_also_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FileCache::open(folder.path(), 100).unwrap();
        cache.store("a", &[b"con", b"tent"]).unwrap();
        assert_eq!(cache.load("a").unwrap().unwrap(), b"content");
        assert_eq!(cache.load("b").unwrap(), None);
        cache.store("a", &[b"new"]).unwrap();
        let again = FileCache::open(folder.path(), 100).unwrap();
        assert_eq!(again.load("a").unwrap().unwrap(), b"new");
        assert_eq!((again.bytes(), cache.bytes()), (3, 3));
        again.remove("a").unwrap();
        assert_eq!((again.load("a").unwrap(), again.bytes()), (None, 0));
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_bound_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let cache = FileCache::open(folder.path(), 10).unwrap();
        for name in ["a", "b"] {
            cache.store(name, &[b"1234"]).unwrap();
        }
        age(&path("a"), 10);
        age(&path("b"), 20);
        let cache = FileCache::open(folder.path(), 10).unwrap();
        cache.store("c", &[b"1234"]).unwrap();
        assert_eq!(names(folder.path()), ["a", "c"]);
        cache.load("a").unwrap();
        cache.store("d", &[b"1234"]).unwrap();
        assert_eq!(names(folder.path()), ["a", "d"], "a use makes it young");
        cache.store("e", &[b"12345678901"]).unwrap();
        assert_eq!(names(folder.path()), ["a", "d"], "larger than everything");
        age(&path("a"), 10);
        let smaller = FileCache::open(folder.path(), 5).unwrap();
        assert_eq!(
            (names(folder.path()), smaller.bytes()),
            (vec!["d".to_owned()], 4)
        );
    }

    #[test]
    fn a_kill_before_the_rename_leaves_what_the_next_start_sweeps() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FileCache::open(folder.path(), 100).unwrap();
        cache.store("a", &[b"old"]).unwrap();
        // As far as a killed process comes.
        write(&cache.path("writing-7"), &[b"ne"]).unwrap();
        let again = FileCache::open(folder.path(), 100).unwrap();
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(again.load("a").unwrap().unwrap(), b"old");
    }

    #[test]
    fn a_file_that_went_or_grew_behind_its_back_is_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FileCache::open(folder.path(), 100).unwrap();
        cache.store("a", &[b"content"]).unwrap();
        fs::write(cache.path("a"), vec![0; 1_000]).unwrap();
        assert_eq!(cache.load("a").unwrap().unwrap().len(), 100);
        fs::remove_file(cache.path("a")).unwrap();
        assert_eq!((cache.load("a").unwrap(), cache.bytes()), (None, 0));
    }
}
