//! What is built or fetched once per machine: one folder each, whole or absent, shared by all
//! checkouts.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Unfinished folders begin with this; whoever holds the lock may delete them.
const PARTIAL: &str = ".partial-";

/// A folder of finished folders: compilers by their stamps, packages by name and version.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// `$XDG_CACHE_HOME` or `~/.cache`, below it `hypermesh/KIND`.
    pub(crate) fn open(kind: &str) -> Result<Self, Failure> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .ok_or_else(|| Failure::new("no home folder for the cache; set XDG_CACHE_HOME"))?;
        Self::at(base.join("hypermesh").join(kind))
    }

    fn at(folder: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&folder).map_err(|error| Failure::file("create", &folder, &error))?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the compiler of `stamp` lies if it was built: the folder exists only when finished.
    pub(crate) fn prefix(&self, stamp: &str) -> PathBuf {
        self.folder.join(stamp)
    }

    /// Waits until no other xtask builds here.
    pub(crate) fn lock(&self) -> Result<Held<'_>, Failure> {
        let path = self.folder.join("lock");
        let file = File::create(&path).map_err(|error| Failure::file("create", &path, &error))?;
        if let Err(error) = file.try_lock() {
            if let TryLockError::WouldBlock = error {
                println!(
                    "xtask: waiting for another xtask that holds {}",
                    path.display()
                );
            }
            file.lock()
                .map_err(|error| Failure::file("lock", &path, &error))?;
        }
        Ok(Held {
            cache: self,
            _file: file,
        })
    }
}

/// The right to build in the cache, until dropped. The system releases it if the process dies.
pub(crate) struct Held<'a> {
    cache: &'a Cache,
    _file: File,
}

impl Held<'_> {
    /// An empty folder to build in. What interrupted runs left behind goes first.
    pub(crate) fn partial(&self) -> Result<Partial, Failure> {
        let folder = &self.cache.folder;
        let entries =
            fs::read_dir(folder).map_err(|error| Failure::file("list", folder, &error))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                let path = entry.path();
                fs::remove_dir_all(&path)
                    .map_err(|error| Failure::file("delete", &path, &error))?;
            }
        }
        let path = folder.join(format!("{PARTIAL}{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| Failure::file("create", &path, &error))?;
        Ok(Partial(path))
    }
}

/// A folder that disappears unless it is kept.
pub(crate) struct Partial(PathBuf);

impl Partial {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Gives the finished folder its name, in one step.
    pub(crate) fn keep_as(self, name: &Path) -> Result<(), Failure> {
        fs::rename(&self.0, name).map_err(|error| Failure::file("rename to", name, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `keep_as` there is nothing here; otherwise the next `partial` tries again.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_appears_only_when_kept() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("guests")).unwrap();
        let held = cache.lock().unwrap();
        let partial = held.partial().unwrap();
        fs::write(partial.path().join("rustc"), "").unwrap();
        assert!(!cache.prefix("abc").exists());
        partial.keep_as(&cache.prefix("abc")).unwrap();
        assert!(cache.prefix("abc").join("rustc").exists());
    }

    #[test]
    fn interrupted_build_is_deleted_by_the_next_one() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("guests")).unwrap();
        let left = cache.folder.join(format!("{PARTIAL}1"));
        fs::create_dir(&left).unwrap();
        fs::create_dir(cache.prefix("kept")).unwrap();
        let held = cache.lock().unwrap();
        drop(held.partial().unwrap());
        assert!(!left.exists());
        let names: Vec<_> = fs::read_dir(&cache.folder).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "the kept prefix and the lock: {names:?}");
    }

    #[test]
    fn second_holder_waits_for_the_first() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("guests")).unwrap();
        let held = cache.lock().unwrap();
        let other = File::create(cache.folder.join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }
}
