//! The artifact store: one file per digest, written whole or not at all, checked when read. What is
//! filled slice by slice is in `partial.rs`, what is read so in `artifact_reader.rs`.
//!
//! Layout: `<folder>/<hex digest>` for whole artifacts; beside it `<hex digest>.bao`, its hash pairs
//! (`outboard.rs`), once somebody wanted a slice. `<hex digest>.partial` and `.groups` for partial
//! ones. `<folder>/upload-<n>` for unfinished files, which [`Artifacts::open`] clears away. A file's
//! time of modification is when it was last used.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use types::Digest;

use crate::artifact_errors::{ReadArtifactError, StorageError, StoreArtifactError, failed};
use crate::partial::Filling;
use crate::space::{Part, Space};

/// The artifacts that this node holds. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Artifacts {
    pub(crate) space: Arc<Space>,
    /// The partial artifacts that somebody has open.
    pub(crate) fillings: Arc<Mutex<HashMap<Digest, Weak<Filling>>>>,
    /// Held while hash pairs of a whole artifact are computed.
    pub(crate) building: Arc<Mutex<()>>,
}

/// An artifact that is being written. Dropped before [`Upload::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    space: Arc<Space>,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Room that was taken in advance and is not written yet.
    ahead: u64,
    finished: bool,
}

impl Artifacts {
    /// Opens the store in `folder`, making it if need be, and clears unfinished uploads away. It
    /// grows without bound: see [`Self::open_bounded`].
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be made, listed or written.
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        Self::open_bounded(folder, u64::MAX)
    }

    /// Opens the store in `folder` as [`Self::open`] does. All its files together have at most
    /// `bytes_max` bytes: what is not pinned and not in use goes for what comes, the least recently
    /// used first, and if that is not enough, what comes is refused with
    /// [`QuotaExceededError`](crate::QuotaExceededError).
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be made, listed or written.
    pub fn open_bounded(folder: &Path, bytes_max: u64) -> Result<Self, StorageError> {
        Ok(Self {
            space: Arc::new(Space::open(folder, bytes_max)?),
            fillings: Arc::default(),
            building: Arc::default(),
        })
    }

    /// Says which artifacts are to stay, whole or partial, instead of those that were named before.
    /// Others may go when room is needed.
    pub fn pin(&self, digests: BTreeSet<Digest>) {
        self.space.pin(digests);
    }

    /// Keeps an artifact that is here for `time` from now, or until it is pinned: then it stays as
    /// long as the pins name it, and not a moment longer. For whoever is about to have it pinned.
    pub fn await_pin(&self, digest: &Digest, time: Duration) {
        self.space.await_pin(digest, time);
    }

    /// Bytes that all files of the store may take together.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.space.bytes_max()
    }

    /// Bytes that the files of pinned artifacts take.
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be listed.
    pub fn bytes_pinned(&self) -> Result<u64, StorageError> {
        self.space.bytes_pinned()
    }

    /// Bytes that all files of the store take or were promised.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.space.bytes()
    }

    /// The file of an artifact, whether or not it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.space.path(digest, Part::Whole)
    }

    /// The size of an artifact; none if it is not here.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest))
            .ok()
            .map(|metadata| metadata.len())
    }

    /// Makes an artifact count as just stored, so that the next [`Self::sweep`] spares it: whoever
    /// was told that it is here need not send it again. Absent artifacts stay absent.
    pub fn refresh(&self, digest: &Digest) {
        if let Ok(file) = File::options().append(true).open(self.path(digest)) {
            // Failing that, the artifact may be swept before it is named, which its reader is told.
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Reads an artifact whole and checks it.
    ///
    /// # Errors
    /// [`ReadArtifactError`] if it is absent, damaged or unreadable.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, ReadArtifactError> {
        let _in_use = self.space.hold(digest);
        let path = self.path(digest);
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadArtifactError::Absent(*digest));
            }
            other => other.map_err(failed("read", &path))?,
        };
        if Digest::of(&content) == *digest {
            self.refresh(digest);
            Ok(content)
        } else {
            Err(ReadArtifactError::Damaged {
                digest: *digest,
                path,
            })
        }
    }

    /// Begins to write an artifact.
    ///
    /// # Errors
    /// [`StorageError`] if no file can be made.
    pub fn upload(&self) -> Result<Upload, StorageError> {
        self.upload_sized(0)
    }

    /// As [`Self::upload`], with room for `bytes` from the start: what does not fit is refused
    /// before others have gone for its first half.
    ///
    /// # Errors
    /// [`StorageError`] if no file can be made, or if the quota refuses.
    pub fn upload_sized(&self, bytes: u64) -> Result<Upload, StorageError> {
        self.space.reserve(bytes)?;
        let made = self.begin(bytes);
        if made.is_err() {
            self.space.release(bytes);
        }
        made
    }

    fn begin(&self, ahead: u64) -> Result<Upload, StorageError> {
        let path = self.space.unfinished();
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        Ok(Upload {
            space: Arc::clone(&self.space),
            path,
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            ahead,
            finished: false,
        })
    }

    /// Stores `content`, durable when this returns.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses; nothing is left behind then.
    pub fn store(&self, content: &[u8]) -> Result<Digest, StoreArtifactError> {
        let digest = Digest::of(content);
        if self.size(&digest) != Some(content.len() as u64) {
            let mut upload = self.upload_sized(content.len() as u64)?;
            upload.write(content)?;
            upload.finish(&digest)?;
        }
        Ok(digest)
    }

    /// Removes what is neither in `live` nor pinned nor in use and is older than `age`; says how
    /// many artifacts went.
    ///
    /// The age protects artifacts that were uploaded for a deployment not yet admitted.
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be listed or a file not removed.
    pub fn sweep(&self, live: &BTreeSet<Digest>, age: Duration) -> Result<usize, StorageError> {
        self.space.sweep(live, age)
    }
}

impl Upload {
    /// Appends a piece.
    ///
    /// # Errors
    /// [`StorageError`] if the disk or the quota refuses.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        let bytes = piece.len() as u64;
        let more = bytes.saturating_sub(self.ahead);
        self.space.reserve(more)?;
        self.ahead = self.ahead.saturating_sub(bytes);
        self.bytes += bytes;
        self.hasher.update(piece);
        self.file
            .write_all(piece)
            .map_err(failed("write", &self.path))
    }

    /// Checks the whole and makes it durable under its name.
    ///
    /// # Errors
    /// [`StoreArtifactError::Digest`] if it is not what `expected` names.
    pub fn finish(mut self, expected: &Digest) -> Result<(), StoreArtifactError> {
        let found = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if found != *expected {
            return Err(StoreArtifactError::Digest {
                expected: *expected,
                found,
            });
        }
        self.file.sync_all().map_err(failed("flush", &self.path))?;
        let path = self.space.path(expected, Part::Whole);
        self.space.settle(self.bytes, &path, || {
            fs::rename(&self.path, &path).map_err(failed("rename", &self.path))
        })?;
        self.space.release(self.ahead);
        self.finished = true;
        flush_folder(self.space.folder()).map_err(Into::into)
    }
}

/// Makes the names in `folder` durable.
pub(crate) fn flush_folder(folder: &Path) -> Result<(), StorageError> {
    let directory = File::open(folder).map_err(failed("open", folder))?;
    directory.sync_all().map_err(failed("flush", folder))
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by the next `open`.
            let _ = fs::remove_file(&self.path);
            self.space.release(self.bytes + self.ahead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn an_artifact_is_stored_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Artifacts::open(folder.path()).unwrap();
        let digest = store.store(b"content").unwrap();
        assert_eq!(store.read(&digest).unwrap(), b"content");
        assert_eq!(store.store(b"content").unwrap(), digest);

        let mut upload = store.upload().unwrap();
        upload.write(b"other").unwrap();
        let error = upload.finish(&digest).unwrap_err();
        assert!(matches!(error, StoreArtifactError::Digest { .. }));
        drop(store.upload().unwrap());
        assert_eq!(files(folder.path()), 1);
    }

    #[test]
    fn a_damaged_artifact_is_named_and_never_served() {
        let folder = tempfile::tempdir().unwrap();
        let store = Artifacts::open(folder.path()).unwrap();
        let digest = store.store(b"content").unwrap();
        fs::write(store.path(&digest), b"Content").unwrap();
        assert!(matches!(
            store.read(&digest),
            Err(ReadArtifactError::Damaged { .. })
        ));
        let absent = Digest::of(b"absent");
        assert!(matches!(
            store.read(&absent),
            Err(ReadArtifactError::Absent(_))
        ));
    }

    #[test]
    fn unfinished_uploads_of_a_killed_node_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let store = Artifacts::open(folder.path()).unwrap();
        let upload = store.upload().unwrap();
        std::mem::forget(upload);
        assert_eq!(files(folder.path()), 1);
        Artifacts::open(folder.path()).unwrap();
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn a_sweep_keeps_what_is_live_or_young() {
        let folder = tempfile::tempdir().unwrap();
        let store = Artifacts::open(folder.path()).unwrap();
        let live = store.store(b"live").unwrap();
        let dead = store.store(b"dead").unwrap();
        let keep = BTreeSet::from([live]);
        assert_eq!(store.sweep(&keep, Duration::from_secs(3600)).unwrap(), 0);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(store.sweep(&keep, Duration::ZERO).unwrap(), 1);
        assert!(store.size(&live).is_some() && store.size(&dead).is_none());
        let old = SystemTime::now() - Duration::from_secs(7_200);
        let file = File::options()
            .append(true)
            .open(store.path(&live))
            .unwrap();
        file.set_modified(old).unwrap();
        store.refresh(&live);
        let nothing = BTreeSet::new();
        assert_eq!(
            store.sweep(&nothing, Duration::from_secs(3_600)).unwrap(),
            0
        );
    }
}
