//! The hash tree of one artifact: what is kept of it beside the content, and how slices of content
//! are cut and checked against the digest. Knows no names of files.
//!
//! An outboard is the tree's hash pairs in pre-order, 64 bytes each, for chunk groups of 16 KiB:
//! `(groups - 1) * 64` bytes. It needs no signature: its root is the artifact's digest.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use bao_tree::blake3::Hash;
use bao_tree::io::sync::{self, DecodeResponseIter, Outboard, OutboardMut};
use bao_tree::io::{BaoContentItem, DecodeError, EncodeError};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges, TreeNode};
use types::Digest;

use crate::groups::{GROUP_BYTES, group_count};

/// Chunks of 1 KiB in a group, as a power of two: 16 KiB.
const GROUP_CHUNKS_LOG: u8 = 4;
const GROUP_CHUNKS: u64 = 1 << GROUP_CHUNKS_LOG;
const PAIR_BYTES: u64 = 64;

/// Most groups of one slice: 256 KiB are held in memory per slice that is read, sent or checked,
/// and the hashes on its way to the root are below one part in a hundred.
pub const SLICE_GROUPS_MAX: u64 = 16;

/// Longest encoded slice: the content, the pairs between its groups and those on the two ways from
/// its ends to the root, which is at most 64 levels up.
pub const SLICE_BYTES_MAX: usize = 16 * (16 << 10) + 64 * (16 + 2 * 64);

/// Largest artifact that is filled slice by slice: its bitmap of groups takes 2 MiB of memory.
pub const FILLED_BYTES_MAX: u64 = 256 << 30;

/// A slice that is not what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSliceError {
    /// Made of other content.
    #[error("the slice of groups {groups:?} does not belong to {digest}: its hashes differ")]
    Hash {
        /// The artifact that it was to be of.
        digest: Digest,
        /// What it was to hold.
        groups: Range<u64>,
    },
    /// Too short or too long.
    #[error(
        "the slice of groups {groups:?} of {digest} has {found} bytes, which is not its length"
    )]
    Length {
        /// The artifact that it was to be of.
        digest: Digest,
        /// What it was to hold.
        groups: Range<u64>,
        /// The bytes that came.
        found: usize,
    },
    /// No such groups, or too many at once.
    #[error(
        "groups {groups:?} are no slice of {bytes} bytes: a slice is 1 to 16 groups of 16 KiB of at most 256 GiB"
    )]
    Range {
        /// What it was to hold.
        groups: Range<u64>,
        /// The size that was claimed for the artifact.
        bytes: u64,
    },
}

/// The shape of the tree over `bytes` of content.
pub(crate) fn tree(bytes: u64) -> BaoTree {
    BaoTree::new(bytes, BlockSize::from_chunk_log(GROUP_CHUNKS_LOG))
}

/// Length of the outboard of an artifact of `bytes`.
pub(crate) const fn outboard_bytes(bytes: u64) -> u64 {
    (group_count(bytes) - 1) * PAIR_BYTES
}

pub(crate) const fn is_slice(groups: &Range<u64>, bytes: u64) -> bool {
    groups.start < groups.end
        && groups.end - groups.start <= SLICE_GROUPS_MAX
        && groups.end <= group_count(bytes)
}

/// The ranges of at most [`SLICE_GROUPS_MAX`] groups that make up `groups`.
pub fn slices_of(groups: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = groups.end;
    std::iter::successors(Some(groups.start), |at| at.checked_add(SLICE_GROUPS_MAX))
        .take_while(move |start| *start < end)
        .map(move |start| start..end.min(start.saturating_add(SLICE_GROUPS_MAX)))
}

fn chunks(groups: &Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum(groups.start * GROUP_CHUNKS)..ChunkNum(groups.end * GROUP_CHUNKS))
}

fn hash(digest: &Digest) -> Hash {
    Hash::from(*digest.as_bytes())
}

/// The hash pairs of one artifact in a file; none if the artifact is one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs<'a> {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) file: Option<&'a File>,
}

impl Outboard for Pairs<'_> {
    fn root(&self) -> Hash {
        hash(&self.digest)
    }

    fn tree(&self) -> BaoTree {
        tree(self.bytes)
    }

    fn load(&self, node: TreeNode) -> io::Result<Option<(Hash, Hash)>> {
        let Some(offset) = tree(self.bytes).pre_order_offset(node) else {
            return Ok(None);
        };
        let mut pair = [[0; 32]; 2];
        let read = self.file.map_or(Ok(()), |file| {
            file.read_exact_at(pair.as_flattened_mut(), offset * PAIR_BYTES)
        });
        match read {
            // Zeros never verify: what is cut off or not there counts as damaged.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => pair = [[0; 32]; 2],
            other => other?,
        }
        Ok(Some((Hash::from(pair[0]), Hash::from(pair[1]))))
    }
}

impl OutboardMut for Pairs<'_> {
    fn save(&mut self, node: TreeNode, pair: &(Hash, Hash)) -> io::Result<()> {
        let (Some(offset), Some(file)) = (tree(self.bytes).pre_order_offset(node), self.file)
        else {
            return Ok(());
        };
        let pair = [*pair.0.as_bytes(), *pair.1.as_bytes()];
        file.write_all_at(pair.as_flattened(), offset * PAIR_BYTES)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.map_or(Ok(()), File::sync_data)
    }
}

impl Pairs<'_> {
    /// Computes the pairs from `content` and writes them to the file; says whose digest that is.
    pub(crate) fn build(mut self, content: impl io::Read) -> io::Result<Digest> {
        let root = sync::outboard(content, tree(self.bytes), &mut self)?;
        Ok(Digest::from_bytes(*root.as_bytes()))
    }

    /// Appends the encoded slice of `groups` to `encoded`, checked on the way; false if content or
    /// pairs are damaged, and then nothing of the bad part was appended.
    pub(crate) fn encode(
        &self,
        content: &File,
        groups: &Range<u64>,
        encoded: &mut Vec<u8>,
    ) -> io::Result<bool> {
        match sync::encode_ranges_validated(content, self, &chunks(groups), encoded) {
            Ok(()) => Ok(true),
            Err(EncodeError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Err(error)
            }
            Err(_) => Ok(false),
        }
    }
}

/// A slice that was found to belong to its artifact.
#[derive(Debug)]
pub(crate) struct Verified {
    /// Where the content begins in the artifact, in bytes.
    pub(crate) offset: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) pairs: Vec<(TreeNode, (Hash, Hash))>,
}

/// Checks that `encoded` is exactly the slice of `groups` of the artifact `digest` of `bytes`.
pub(crate) fn verify(
    digest: Digest,
    bytes: u64,
    groups: &Range<u64>,
    encoded: &[u8],
) -> Result<Verified, BadSliceError> {
    if bytes > FILLED_BYTES_MAX || !is_slice(groups, bytes) {
        let groups = groups.clone();
        return Err(BadSliceError::Range { groups, bytes });
    }
    let length = || BadSliceError::Length {
        digest,
        groups: groups.clone(),
        found: encoded.len(),
    };
    if encoded.len() > SLICE_BYTES_MAX {
        return Err(length());
    }
    let offset = groups.start * GROUP_BYTES;
    let mut verified = Verified {
        offset,
        content: Vec::with_capacity(encoded.len()),
        pairs: Vec::new(),
    };
    let (wanted, mut rest) = (chunks(groups), encoded);
    for item in DecodeResponseIter::new(hash(&digest), tree(bytes), &mut rest, &wanted) {
        let item = item.map_err(|error| match error {
            DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => {
                BadSliceError::Hash {
                    digest,
                    groups: groups.clone(),
                }
            }
            _ => length(),
        })?;
        match item {
            BaoContentItem::Parent(parent) => verified.pairs.push((parent.node, parent.pair)),
            BaoContentItem::Leaf(leaf) => verified.content.extend_from_slice(&leaf.data),
        }
    }
    if rest.is_empty() {
        Ok(verified)
    } else {
        Err(length())
    }
}
