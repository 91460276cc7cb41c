//! A directory whose files never take more than a quota. Knows nothing of what is in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

/// What a file costs at least, and the step in which it grows: blocks of common file systems. So a
/// quota bounds the number of files, too.
const BLOCK_BYTES: u64 = 4 << 10;
/// Longest name of a file that Linux takes.
const NAME_BYTES_MAX: usize = 255;

/// Files in one directory, no directories below it.
#[derive(Debug)]
pub struct QuotaDirectory {
    path: PathBuf,
    folder: Dir,
    bytes_max: u64,
    /// What each file costs.
    costs: Mutex<BTreeMap<String, u64>>,
}

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenQuotaError {
    /// The system refused.
    #[error("cannot open the directory {}: {source}", .path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something other than plain files is in it: what that takes would not be counted.
    #[error("{} has `{name}`, which is no plain file: remove it", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What is in it.
        name: String,
    },
}

/// A file that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteQuotaError {
    /// Not the name of a file.
    #[error(
        "`{name}` is not the name of a file: 1 to {NAME_BYTES_MAX} bytes, no `/`, not `.` or `..`"
    )]
    Name {
        /// What it was.
        name: String,
    },
    /// Beyond the quota.
    #[error(
        "{wanted_bytes} bytes more would exceed the quota of {bytes_max}: {held_bytes} are held"
    )]
    QuotaExceeded {
        /// What it would cost beyond what the file costs now.
        wanted_bytes: u64,
        /// What all files cost now.
        held_bytes: u64,
        /// What they may cost.
        bytes_max: u64,
    },
    /// The system refused.
    #[error("cannot write `{name}`: {source}")]
    Unwritable {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl QuotaDirectory {
    /// Opens the directory at `path`, making it if need be, with what it holds.
    ///
    /// # Errors
    /// [`OpenQuotaError`] if the system refuses or something else than plain files is there.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self, OpenQuotaError> {
        let unusable = |source| OpenQuotaError::Unusable {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(path).map_err(unusable)?;
        let folder = Dir::open_ambient_dir(path, ambient_authority()).map_err(unusable)?;
        let mut costs = BTreeMap::new();
        for entry in folder.entries().map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let metadata = entry.metadata().map_err(unusable)?;
            match entry.file_name().into_string() {
                Ok(name) if metadata.is_file() => costs.insert(name, cost(metadata.len())),
                Ok(name) => return Err(foreign(path, name)),
                Err(name) => return Err(foreign(path, name.to_string_lossy().into_owned())),
            };
        }
        Ok(Self {
            path: path.to_owned(),
            folder,
            bytes_max,
            costs: Mutex::new(costs),
        })
    }

    /// Makes a directory at `path`, where none may be.
    ///
    /// # Errors
    /// [`OpenQuotaError`] if there is one or the system refuses.
    pub fn create(path: &Path, bytes_max: u64) -> Result<Self, OpenQuotaError> {
        std::fs::create_dir(path).map_err(|source| OpenQuotaError::Unusable {
            path: path.to_owned(),
            source,
        })?;
        Self::open(path, bytes_max)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What all files cost: their sizes in whole blocks of 4 KiB, one at least.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.costs().values().sum()
    }

    /// Puts `content` into the file `name`, in place of what it had. A power loss in between may
    /// leave a part of it.
    ///
    /// # Errors
    /// [`WriteQuotaError`] if it would exceed the quota, in which case the file is as before, or
    /// cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), WriteQuotaError> {
        let named = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.contains(['/', '\0'])
            && name != "."
            && name != "..";
        if !named {
            let name = name.chars().take(80).collect();
            return Err(WriteQuotaError::Name { name });
        }
        let mut costs = self.costs();
        let held_bytes: u64 = costs.values().sum();
        let before = costs.get(name).copied().unwrap_or(0);
        let after = cost(content.len() as u64);
        if (held_bytes - before).saturating_add(after) > self.bytes_max {
            return Err(WriteQuotaError::QuotaExceeded {
                wanted_bytes: after.saturating_sub(before),
                held_bytes,
                bytes_max: self.bytes_max,
            });
        }
        let written = self.folder.write(name, content);
        // A write that failed may have left a part: what is there counts.
        match &written {
            Ok(()) => costs.insert(name.to_owned(), after),
            Err(_) => match self.folder.symlink_metadata(name) {
                Ok(metadata) => costs.insert(name.to_owned(), cost(metadata.len())),
                Err(_) => costs.remove(name),
            },
        };
        written.map_err(|source| WriteQuotaError::Unwritable {
            name: name.to_owned(),
            source,
        })
    }

    /// What the file `name` holds.
    ///
    /// # Errors
    /// That of the system, also if there is no such file.
    pub fn content(&self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }

    /// Removes the file `name`; what it took is free at once.
    ///
    /// # Errors
    /// That of the system, also if there is no such file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut costs = self.costs();
        self.folder.remove_file(name)?;
        costs.remove(name);
        Ok(())
    }

    fn costs(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.costs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn foreign(path: &Path, name: String) -> OpenQuotaError {
    let path = path.to_owned();
    OpenQuotaError::Foreign { path, name }
}

fn cost(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_blocks_names_and_what_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leased");
        let quota = QuotaDirectory::open(&path, 3 * BLOCK_BYTES).unwrap();
        quota.write("a", b"").unwrap();
        quota.write("b", &[1; 4_097]).unwrap();
        assert_eq!(quota.held_bytes(), 3 * BLOCK_BYTES);
        let refused = quota.write("c", b"").unwrap_err();
        assert!(
            matches!(
                refused,
                WriteQuotaError::QuotaExceeded {
                    wanted_bytes: BLOCK_BYTES,
                    ..
                }
            ),
            "{refused}"
        );
        assert!(!path.join("c").exists());
        // What a file has already is not counted twice, and a smaller one gives back.
        quota.write("b", &[2; 8_000]).unwrap();
        quota.write("b", b"small").unwrap();
        quota.write("c", b"fits now").unwrap();
        assert!(quota.write("b", &[3; 5_000]).is_err());
        assert_eq!(quota.content("b").unwrap(), b"small");
        drop(quota);
        let quota = QuotaDirectory::open(&path, 3 * BLOCK_BYTES).unwrap();
        assert_eq!(quota.held_bytes(), 3 * BLOCK_BYTES);
        assert!(quota.write("d", b"").is_err());
        quota.remove("a").unwrap();
        quota.write("d", b"").unwrap();
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leased");
        let quota = QuotaDirectory::open(&path, 1 << 20).unwrap();
        for name in ["", ".", "..", "../x", "a/b", "/x", "a\0b", &"x".repeat(256)] {
            let refused = quota.write(name, b"content").unwrap_err();
            assert!(matches!(refused, WriteQuotaError::Name { .. }), "{name:?}");
        }
        let outside = folder.path().join("outside");
        std::os::unix::fs::symlink(&outside, path.join("link")).unwrap();
        assert!(quota.write("link", b"content").is_err());
        assert!(!outside.exists());
        assert!(quota.content("../outside").is_err());
        let refused = QuotaDirectory::open(&path, 1 << 20).unwrap_err();
        assert!(matches!(refused, OpenQuotaError::Foreign { .. }));
    }
}
