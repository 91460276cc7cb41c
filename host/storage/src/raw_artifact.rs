//! Artifacts read as they lie on the disk, with their hash pairs, for those who check what they read
//! themselves. Nothing is verified here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use types::Digest;

use crate::artifact_errors::{ReadArtifactError, failed};
use crate::artifacts::Artifacts;
use crate::groups::GROUP_BYTES;
use crate::space::InUse;

/// A whole artifact and its hash pairs. While it is open, it does not go.
#[derive(Debug)]
pub struct RawArtifact {
    content: File,
    /// None where there are none: of one group, or of damaged content that never had any.
    pairs: Option<File>,
    _in_use: InUse,
}

impl Artifacts {
    /// Opens a whole artifact, which is said to have `bytes`. Pairs that are not there are made, which
    /// takes as long as hashing it.
    ///
    /// # Errors
    /// [`ReadArtifactError::Absent`], or the disk refuses.
    pub fn raw(&self, digest: &Digest, bytes: u64) -> Result<RawArtifact, ReadArtifactError> {
        let in_use = self.space.hold(digest);
        let path = self.path(digest);
        let content = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadArtifactError::Absent(*digest));
            }
            opened => opened.map_err(failed("open", &path))?,
        };
        let pairs = match bytes > GROUP_BYTES {
            true => self.pairs(digest, bytes, false)?,
            false => None,
        };
        Ok(RawArtifact {
            content,
            pairs,
            _in_use: in_use,
        })
    }
}

impl RawArtifact {
    /// Fills `into` with the content from `offset` on.
    ///
    /// # Errors
    /// What the disk reports; [`io::ErrorKind::UnexpectedEof`] if there is less.
    pub fn read_content(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.content.read_exact_at(into, offset)
    }

    /// Fills `into` with the hash pairs from `offset` on.
    ///
    /// # Errors
    /// As [`Self::read_content`].
    pub fn read_pairs(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.pairs {
            Some(pairs) => pairs.read_exact_at(into, offset),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
