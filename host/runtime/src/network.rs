//! What a node does for guests that connect over leased transport: the traits that it implements, and what
//! crosses them. Knows no lease, no signature and no socket.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::memory::{AssetError, Awaited};

/// Leased transport as one replica may use it.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Leases bytes per second and makes a link of them, whose last handle ends the lease and closes
    /// its connections. If nobody waits any more, the implementation ends what it began.
    fn allocate(&self, bytes_per_s: u64, term_ms: u64) -> Awaited<Arc<dyn NetworkLink>>;
}

/// A link, as one guest has it.
pub trait NetworkLink: fmt::Debug + Send + Sync + 'static {
    /// Connects. The manifest allows it.
    fn connect(&self, host: String, port: u16) -> Connecting<Arc<dyn NetworkConnection>>;
    /// What it carried, and how long it lasts.
    fn usage(&self) -> Awaited<NetworkUsage>;
    /// Has its lease last so long from now on.
    fn renew(&self, term_ms: u64) -> Awaited<()>;
}

/// A connection. Dropping it closes it.
pub trait NetworkConnection: fmt::Debug + Send + Sync + 'static {
    /// The next bytes, at most as many; none at the end.
    fn read(&self, bytes_max: usize) -> Connecting<Vec<u8>>;
    /// Sends bytes.
    fn write(&self, bytes: Vec<u8>) -> Connecting<()>;
    /// Sends no more.
    fn finish(&self) -> Connecting<()>;
}

/// An answer that may take a while. Dropped, what was asked may be done all the same.
pub type Connecting<T> = BoxFuture<'static, Result<T, NetworkError>>;

/// What a link carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkUsage {
    /// What was leased.
    pub bytes_per_s: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Connections that are open.
    pub connections: u32,
    /// How long its lease is certainly live, milliseconds.
    pub left_ms: u64,
}

/// What a link or a connection did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It cannot, or may not.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// What was dialled did not answer, or the connection broke.
    #[error("{0}")]
    Failed(String),
}
