//! What can be asked of a region, and the answers, here and on the wire. The order of variants and
//! fields is wire format.

use serde::{Deserialize, Serialize};
use types::{Digest, RegionRight};

/// Most bytes of one read or write: what one of a stream's frames carries.
pub const OPERATION_BYTES_MAX: u64 = 64 << 10;
/// Most bytes that are compared and swapped: a line of a processor's cache. More is better guarded
/// by a counter that is swapped.
pub const SWAP_BYTES_MAX: u64 = 64;

/// One operation on a region. Offsets count from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionOp {
    /// Reads bytes.
    Read {
        /// From here on.
        offset: u64,
        /// So many.
        bytes: u32,
    },
    /// Writes bytes.
    Write {
        /// From here on.
        offset: u64,
        /// These.
        bytes: Vec<u8>,
    },
    /// Writes bytes if those of before are as expected.
    Swap {
        /// From here on.
        offset: u64,
        /// What must be there.
        expected: Vec<u8>,
        /// What is then; as long.
        new: Vec<u8>,
    },
    /// Asks what the region takes and how long it lasts.
    Usage,
    /// Refuses a capability, and what is made of it, from now on.
    Revoke {
        /// Its id.
        capability: Digest,
    },
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionDone {
    /// What was read.
    Read(Vec<u8>),
    /// It is written.
    Written,
    /// It was as expected, and is new.
    Swapped,
    /// It was not as expected: this is there, and stays.
    Found(Vec<u8>),
    /// What there is.
    Usage(RegionUsage),
    /// The capability is revoked.
    Revoked,
}

/// What a region takes and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionUsage {
    /// Its size.
    pub bytes: u64,
    /// What of it is in memory: bytes that were never written are not.
    pub resident_bytes: u64,
    /// Operations that were asked of it, by whomever.
    pub operations: u64,
    /// How long its lease is certainly live, milliseconds.
    pub left_ms: u64,
}

/// An operation that was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegionError {
    /// The lease is over, or was given back.
    #[error("the lease of the region has ended: what it kept is gone")]
    Ended,
    /// The capability has expired.
    #[error("the capability has expired: ask for a new one")]
    Expired,
    /// The capability, or one that it was made of, was revoked.
    #[error("the capability was revoked")]
    Revoked,
    /// The capability does not give this right.
    #[error("the capability gives no right to {right}")]
    NotAllowed {
        /// Which one.
        right: RegionRight,
    },
    /// Other bytes than the capability gives.
    #[error("bytes {offset} to {offset} + {bytes} are asked for, {from} to {until} are allowed")]
    OutOfRange {
        /// The first that was asked for.
        offset: u64,
        /// How many.
        bytes: u64,
        /// The first that is allowed.
        from: u64,
        /// The first that is not any more.
        until: u64,
    },
    /// Too much at once.
    #[error("{bytes} bytes at once are more than {bytes_max}: split the operation")]
    TooLong {
        /// What was asked for.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// Nothing is compared, or with something of another length.
    #[error("{expected} bytes are compared with {new}: both must be as long, and not empty")]
    SwapLengths {
        /// Of what is expected.
        expected: u64,
        /// Of what is new.
        new: u64,
    },
    /// The machine has none left.
    #[error("the node has no memory left for what was leased")]
    NoMemory,
    /// Only the lease's holder revokes.
    #[error("only the holder of the lease revokes capabilities")]
    NotOwner,
    /// It would end itself: giving the lease back does that.
    #[error("the region's own capability is not revoked: give the region back")]
    RevokesItself,
    /// Too many already.
    #[error("as many capabilities of the region are revoked as can be: give it back")]
    TooManyRevoked,
}
