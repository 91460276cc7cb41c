//! What the node does for the guests of one replica: secrets, and traits that the node implements.
//! Knows no disk and no network.
//!
//! The functions of stores may wait for a disk: they are called from threads that may block, a
//! bounded number at once per replica.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use types::ByteSize;

use crate::checkpoint::ReplicaState;
use crate::consensus::Consensus;
use crate::cpu::Cpu;
use crate::memory::Memory;
use crate::message::{Message, MessageTooLarge};
use crate::network::Network;
use crate::volume::Volumes;

/// The services of one replica; what is not there answers guests with an error of its interface.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Values of the secrets that the specification names.
    pub secrets: BTreeMap<String, Secret>,
    /// The buckets of its workload.
    pub keyvalue: Option<Arc<dyn KeyValueStore>>,
    /// The containers of its workload.
    pub blobstore: Option<Arc<dyn BlobStore>>,
    /// Where messages of the guests go.
    pub publisher: Option<Arc<dyn Publisher>>,
    /// The ledger, for its workload's records.
    pub consensus: Option<Arc<dyn Consensus>>,
    /// Memory that it may lease and open.
    pub memory: Option<Arc<dyn Memory>>,
    /// Processors that it may lease.
    pub cpu: Option<Arc<dyn Cpu>>,
    /// Transport that it may lease.
    pub network: Option<Arc<dyn Network>>,
    /// Storage that it may lease and open.
    pub volumes: Option<Arc<dyn Volumes>>,
    /// Where a stateful library's checkpoints are kept; the same for every generation of a replica.
    pub state: Option<Arc<ReplicaState>>,
}

/// Takes messages to their subscribers.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Publisher: fmt::Debug + Send + Sync + 'static {
    /// Queues `message` for every component that subscribes to its topic, or for none; returns how
    /// many there are.
    ///
    /// # Errors
    /// [`PublishError`] if it is not queued.
    fn publish(&self, message: Message) -> Result<usize, PublishError>;
}

/// A message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A subscriber is behind.
    #[error("the queue of {subscriber} is full: try again later")]
    QueueFull {
        /// Workload and component.
        subscriber: String,
    },
    /// Larger than any subscriber gets.
    #[error("{0}")]
    TooLarge(#[from] MessageTooLarge),
}

/// A value that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` out of everything printed.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the guest that it belongs to.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a store did not do what a guest asked for. The store is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The write would bring the workload above its quota.
    #[error("quota of {limit} reached: {asked} asked for")]
    Quota {
        /// The quota.
        limit: ByteSize,
        /// What the store would have held.
        asked: ByteSize,
    },
    /// Not possible: a bound, a name, something that is not there. The text is for the guest.
    #[error("{0}")]
    Refused(String),
    /// The workload is no longer deployed here.
    #[error("the workload has been removed")]
    Removed,
    /// The node's disk failed; the node's log says how.
    #[error("the store failed on this node")]
    Failed,
}

/// Where a listing of keys begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysFrom {
    /// With the first key.
    Start,
    /// After so many keys.
    Skip(u64),
    /// After this key.
    After(String),
}

/// A page of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePage {
    /// The names.
    pub names: Vec<String>,
    /// Whether more follow.
    pub more: bool,
}

/// The buckets of one workload, with its quota. What a write acknowledges is durable.
///
/// # Errors
/// Each function: [`StoreError`].
pub trait KeyValueStore: fmt::Debug + Send + Sync {
    /// Whether a bucket may have this name. Must not block.
    fn check_bucket(&self, bucket: &str) -> Result<(), StoreError>;
    /// The value of a key.
    fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// The values of keys, in their order.
    fn many(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
    /// Whether a key is there.
    fn exists(&self, bucket: &str, key: &str) -> Result<bool, StoreError>;
    /// A page of keys.
    fn keys(&self, bucket: &str, from: &KeysFrom) -> Result<NamePage, StoreError>;
    /// Gives keys their values, all or none.
    fn set(&self, bucket: &str, entries: Vec<(String, Vec<u8>)>) -> Result<(), StoreError>;
    /// Deletes keys, absent ones passed over.
    fn delete(&self, bucket: &str, keys: Vec<String>) -> Result<(), StoreError>;
    /// Adds to a whole number, absent as zero, if the sum is in `range`; the sum.
    fn increment(
        &self,
        bucket: &str,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Result<i128, StoreError>;
    /// Gives a key its value if it still has the value `expected`; whether it had.
    fn swap(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<bool, StoreError>;
}

/// An object, or a container with a size of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobInfo {
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// Its size.
    pub bytes: u64,
}

/// A container's name and an object's name in it.
pub type ObjectName<'a> = (&'a str, &'a str);

/// The containers of one workload, with its quota. What a write acknowledges is durable.
///
/// # Errors
/// Each function: [`StoreError`].
pub trait BlobStore: fmt::Debug + Send + Sync {
    /// Makes an empty container.
    fn create_container(&self, container: &str) -> Result<(), StoreError>;
    /// What is known of a container.
    fn container(&self, container: &str) -> Result<Option<BlobInfo>, StoreError>;
    /// Deletes a container's objects, and the container itself if `whole`.
    fn clear(&self, container: &str, whole: bool) -> Result<(), StoreError>;
    /// What is known of an object.
    fn object(&self, object: ObjectName<'_>) -> Result<Option<BlobInfo>, StoreError>;
    /// A page of object names after `from`.
    fn objects(&self, container: &str, from: Option<&str>) -> Result<NamePage, StoreError>;
    /// Opens bytes from `start` up to and including `end`, as far as there are some.
    fn read(
        &self,
        object: ObjectName<'_>,
        start: u64,
        end: u64,
    ) -> Result<Box<dyn BlobRead>, StoreError>;
    /// Begins a content.
    fn write(&self) -> Result<Box<dyn BlobWrite>, StoreError>;
    /// Deletes objects, absent ones passed over.
    fn delete(&self, container: &str, names: Vec<String>) -> Result<(), StoreError>;
    /// Copies an object over another.
    fn copy(&self, from: ObjectName<'_>, to: ObjectName<'_>) -> Result<(), StoreError>;
    /// Moves an object over another.
    fn rename(&self, from: ObjectName<'_>, to: ObjectName<'_>) -> Result<(), StoreError>;
}

/// A content that is read. It does not change, also when its object does.
///
/// # Errors
/// Each function: [`StoreError`].
pub trait BlobRead: Send {
    /// Bytes that are left.
    fn left(&self) -> u64;
    /// The next bytes, at most `bytes_max`; empty at the end.
    fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, StoreError>;
}

/// A content that is written. Dropped before it is finished, it leaves nothing.
///
/// # Errors
/// Each function: [`StoreError`].
pub trait BlobWrite: Send {
    /// Appends a piece.
    fn write(&mut self, piece: &[u8]) -> Result<(), StoreError>;
    /// Makes the whole an object, over one of that name.
    fn finish(self: Box<Self>, object: ObjectName<'_>) -> Result<(), StoreError>;
}
