//! Artifacts read slice by slice, whole ones and those that are being filled: what comes out was
//! checked against the digest on the way, so damage on the disk is never passed on.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use types::Digest;

use crate::artifact_errors::{ReadArtifactError, ReadSliceError, StorageError, failed};
use crate::artifacts::Artifacts;
use crate::groups::{GROUP_BYTES, GroupSet, group_count, groups_covering};
use crate::outboard::{Pairs, is_slice, outboard_bytes, slices_of, verify};
use crate::partial::{Filling, Partial};
use crate::space::{InUse, Part};

/// An artifact that is open for reading. While it is, it does not go.
#[derive(Debug)]
pub struct ArtifactReader {
    digest: Digest,
    bytes: u64,
    source: Source,
    /// A slice that was read to be decoded at once.
    encoded: Vec<u8>,
}

#[derive(Debug)]
enum Source {
    Whole {
        artifacts: Artifacts,
        content: File,
        /// None before it is needed.
        pairs: Option<File>,
        _in_use: InUse,
    },
    Partial(Arc<Filling>),
}

impl Artifacts {
    /// Opens an artifact for reading: whole, or as far as it is here if somebody fills it now.
    ///
    /// # Errors
    /// [`ReadArtifactError::Absent`], or the disk refuses.
    pub fn reader(&self, digest: &Digest) -> Result<ArtifactReader, ReadArtifactError> {
        let in_use = self.space.hold(digest);
        let path = self.path(digest);
        let (bytes, source) = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let filling = self.filling(digest);
                let filling = filling.ok_or(ReadArtifactError::Absent(*digest))?;
                (filling.bytes(), Source::Partial(filling))
            }
            opened => {
                let content = opened.map_err(failed("open", &path))?;
                let metadata = content.metadata().map_err(failed("inspect", &path))?;
                self.refresh(digest);
                let source = Source::Whole {
                    artifacts: self.clone(),
                    content,
                    pairs: None,
                    _in_use: in_use,
                };
                (metadata.len(), source)
            }
        };
        Ok(ArtifactReader {
            digest: *digest,
            bytes,
            source,
            encoded: Vec::new(),
        })
    }
}

impl ArtifactReader {
    /// Size of the whole artifact.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many groups the whole artifact has.
    #[must_use]
    pub const fn groups(&self) -> u64 {
        group_count(self.bytes)
    }

    /// Which of them are here now.
    #[must_use]
    pub fn held(&self) -> GroupSet {
        match &self.source {
            Source::Whole { .. } => GroupSet::from(0..self.groups()),
            Source::Partial(filling) => filling.held(),
        }
    }

    /// Appends the bao slice of `groups` to `encoded`: at most 16 groups, at most
    /// [`SLICE_BYTES_MAX`](crate::SLICE_BYTES_MAX) bytes. The first slice of a whole artifact may
    /// take as long as hashing all of it.
    ///
    /// # Errors
    /// [`ReadSliceError`] if they are not here, not a slice, or damaged.
    pub fn slice(
        &mut self,
        groups: &Range<u64>,
        encoded: &mut Vec<u8>,
    ) -> Result<(), ReadSliceError> {
        let digest = self.digest;
        if !is_slice(groups, self.bytes) {
            return Err(ReadSliceError::Range {
                digest,
                groups: groups.clone(),
                total: self.groups(),
            });
        }
        let start = encoded.len();
        let bytes = self.bytes;
        match &mut self.source {
            Source::Partial(filling) => filling.slice(groups, encoded),
            Source::Whole {
                artifacts,
                content,
                pairs,
                ..
            } => {
                let path = artifacts.path(&digest);
                for attempt in 0..2 {
                    let rebuild = attempt > 0;
                    if bytes > GROUP_BYTES && (pairs.is_none() || rebuild) {
                        *pairs = artifacts.pairs(&digest, bytes, rebuild)?;
                    }
                    let tree = Pairs {
                        digest,
                        bytes,
                        file: pairs.as_ref(),
                    };
                    let intact = tree.encode(content, groups, encoded);
                    if intact.map_err(failed("read", &path))? {
                        return Ok(());
                    }
                    encoded.truncate(start);
                }
                Err(ReadSliceError::Damaged {
                    digest,
                    groups: groups.clone(),
                    path,
                })
            }
        }
    }

    /// Reads the content at `wanted`, in bytes, as far as the artifact goes, and appends it.
    ///
    /// # Errors
    /// As [`Self::slice`]; what came before the slice that failed was appended.
    pub fn read(
        &mut self,
        wanted: &Range<u64>,
        content: &mut Vec<u8>,
    ) -> Result<(), ReadSliceError> {
        let wanted = wanted.start..wanted.end.min(self.bytes);
        let mut encoded = std::mem::take(&mut self.encoded);
        for groups in slices_of(groups_covering(&wanted)) {
            encoded.clear();
            self.slice(&groups, &mut encoded)?;
            let damaged = |_| self.damaged(&groups);
            let slice = verify(self.digest, self.bytes, &groups, &encoded).map_err(damaged)?;
            let within = |at: u64| {
                let at = at.saturating_sub(slice.offset);
                usize::try_from(at).map_or(slice.content.len(), |at| at.min(slice.content.len()))
            };
            let piece = slice.content.get(within(wanted.start)..within(wanted.end));
            content.extend_from_slice(piece.unwrap_or_default());
        }
        self.encoded = encoded;
        Ok(())
    }

    fn damaged(&self, groups: &Range<u64>) -> ReadSliceError {
        let path = match &self.source {
            Source::Whole { artifacts, .. } => artifacts.path(&self.digest),
            Source::Partial(filling) => filling.path(),
        };
        ReadSliceError::Damaged {
            digest: self.digest,
            groups: groups.clone(),
            path,
        }
    }
}

impl Artifacts {
    /// The hash pairs of a whole artifact: those beside it, or new ones if there are none or `anew`.
    /// None if the content is not what the digest names.
    pub(crate) fn pairs(
        &self,
        digest: &Digest,
        bytes: u64,
        anew: bool,
    ) -> Result<Option<File>, StorageError> {
        let path = self.space.path(digest, Part::Pairs);
        let there = || match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(failed("open", &path)),
        };
        if !anew && let Some(file) = there()? {
            return Ok(Some(file));
        }
        // Whoever wants slices of one artifact at the same time wants the same pairs.
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if !anew && let Some(file) = there()? {
            return Ok(Some(file));
        }
        let reserved = outboard_bytes(bytes);
        self.space.reserve(reserved)?;
        let unfinished = self.space.unfinished();
        let built = self
            .build_pairs(digest, bytes, &unfinished)
            .and_then(|file| {
                if file.is_some() {
                    self.space.settle(reserved, &path, || {
                        fs::rename(&unfinished, &path).map_err(failed("rename", &unfinished))
                    })?;
                }
                Ok(file)
            });
        if !matches!(built, Ok(Some(_))) {
            let _ = fs::remove_file(&unfinished);
            self.space.release(reserved);
        }
        built
    }

    fn build_pairs(
        &self,
        digest: &Digest,
        bytes: u64,
        unfinished: &Path,
    ) -> Result<Option<File>, StorageError> {
        let path = self.path(digest);
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        let file = options
            .open(unfinished)
            .map_err(failed("create", unfinished))?;
        let tree = Pairs {
            digest: *digest,
            bytes,
            file: Some(&file),
        };
        let content = File::open(&path).map_err(failed("open", &path))?;
        let found = tree.build(BufReader::with_capacity(READ_AHEAD_BYTES, content));
        match found {
            // Shorter than it was.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(failed("hash", &path)(error)),
            Ok(found) => Ok((found == *digest).then_some(file)),
        }
    }

    /// The partial artifact that somebody has open.
    fn filling(&self, digest: &Digest) -> Option<Arc<Filling>> {
        self.fillings().get(digest)?.upgrade()
    }
}

/// What is read at once while a whole artifact is hashed.
const READ_AHEAD_BYTES: usize = 256 << 10;

impl From<&Partial> for ArtifactReader {
    /// Reads what is there of `partial`, as it grows.
    fn from(partial: &Partial) -> Self {
        let filling = partial.filling();
        Self {
            digest: filling.digest(),
            bytes: filling.bytes(),
            source: Source::Partial(filling),
            encoded: Vec::new(),
        }
    }
}
