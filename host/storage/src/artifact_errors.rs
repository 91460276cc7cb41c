//! What can go wrong with artifacts: one error per operation, each with what it concerns.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use types::Digest;

use crate::groups::GroupSet;
use crate::outboard::BadSliceError;

/// The disk refused, or the store's quota did: see [`StorageError::quota_exceeded`].
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct StorageError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// There is no room, and nothing that may go to make some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota of {bytes_max} bytes has no room for {bytes_wanted} more: {bytes_held} are held by artifacts that are deployed, about to be, or in use; raise the quota or remove deployments"
)]
pub struct QuotaExceededError {
    /// What all artifacts may take together.
    pub bytes_max: u64,
    /// What would be left if everything that may go went.
    pub bytes_held: u64,
    /// What was asked for on top.
    pub bytes_wanted: u64,
}

impl StorageError {
    pub(crate) fn quota(folder: &Path, exceeded: QuotaExceededError) -> Self {
        let source = io::Error::new(io::ErrorKind::QuotaExceeded, exceeded);
        failed("store more in", folder)(source)
    }

    /// The quota that refused; none if it was the disk.
    #[must_use]
    pub fn quota_exceeded(&self) -> Option<&QuotaExceededError> {
        self.source.get_ref()?.downcast_ref()
    }
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError {
        action,
        path,
        source,
    }
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
    /// The disk or the quota refused.
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

/// A slice that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadSliceError {
    /// No such groups, or too many for one slice.
    #[error(
        "groups {groups:?} are no slice of {digest}, which has {total}: ask for 1 to 16 of them"
    )]
    Range {
        /// Which artifact.
        digest: Digest,
        /// What was asked for.
        groups: Range<u64>,
        /// How many groups there are.
        total: u64,
    },
    /// Not all of them are here yet.
    #[error("groups {groups:?} of {digest} are not all on this node yet")]
    NotHeld {
        /// Which artifact.
        digest: Digest,
        /// What was asked for.
        groups: Range<u64>,
    },
    /// What is on the disk is not what the digest names.
    #[error(
        "groups {groups:?} of artifact {digest} are damaged on disk: delete {path} and fetch it again"
    )]
    Damaged {
        /// Which artifact.
        digest: Digest,
        /// What was asked for.
        groups: Range<u64>,
        /// Its file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An artifact that cannot be filled slice by slice.
#[derive(Debug, thiserror::Error)]
pub enum FillArtifactError {
    /// Nothing to do.
    #[error("artifact {0} is here already")]
    Whole(Digest),
    /// The disk or the quota refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A slice that was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum WriteSliceError {
    /// It is not of this artifact.
    #[error(transparent)]
    Bad(#[from] BadSliceError),
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A partial artifact that is not whole yet.
#[derive(Debug, thiserror::Error)]
pub enum FinishPartialError {
    /// Something is missing.
    #[error("{} groups of {digest} are missing", .missing.count())]
    Incomplete {
        /// Which artifact.
        digest: Digest,
        /// What is missing.
        missing: GroupSet,
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
