//! Why a replica cannot start. Knows nothing of how it does.

use std::path::PathBuf;

use types::{ByteSize, ComponentKind, LimitsError};

use crate::engine::Profile;
use crate::errors::CallError;
use crate::imports::ImportRefusal;
use crate::lifecycle::StateError;

/// A replica that cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartReplicaError {
    /// A limit out of range.
    #[error("{0}")]
    Limits(LimitsError),
    /// More memory than a slot of this node's pool has.
    #[error("limits.memory is {limit}: instances of this node have at most {max}")]
    MemoryAbovePool {
        /// `limits.memory`.
        limit: ByteSize,
        /// The node's setting.
        max: ByteSize,
    },
    /// More memories or tables than the node's pool has in all.
    #[error("an instance takes {needed} slots of a pool of {available}: raise the pool's size")]
    PoolTooSmall {
        /// Slots per instance.
        needed: u32,
        /// Slots of the node.
        available: u32,
    },
    /// Compiled for other limits.
    #[error("compiled for {found:?}: these limits need {needed:?}")]
    Profile {
        /// How it was compiled.
        found: Profile,
        /// What the limits need.
        needed: Profile,
    },
    /// The binary is not what it was admitted as.
    #[error("admitted as a {admitted} component, but the binary exports a {found} component")]
    Kind {
        /// What the ledger says.
        admitted: ComponentKind,
        /// What the binary says.
        found: ComponentKind,
    },
    /// Imports that are not offered or not granted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Imports(Vec<ImportRefusal>),
    /// A directory that cannot be opened.
    #[error("directory {} for the guest's {guest_path}: {reason}", host_dir.display())]
    Preopen {
        /// On this machine.
        host_dir: PathBuf,
        /// In the guest.
        guest_path: String,
        /// What the system says.
        reason: String,
    },
    /// The types of an import or export are not those of the interface.
    #[error("cannot be linked: {reason}")]
    Link {
        /// What the linker says.
        reason: String,
    },
    /// The trial instantiation failed: a trap in a start function, a memory above the limit.
    #[error("cannot be instantiated: {0}")]
    Instantiate(CallError),
    /// Its state cannot be kept.
    #[error("{0}")]
    State(StateError),
}
