//! What can be asked of one member of a volume: pieces of blocks, each under a version, and who may
//! write. A member sees sealed bytes and neither what they are nor how many members there are. The order
//! of variants and fields is wire format.
//!
//! A member keeps at most two versions of a piece: the one that a write says to keep and the one that
//! it brings. So a write that reaches too few members loses nothing. A write that comes late, below the
//! greatest version that is there, changes nothing.
//!
//! Writers are told apart by epochs. One that begins fences a higher one at its members; from then on
//! they refuse writes of lower ones. Of a member that is flushed nothing is lost, also if it loses power;
//! what was not flushed may be lost, from some write on.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use types::RegionRight;

/// Longest piece: a block of 64 KiB, sealed.
pub const PIECE_BYTES_MAX: usize = (64 << 10) + 64;
/// Keys of one question for versions.
pub const KEYS_MAX: usize = 256;
/// Keys of one answer that lists.
pub const LISTED_MAX: usize = 256;

/// Which block a piece is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockKey {
    /// Of which file; what is in which file is up to who writes.
    pub file: u64,
    /// Which block of it.
    pub block: u64,
}

/// When a piece was written. Later ones are greater, and no two writes have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Of its writer.
    pub epoch: u64,
    /// Of its writer's writes, which one.
    pub count: u64,
}

/// One thing that is asked of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberOp {
    /// Asks for the highest epoch that was fenced; 0 before any.
    Epoch,
    /// Refuses writes of lower epochs from now on. Must be higher than all before; durable when answered.
    Fence {
        /// The epoch.
        epoch: u64,
    },
    /// Asks which versions there are of these blocks' pieces, at most [`KEYS_MAX`].
    Versions {
        /// The blocks.
        keys: Vec<BlockKey>,
    },
    /// Reads a piece: of this version, or of the greatest.
    Read {
        /// Of which block.
        key: BlockKey,
        /// Which version.
        version: Option<Version>,
    },
    /// Keeps this piece and the one of version `keep`, and no other of the block. Writing again what
    /// is there changes nothing.
    Write {
        /// Of the writer: the one that was fenced last, or the write is refused.
        epoch: u64,
        /// Of which block.
        key: BlockKey,
        /// As which version.
        version: Version,
        /// Which one is kept beside it.
        keep: Option<Version>,
        /// The piece, at most [`PIECE_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// Forgets all pieces of a file.
    Remove {
        /// Of the writer, as with a write.
        epoch: u64,
        /// Of which file.
        file: u64,
    },
    /// Lists pieces in the order of their keys, at most [`LISTED_MAX`] blocks.
    List {
        /// Those after this one; from the first without.
        after: Option<BlockKey>,
    },
    /// Makes durable what was written.
    Flush,
    /// Forgets of these blocks, at most [`KEYS_MAX`], the versions below those that are named, where
    /// they are there: their writes are settled.
    Settle {
        /// Of the writer, as with a write.
        epoch: u64,
        /// The blocks, and which version is settled.
        pieces: Vec<(BlockKey, Version)>,
    },
    /// Asks what is taken and how long it lasts.
    Usage,
}

impl MemberOp {
    /// The right that it needs, if any.
    #[must_use]
    pub const fn right(&self) -> Option<RegionRight> {
        match self {
            Self::Usage => None,
            Self::Epoch | Self::Versions { .. } | Self::Read { .. } | Self::List { .. } => {
                Some(RegionRight::Read)
            }
            Self::Fence { .. }
            | Self::Write { .. }
            | Self::Remove { .. }
            | Self::Flush
            | Self::Settle { .. } => Some(RegionRight::Write),
        }
    }
}

/// What a member did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberDone {
    /// The highest epoch that was fenced.
    Epoch(u64),
    /// The versions of each key that was asked for, in that order, ascending; at most two each.
    Versions(Vec<Vec<Version>>),
    /// A piece, or none that is as wanted.
    Read(Option<(Version, Vec<u8>)>),
    /// It is done.
    Done,
    /// Blocks and the versions there are of them.
    Listed(Vec<Listed>),
    /// What there is.
    Usage(MemberUsage),
}

/// A block of which there are pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which one.
    pub key: BlockKey,
    /// The versions, ascending; one or two.
    pub versions: Vec<Version>,
}

/// What a member's part of a volume takes and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberUsage {
    /// What was leased.
    pub bytes: u64,
    /// What of it is taken.
    pub used_bytes: u64,
    /// How long its lease is certainly live, milliseconds.
    pub left_ms: u64,
}

/// What a member did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MemberError {
    /// The lease is over, or was given back.
    #[error("the lease of the volume has ended: what it kept is gone")]
    Ended,
    /// Another writer began.
    #[error("another writer began: its epoch {fenced} is not below this one's")]
    Fenced {
        /// The epoch that was fenced.
        fenced: u64,
    },
    /// No room for it. What was there is still there.
    #[error("{wanted_bytes} bytes more would exceed the {bytes} that are leased")]
    Full {
        /// What it would take.
        wanted_bytes: u64,
        /// What was leased.
        bytes: u64,
    },
    /// The capability does not give it.
    #[error("denied: {0}")]
    Denied(String),
    /// More than a bound allows.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The disk of the member failed.
    #[error("the disk of the member failed: {0}")]
    Disk(String),
    /// There was no answer: what was asked may have been done, and then wholly.
    #[error("the member is gone: {0}")]
    Lost(String),
}

/// The answer of a member, when it comes.
pub type MemberAsked<'a> =
    Pin<Box<dyn Future<Output = Result<MemberDone, MemberError>> + Send + 'a>>;

/// One place that keeps pieces of a volume. Several questions may be under way; two on one block are
/// answered in the order in which they were asked.
pub trait Member: Debug + Send + Sync {
    /// Asks; what is dropped may be done all the same.
    fn ask(&self, operation: MemberOp) -> MemberAsked<'_>;
}
