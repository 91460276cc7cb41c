//! The artifact store: one file per digest, written whole or not at all, checked when read.
//!
//! Layout: `<folder>/<hex digest>` for finished artifacts, `<folder>/upload-<n>` for unfinished
//! ones, which [`Artifacts::open`] clears away.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use types::Digest;

const UPLOAD_PREFIX: &str = "upload-";

/// The artifacts that this node holds.
#[derive(Debug, Clone)]
pub struct Artifacts {
    folder: Arc<PathBuf>,
    uploads: Arc<AtomicU64>,
}

/// The disk refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct StorageError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// An artifact that was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreArtifactError {
    /// Not what was announced.
    #[error("the content has digest {found}, announced was {expected}: it changed on the way")]
    Digest {
        /// What was announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An artifact that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadArtifactError {
    /// Not here.
    #[error("artifact {0} is not on this node")]
    Absent(Digest),
    /// The file no longer has the content that it is named for.
    #[error("artifact {digest} is damaged on disk: delete {path} and deploy it again")]
    Damaged {
        /// Which one.
        digest: Digest,
        /// Its file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An artifact that is being written. Dropped before [`Upload::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    store: Artifacts,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    finished: bool,
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError {
        action,
        path,
        source,
    }
}

impl Artifacts {
    /// Opens the store in `folder`, making it if need be, and clears unfinished uploads away.
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be made, listed or written.
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let path = entry.map_err(failed("list", folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UPLOAD_PREFIX) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(Self {
            folder: Arc::new(folder.to_owned()),
            uploads: Arc::default(),
        })
    }

    /// The file of an artifact, whether or not it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
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
        let path = self.path(digest);
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadArtifactError::Absent(*digest));
            }
            other => other.map_err(failed("read", &path))?,
        };
        if Digest::of(&content) == *digest {
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
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{UPLOAD_PREFIX}{number}"));
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        let hasher = blake3::Hasher::new();
        Ok(Upload {
            store: self.clone(),
            path,
            file,
            hasher,
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
            let mut upload = self.upload()?;
            upload.write(content)?;
            upload.finish(&digest)?;
        }
        Ok(digest)
    }

    /// Removes what is not in `live` and is older than `age`; says how many went.
    ///
    /// The age protects artifacts that were uploaded for a deployment not yet admitted.
    ///
    /// # Errors
    /// [`StorageError`] if the folder cannot be listed or a file not removed.
    pub fn sweep(&self, live: &BTreeSet<Digest>, age: Duration) -> Result<usize, StorageError> {
        let names: BTreeSet<String> = live.iter().map(Digest::hex).collect();
        let mut removed = 0;
        for entry in fs::read_dir(&*self.folder).map_err(failed("list", &self.folder))? {
            let entry = entry.map_err(failed("list", &self.folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let old = modified
                .ok()
                .and_then(|time| time.elapsed().ok())
                .is_some_and(|t| t > age);
            if old && !names.contains(&name) && !name.starts_with(UPLOAD_PREFIX) {
                fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Upload {
    /// Appends a piece.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StorageError> {
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
        let path = self.store.path(expected);
        fs::rename(&self.path, &path).map_err(failed("rename", &self.path))?;
        self.finished = true;
        let folder = &*self.store.folder;
        let directory = File::open(folder).map_err(failed("open", folder))?;
        directory.sync_all().map_err(failed("flush", folder))?;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by the next `open`.
            let _ = fs::remove_file(&self.path);
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
