//! What is said of a file, and what is not done with one.

use super::directory::{BUCKETS_MAX, LENGTH_MAX};
use super::path::FilePath;
use super::repair::RepairError;
use super::spread_errors::{ReadVolumeError, WriteVolumeError};

/// One file of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Its name.
    pub path: FilePath,
    /// Its length.
    pub bytes: u64,
}

/// Something that was not done with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// There is none of this name.
    #[error("there is no file {0}")]
    NotFound(FilePath),
    /// There is one.
    #[error("there is a file {0} already")]
    Exists(FilePath),
    /// The name is that of a folder, or a part of it is that of a file.
    #[error("{0} is in the way of a file, or a file in its way: files are not folders")]
    Folder(FilePath),
    /// No room for another name.
    #[error("the directory has all {BUCKETS_MAX} blocks that it can have: remove files")]
    Full,
    /// Beyond the longest file.
    #[error("a file of {bytes} bytes is longer than {LENGTH_MAX}")]
    TooLong {
        /// How long it would be.
        bytes: u64,
    },
    /// The directory is not what was written.
    #[error(
        "block {bucket} of the directory cannot be read: it has no form that this release knows"
    )]
    Damaged {
        /// Which one.
        bucket: usize,
    },
    /// A change of it failed before, or it changes as fast as it is read.
    #[error("the directory changed while it was used: try again")]
    Unread,
    /// It changes as fast as it is read.
    #[error("the file {0} changes all the time: try again")]
    Restless(FilePath),
    /// The volume is not read.
    #[error(transparent)]
    Read(#[from] ReadVolumeError),
    /// The volume is not written. After a change of a name it may be done or not, and then wholly.
    #[error(transparent)]
    Write(#[from] WriteVolumeError),
    /// The volume is not repaired.
    #[error(transparent)]
    Repair(#[from] RepairError),
}
