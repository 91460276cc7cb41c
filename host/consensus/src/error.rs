//! What can go wrong, in words that a person can act on. One enum per operation.

use std::path::PathBuf;

use ledger::{DecodeTransactionError, UnknownRules};
use types::{FabricId, Principal, PublicKey};

use crate::pool::{
    POOL_BYTES_MAX, POOL_PRINCIPAL_BYTES_MAX, POOL_PRINCIPAL_TRANSACTIONS_MAX,
    POOL_TRANSACTIONS_MAX,
};

/// Why the ledger did not start. Nothing was voted for and no file of another identity touched.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file system refused.
    #[error("consensus cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Two processes with one vote journal would vote twice.
    #[error(
        "consensus data in {path} is in use by another process; stop that one first, and never \
         run a copy of this directory",
        path = path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory belongs to another fabric.
    #[error(
        "consensus data in {path} belongs to fabric {found}, not to {expected}; use that fabric's \
         genesis or another directory",
        path = path.display()
    )]
    OtherFabric {
        /// The data directory.
        path: PathBuf,
        /// Whose it is.
        found: FabricId,
        /// Who asked.
        expected: FabricId,
    },
    /// The directory belongs to another node.
    #[error(
        "consensus data in {path} belongs to node {found}, not to {expected}; votes of one key \
         must never meet the journal of another",
        path = path.display()
    )]
    OtherNode {
        /// The data directory.
        path: PathBuf,
        /// Whose it is.
        found: PublicKey,
        /// Who asked.
        expected: PublicKey,
    },
    /// Another release wrote it.
    #[error(
        "consensus data in {path} has format {found}, this release reads format {supported}; use \
         the release that wrote it",
        path = path.display()
    )]
    Format {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The file that says whose data this is does not say it.
    #[error("{path} is damaged: {why}; restore it or join with a new identity", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// This key voted before and the record of its votes is gone.
    #[error(
        "{path} has no record of the votes that this validator cast; starting without it could \
         vote twice: restore it or join with a new identity",
        path = path.display()
    )]
    VotesMissing {
        /// Where the votes should be.
        path: PathBuf,
    },
    /// This key voted before and some of its votes are not what was flushed any more.
    #[error(
        "votes that this validator cast are lost from {path}: {reason}; starting without them \
         could vote twice: put the whole data directory back as it was when the validator stopped, \
         never an older copy, or join with a new identity",
        path = path.display()
    )]
    VotesDamaged {
        /// Where the votes are.
        path: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// This node has no vote in this fabric, and no links over which it could follow.
    #[error(
        "this node ({key}) is not a validator of fabric {fabric}, and it has no links to nodes \
         that it could follow"
    )]
    NotAValidator {
        /// This node.
        key: PublicKey,
        /// The fabric.
        fabric: FabricId,
    },
    /// A validator's key in the genesis is no key.
    #[error("validator {key} of the genesis is not an ed25519 public key")]
    ValidatorKey {
        /// The key.
        key: PublicKey,
    },
    /// Validators agree over a network, and there is none.
    #[error("the genesis names {validators} validators, and this node has no links to others")]
    Committee {
        /// How many the genesis names.
        validators: usize,
    },
    /// This program is too old for the fabric's next block.
    #[error(transparent)]
    Outdated(UnknownRules),
    /// The engine could not take up its files.
    #[error(
        "the ledger in {path} did not start: {reason}; if a file is damaged, restore the whole \
         directory from a copy",
        path = path.display()
    )]
    Engine {
        /// The data directory.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
}

/// Why the ledger is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// It was asked to stop.
    #[error("the ledger was stopped")]
    Stopped,
    /// This program is too old for the fabric's next block. Everything before is executed and on
    /// disk, for a newer one to go on from.
    #[error(transparent)]
    Outdated(UnknownRules),
    /// It could not go on; everything acknowledged is on disk.
    #[error("the ledger stopped because of a failure: {reason}")]
    Failed {
        /// What the engine said.
        reason: String,
    },
}

/// Why a transaction did not become final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No block may carry these bytes.
    #[error("the transaction is not valid: {0}")]
    Invalid(#[from] DecodeTransactionError),
    /// Too much waits already.
    #[error(
        "{transactions} transactions of {bytes} bytes wait for a block, at most \
         {POOL_TRANSACTIONS_MAX} of {POOL_BYTES_MAX} bytes may; try again soon"
    )]
    Full {
        /// Transactions waiting.
        transactions: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// Too much of this signer waits already.
    #[error(
        "as much as may of principal {} waits for a block, {POOL_PRINCIPAL_TRANSACTIONS_MAX} \
         transactions of {POOL_PRINCIPAL_BYTES_MAX} bytes; try again soon",
        principal.short()
    )]
    PrincipalFull {
        /// The signer.
        principal: Principal,
    },
    /// It can be in no later block.
    #[error("the transaction expired at height {expires_at}, the ledger is at {height}")]
    Expired {
        /// Last height at which it was good.
        expires_at: u64,
        /// Height of the last final block.
        height: u64,
    },
    /// This node took over the state of peers instead of executing the blocks that it missed, and
    /// one of them may have carried the transaction: look at the state.
    #[error(
        "it is not known whether the transaction became final: this node was far behind and went \
         on from the state at height {height}"
    )]
    Skipped {
        /// The height of that state.
        height: u64,
    },
    /// The ledger closed first. If a block carried the transaction, it may be final all the same:
    /// look at the state after the next start.
    #[error("it is not known whether the transaction became final: {reason}")]
    Stopped {
        /// Why.
        reason: Closed,
    },
}

/// Why a question about the ledger has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The ledger closed first.
    #[error("the ledger cannot be asked: {reason}")]
    Stopped {
        /// Why.
        reason: Closed,
    },
    /// What is on disk cannot be read.
    #[error("the ledger's files cannot be read: {reason}")]
    Storage {
        /// What the store said.
        reason: String,
    },
}

/// Why stopping did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShutdownError {
    /// The ledger had failed before, or failed while stopping.
    #[error("the ledger stopped because of a failure: {reason}")]
    Failed {
        /// What the engine said.
        reason: String,
    },
}
