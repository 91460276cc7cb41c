//! What a node does for guests that use leased memory: the traits that it implements, and what crosses
//! them. Knows no lease, no signature and no network.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::bounds::REGIONS_OPEN_MAX;

/// An answer that may take a while. Dropped, what was asked may be done all the same.
pub type Awaited<T> = BoxFuture<'static, Result<T, AssetError>>;

/// Leased memory as one replica may use it.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Memory: fmt::Debug + Send + Sync + 'static {
    /// Leases memory and makes a region of it, whose last handle ends the lease. If nobody waits any
    /// more, the implementation ends what it began.
    fn allocate(&self, bytes: u64, term_ms: u64) -> Awaited<Arc<dyn MemoryRegion>>;
    /// Opens the region that a capability is for.
    fn open(&self, capability: String) -> Awaited<Arc<dyn MemoryRegion>>;
}

/// A region, as one guest has it. Dropping it gives back what it is answerable for.
pub trait MemoryRegion: fmt::Debug + Send + Sync + 'static {
    /// Its size in bytes.
    fn bytes(&self) -> u64;
    /// Reads bytes.
    fn read(&self, offset: u64, bytes: u32) -> Awaited<Vec<u8>>;
    /// Writes bytes, all or none.
    fn write(&self, offset: u64, bytes: Vec<u8>) -> Awaited<()>;
    /// Writes bytes if those of before are as expected; else what is there.
    fn swap(&self, offset: u64, expected: Vec<u8>, new: Vec<u8>) -> Awaited<Option<Vec<u8>>>;
    /// What it takes and how long it lasts.
    fn usage(&self) -> Awaited<MemoryUsage>;
    /// Has its lease last so long from now on.
    fn renew(&self, term_ms: u64) -> Awaited<()>;
    /// A capability for a part of it.
    ///
    /// # Errors
    /// [`AssetError`].
    fn share(&self, share: MemoryShare) -> Result<String, AssetError>;
    /// Refuses a capability from now on.
    fn revoke(&self, capability: String) -> Awaited<()>;
}

/// What a guest gives away of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryShare {
    /// Whether bytes may be read.
    pub read: bool,
    /// Whether bytes may be written.
    pub write: bool,
    /// Whether bytes may be compared and swapped.
    pub swap: bool,
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// For how long, milliseconds.
    pub term_ms: u64,
    /// To which node; none for every member.
    pub node: Option<String>,
}

/// What a region takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Its size.
    pub bytes: u64,
    /// What of it is in memory.
    pub resident_bytes: u64,
    /// Operations that were asked of it.
    pub operations: u64,
    /// How long its lease is certainly live, milliseconds.
    pub left_ms: u64,
}

/// Why something was not done with an asset. Texts are for the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// An argument is out of bounds.
    #[error("{0}")]
    Invalid(String),
    /// The capability does not give it.
    #[error("{0}")]
    Denied(String),
    /// The lease is over.
    #[error("the lease has ended: what it was for is gone")]
    Ended,
    /// More than was granted.
    #[error("{0}")]
    Quota(String),
    /// No asset has so much.
    #[error("{0}")]
    Exhausted(String),
    /// Too much at once.
    #[error("{0}")]
    Busy(String),
    /// The host went away.
    #[error("{0}")]
    Lost(String),
    /// The node cannot.
    #[error("{0}")]
    Unavailable(String),
}

/// Leased memory for all instances of a replica, and how many regions they may have open.
pub(crate) struct Leased {
    memory: Option<Arc<dyn Memory>>,
    pub(crate) places: Arc<Semaphore>,
}

impl Leased {
    pub(crate) fn new(memory: Option<Arc<dyn Memory>>) -> Self {
        let places = Arc::new(Semaphore::new(REGIONS_OPEN_MAX));
        Self { memory, places }
    }

    /// The memory, if the node has any for this replica.
    pub(crate) fn get(&self) -> Result<&Arc<dyn Memory>, AssetError> {
        let absent =
            || AssetError::Unavailable("this node has no leased memory for guests".to_owned());
        self.memory.as_ref().ok_or_else(absent)
    }
}
