//! What is not done with a volume, and why.

use super::member::{BlockKey, MemberError};

/// A volume that was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenVolumeError {
    /// Not as many places as the layout has.
    #[error("the layout has {wanted} members, {given} were given")]
    Seats {
        /// What it has.
        wanted: usize,
        /// What there are.
        given: usize,
    },
    /// Too few members let it begin.
    #[error("{answered} of {total} members answered, a writer needs {needed}; one said: {last}")]
    TooFew {
        /// How many did.
        answered: usize,
        /// How many must.
        needed: usize,
        /// How many there are.
        total: usize,
        /// What the last of the others said.
        last: MemberError,
    },
    /// Others begin to write all the time.
    #[error("other writers begin at the same time: have one write")]
    Contended,
}

/// A block that was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadVolumeError {
    /// What was written last is not known of those who answer, or cannot be made of their pieces.
    #[error(
        "block {} of file {} cannot be read: {answered} of {total} members answered, {holders} with the last write, {needed} are needed",
        .key.block, .key.file
    )]
    TooFew {
        /// The block.
        key: BlockKey,
        /// Members that answered wholly.
        answered: usize,
        /// Members that have the write in question.
        holders: usize,
        /// How many must.
        needed: usize,
        /// How many there are.
        total: usize,
    },
    /// The pieces of a write that is there do not make a block: whoever wrote it had the key and lied.
    #[error("the pieces of block {} of file {} do not make a block", .0.block, .0.file)]
    Malformed(BlockKey),
    /// Beyond what offsets can say.
    #[error("{bytes} bytes from {offset} on end beyond what a volume has")]
    OutOfRange {
        /// The first.
        offset: u64,
        /// How many.
        bytes: usize,
    },
    /// More at once than is held in memory.
    #[error("{bytes} bytes at once are more than {bytes_max}: split the operation")]
    TooLong {
        /// What was asked for.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// Something that was not written, flushed or removed. A block is as before, or wholly as wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteVolumeError {
    /// It was opened to read.
    #[error("the volume was opened to read: open it to write")]
    NotWriter,
    /// Another writer began: this one writes no more.
    #[error("another writer began with epoch {fenced}: this one writes no more")]
    Fenced {
        /// Its epoch.
        fenced: u64,
    },
    /// Too few members have it.
    #[error("{done} of {total} members did it, {needed} must; one said: {last}")]
    TooFew {
        /// How many did.
        done: usize,
        /// How many must.
        needed: usize,
        /// How many there are.
        total: usize,
        /// What the last of the others said.
        last: MemberError,
    },
    /// Blocks that were not flushed were lost with members: their last writes are undone.
    #[error("members lost the last writes of {blocks} blocks before they were flushed")]
    Undone {
        /// How many.
        blocks: usize,
    },
    /// Members lose it as often as it is written.
    #[error("members lost what they had not flushed {rounds} times in a row: replace them")]
    Unsteady {
        /// How often it was tried.
        rounds: usize,
    },
    /// What is there must be read first, and cannot.
    #[error(transparent)]
    Read(#[from] ReadVolumeError),
    /// The system has no randomness.
    #[error("the system gives no randomness: nothing can be sealed")]
    Entropy,
}
