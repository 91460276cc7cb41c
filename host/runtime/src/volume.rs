//! What a node does for guests that use volumes: the traits that it implements, and what crosses them.
//! Knows no lease, no signature and no network.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::bounds::VOLUMES_OPEN_MAX;
use crate::memory::AssetError;

/// An answer that may take a while. Dropped, what was asked may be done all the same.
pub type VolumeAwaited<T> = BoxFuture<'static, Result<T, VolumeError>>;

/// Leased storage as one replica may use it.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Volumes: fmt::Debug + Send + Sync + 'static {
    /// Leases storage and makes a volume of it, whose last handle ends the leases. If nobody waits any
    /// more, the implementation ends what it began.
    fn allocate(
        &self,
        bytes: u64,
        term_ms: u64,
        layout: VolumeLayout,
    ) -> VolumeAwaited<Arc<dyn Volume>>;
    /// Opens the volume that a capability is for.
    fn open(&self, capability: String) -> VolumeAwaited<Arc<dyn Volume>>;
}

/// A volume, as one guest has it. Dropping it gives back what it is answerable for.
pub trait Volume: fmt::Debug + Send + Sync + 'static {
    /// Reads bytes.
    fn read(&self, offset: u64, bytes: u32) -> VolumeAwaited<Vec<u8>>;
    /// Writes bytes.
    fn write(&self, offset: u64, bytes: Vec<u8>) -> VolumeAwaited<()>;
    /// Makes durable what was written.
    fn sync(&self) -> VolumeAwaited<()>;
    /// Makes an empty file.
    fn create_file(&self, name: String) -> VolumeAwaited<()>;
    /// Reads bytes of a file.
    fn read_file(&self, name: String, offset: u64, bytes: u32) -> VolumeAwaited<Vec<u8>>;
    /// Writes bytes of a file.
    fn write_file(&self, name: String, offset: u64, bytes: Vec<u8>) -> VolumeAwaited<()>;
    /// How many bytes a file has.
    fn file_size(&self, name: String) -> VolumeAwaited<u64>;
    /// Cuts a file, or makes it longer.
    fn set_file_size(&self, name: String, bytes: u64) -> VolumeAwaited<()>;
    /// Names of files after one, and whether there are more.
    fn list_files(&self, after: Option<String>) -> VolumeAwaited<(Vec<String>, bool)>;
    /// Gives a file another name.
    fn rename_file(&self, name: String, to: String) -> VolumeAwaited<()>;
    /// Removes a file.
    fn remove_file(&self, name: String) -> VolumeAwaited<()>;
    /// What it takes and how long it lasts.
    fn usage(&self) -> VolumeAwaited<VolumeUsage>;
    /// Has its leases last so long from now on.
    fn renew(&self, term_ms: u64) -> VolumeAwaited<()>;
    /// A capability for it.
    ///
    /// # Errors
    /// [`VolumeError`].
    fn share(&self, share: VolumeShare) -> Result<String, VolumeError>;
    /// Refuses a capability from now on.
    fn revoke(&self, capability: String) -> VolumeAwaited<()>;
    /// Has its leases outlive it.
    fn keep(&self) -> VolumeAwaited<String>;
    /// Replaces members that are gone.
    fn repair(&self) -> VolumeAwaited<VolumeRepaired>;
}

/// How a volume lies on its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeLayout {
    /// One has all.
    Single,
    /// So many have a copy each.
    Replicated(u8),
    /// Ten of fourteen make it.
    Sharded,
}

/// What a guest gives away of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeShare {
    /// Whether it may be read.
    pub read: bool,
    /// Whether it may be written.
    pub write: bool,
    /// For how long, milliseconds.
    pub term_ms: u64,
    /// To which node; none for every member.
    pub node: Option<String>,
}

/// What a volume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeUsage {
    /// What it can hold.
    pub bytes: u64,
    /// What of it is taken.
    pub used_bytes: u64,
    /// What is leased for it.
    pub leased_bytes: u64,
    /// How many members it has.
    pub members: u32,
    /// How many of them answer.
    pub reached: u32,
    /// How long the lease that ends first is certainly live, milliseconds.
    pub left_ms: u64,
}

/// What a repair did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeRepaired {
    /// Members that were replaced.
    pub members: u32,
    /// Blocks that were looked at.
    pub blocks: u64,
    /// Pieces that were written.
    pub pieces: u64,
    /// Blocks that cannot be read.
    pub lost: u64,
}

/// Why something was not done with a volume. Texts are for the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// As with any asset.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// No room.
    #[error("{0}")]
    Full(String),
    /// Another one writes.
    #[error("{0}")]
    Fenced(String),
    /// No such file.
    #[error("{0}")]
    NotFound(String),
    /// There is such a file.
    #[error("{0}")]
    Exists(String),
}

/// Leased storage for all instances of a replica, and how many volumes they may have open.
pub(crate) struct Stored {
    volumes: Option<Arc<dyn Volumes>>,
    pub(crate) places: Arc<Semaphore>,
}

impl Stored {
    pub(crate) fn new(volumes: Option<Arc<dyn Volumes>>) -> Self {
        let places = Arc::new(Semaphore::new(VOLUMES_OPEN_MAX));
        Self { volumes, places }
    }

    /// The storage, if the node has any for this replica.
    pub(crate) fn get(&self) -> Result<&Arc<dyn Volumes>, VolumeError> {
        let text = "this node has no leased storage for guests";
        let absent = || AssetError::Unavailable(text.to_owned()).into();
        self.volumes.as_ref().ok_or_else(absent)
    }
}
