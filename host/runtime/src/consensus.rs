//! What a node does for guests that use the ledger: the trait that it implements, and what crosses
//! it. Knows no block, no signature and no network.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::bounds::{
    SPACE_REQUESTS_AT_ONCE_MAX, SUBMISSIONS_AT_ONCE_MAX, VERIFICATIONS_AT_ONCE_MAX,
};
use crate::shown::{ProvenExecution, RequestSpaceError, ShownSpace};

/// The ledger as one replica may use it: records of its workload, proofs, heights.
///
/// Called from the threads that run guests: an implementation must not block, but in
/// [`Consensus::verify`], [`Consensus::verify_space`] and [`Consensus::verify_execution`], which are
/// called from threads that may.
pub trait Consensus: fmt::Debug + Send + Sync + 'static {
    /// Height of the last final block that is known here.
    fn height(&self) -> u64;
    /// What a key holds.
    ///
    /// # Errors
    /// [`ConsensusError::Invalid`] for a text that is no key, [`ConsensusError::Unavailable`].
    fn read(&self, key: &str) -> Result<RecordReading, ConsensusError>;
    /// Begins a change. The future is the height of its final block, once [`Consensus::read`] sees
    /// it; it goes on if nobody waits, as long as it is polled.
    ///
    /// # Errors
    /// [`ConsensusError::Invalid`], at once. The future: [`ConsensusError`].
    fn submit(&self, wish: RecordWish) -> Result<Submitted, ConsensusError>;
    /// Proof of what a key holds, for those who know only the fabric.
    fn prove(&self, key: &str) -> BoxFuture<'static, Result<Vec<u8>, ConsensusError>>;
    /// Checks a proof against the fabric. Computes; asks nobody.
    ///
    /// # Errors
    /// Why it proves nothing.
    fn verify(&self, proof: &[u8]) -> Result<ProvenRecord, String>;
    /// The value made of the block at a height, or of the last one.
    fn beacon(&self, height: Option<u64>) -> BoxFuture<'static, Result<Beacon, ConsensusError>>;
    /// Has the host of an asset show it: a proof that stands by itself, not checked yet.
    fn request_space(&self, asset: &str) -> BoxFuture<'static, Result<Vec<u8>, RequestSpaceError>>;
    /// Checks what the host of an asset showed against the blocks and commitments that are known
    /// here. Asks no other node.
    ///
    /// # Errors
    /// Why it proves nothing.
    fn verify_space(&self, proof: &[u8]) -> Result<ShownSpace, String>;
    /// Checks the proof of an execution, and its draw where its block is still known here. Asks no
    /// other node.
    ///
    /// # Errors
    /// Why it proves nothing.
    fn verify_execution(&self, proof: &[u8]) -> Result<ProvenExecution, String>;
}

/// The height of a change's final block, once it has one.
pub type Submitted = BoxFuture<'static, Result<u64, ConsensusError>>;

/// A change of a record that a guest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordWish {
    /// Write it.
    Put {
        /// Its key.
        key: String,
        /// Its value.
        value: Vec<u8>,
        /// Blocks until it is deleted; none keeps it.
        lifetime: Option<u64>,
        /// Whether to refuse to replace one.
        only_new: bool,
    },
    /// Delete it.
    Delete {
        /// Its key.
        key: String,
    },
}

/// A record as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    /// What was written.
    pub value: Vec<u8>,
    /// Height of the block that wrote it.
    pub height: u64,
    /// Ledger time of that block, Unix milliseconds.
    pub time_ms: u64,
    /// Height of the block that deletes it, if it expires.
    pub expires_at: Option<u64>,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReading {
    /// Height of the final block after which it is so.
    pub height: u64,
    /// The record, if there is one.
    pub entry: Option<RecordEntry>,
}

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenRecord {
    /// Whose record it is about.
    pub workload: String,
    /// Its key.
    pub key: String,
    /// Height of the final block after which it was so.
    pub height: u64,
    /// Ledger time of that block, Unix milliseconds.
    pub time_ms: u64,
    /// The record, or none.
    pub entry: Option<RecordEntry>,
}

/// A value made of a final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// The block's height.
    pub height: u64,
    /// The value.
    pub value: [u8; 32],
}

/// Why the ledger did not do what a guest asked for. Texts are for the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusError {
    /// Something is out of bounds, or a height is not there.
    #[error("{0}")]
    Invalid(String),
    /// It was to be new.
    #[error("the record exists already")]
    Exists,
    /// There is nothing to delete.
    #[error("there is no such record")]
    Absent,
    /// As many as may be.
    #[error("{0}")]
    Quota(String),
    /// Too much at once.
    #[error("{0}")]
    Busy(String),
    /// The workload may not.
    #[error("{0}")]
    Denied(String),
    /// The node cannot say.
    #[error("{0}")]
    Unavailable(String),
}

/// The ledger for all instances of a replica, and what they may do with it at once.
pub(crate) struct Agreement {
    pub(crate) consensus: Option<Arc<dyn Consensus>>,
    pub(crate) submissions: Arc<Semaphore>,
    pub(crate) verifications: Arc<Semaphore>,
    pub(crate) space_requests: Arc<Semaphore>,
}

impl Agreement {
    pub(crate) fn new(consensus: Option<Arc<dyn Consensus>>) -> Self {
        Self {
            consensus,
            submissions: Arc::new(Semaphore::new(SUBMISSIONS_AT_ONCE_MAX)),
            verifications: Arc::new(Semaphore::new(VERIFICATIONS_AT_ONCE_MAX)),
            space_requests: Arc::new(Semaphore::new(SPACE_REQUESTS_AT_ONCE_MAX)),
        }
    }

    /// The ledger, if the node has one for this replica.
    pub(crate) fn get(&self) -> Result<&Arc<dyn Consensus>, ConsensusError> {
        let absent =
            || ConsensusError::Unavailable("this node has no ledger for guests".to_owned());
        self.consensus.as_ref().ok_or_else(absent)
    }
}
