//! Why an operation of a store gave nothing. Every refusal leaves the store as it was.

use crate::artifact_errors::StorageError;

/// An operation on buckets that was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    /// A name that no bucket has.
    #[error("a bucket's name has 1 to {max} bytes and no control characters")]
    BucketName {
        /// [`crate::STORE_NAME_BYTES_MAX`].
        max: usize,
    },
    /// A key, value or batch above its bound.
    #[error("{what} of {bytes} bytes: the most is {max}")]
    TooLarge {
        /// `a key`, `a value`, `a batch`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// Its bound.
        max: usize,
    },
    /// More keys or buckets than a workload may have, or than one batch carries.
    #[error("too many {what}: the most is {max}")]
    TooMany {
        /// `keys`, `buckets`, `keys in one batch`.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// The write would bring the workload above its quota.
    #[error("quota of {limit} bytes reached: {asked} bytes asked for")]
    Quota {
        /// The quota.
        limit: u64,
        /// What all keys and values together would have been.
        asked: u64,
    },
    /// An increment of something that is not a number.
    #[error("the value is not a whole number in decimal digits")]
    NotNumber,
    /// An increment beyond the range of the interface.
    #[error("the number would leave the range of the interface")]
    Range,
    /// The disk refused, or the file is damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An operation on containers that was refused.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A name that no container or object has.
    #[error("{what} has 1 to {max} bytes and no control characters")]
    Name {
        /// `a container's name`, `an object's name`.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// No such container.
    #[error("no container `{0}`")]
    NoContainer(String),
    /// No such object.
    #[error("no object `{object}` in container `{container}`")]
    NoObject {
        /// Where it was looked for.
        container: String,
        /// What was looked for.
        object: String,
    },
    /// A new container whose name is taken.
    #[error("container `{0}` is there already")]
    Exists(String),
    /// More containers or objects than a workload may have.
    #[error("too many {what}: the most is {max}")]
    TooMany {
        /// `containers`, `objects`.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// The write would bring the workload above its quota.
    #[error("quota of {limit} bytes reached: {asked} bytes asked for")]
    Quota {
        /// The quota.
        limit: u64,
        /// What all names and contents together would have been.
        asked: u64,
    },
    /// The disk refused, or the file is damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
