//! The BLAKE3 tree over data that a node must keep: building it, and the way from one chunk to the
//! root. Reads through [`ReadAt`] only: whose data it is and where it lies is known elsewhere.
//!
//! The tree is BLAKE3's own, so a root is the digest of the content. What is kept beside the content
//! is the outboard as `storage` keeps it for artifacts: hash pairs of 64 bytes in pre-order over
//! groups of 16 KiB, `(groups - 1) * 64` bytes. What is below a group is hashed when it is asked for.

use std::io;

use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root,
    merge_subtrees_root,
};
use types::Digest;

/// What a challenge asks for: a chunk of BLAKE3.
pub const CHUNK_BYTES: u64 = 1 << 10;
/// What one pair of the outboard leads to at least.
pub const GROUP_BYTES: u64 = 16 << 10;
const PAIR_BYTES: u64 = 64;

/// Bytes that can be read at any place; the caller's file, volume or memory.
pub trait ReadAt {
    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Whatever the medium reports; [`io::ErrorKind::UnexpectedEof`] if there are fewer.
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let wanted = start
            .and_then(|start| self.get(start..))
            .and_then(|rest| rest.get(..into.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(wanted);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, into)
    }
}

const fn groups(bytes: u64) -> u64 {
    bytes.div_ceil(GROUP_BYTES)
}

/// Length of the outboard of `bytes` of content.
#[must_use]
pub const fn outboard_bytes(bytes: u64) -> u64 {
    groups(bytes).saturating_sub(1) * PAIR_BYTES
}

fn below_root(content: &[u8], offset: u64) -> ChainingValue {
    blake3::Hasher::new()
        .set_input_offset(offset)
        .update(content)
        .finalize_non_root()
}

/// Reads `len` bytes, at most a group.
fn part(data: &impl ReadAt, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len.min(GROUP_BYTES)).unwrap_or_default();
    let mut content = vec![0; len];
    data.read_exact_at(offset, &mut content)?;
    Ok(content)
}

/// Hashes the first `bytes` of `data`, hands each pair of the outboard with its offset to `save`, and
/// says the root.
///
/// # Errors
/// What `data` or `save` report.
pub fn build_tree(
    data: &impl ReadAt,
    bytes: u64,
    save: &mut impl FnMut(u64, &[u8; 64]) -> io::Result<()>,
) -> io::Result<Digest> {
    if bytes <= GROUP_BYTES {
        return Ok(Digest::of(&part(data, 0, bytes)?));
    }
    let (left, right) = children(data, 0, bytes, 0, save)?;
    let root = merge_subtrees_root(&left, &right, Mode::Hash);
    Ok(Digest::from_bytes(*root.as_bytes()))
}

/// Recursion is as deep as the tree: at most 50 levels.
fn subtree(
    data: &impl ReadAt,
    start: u64,
    len: u64,
    place: u64,
    save: &mut impl FnMut(u64, &[u8; 64]) -> io::Result<()>,
) -> io::Result<ChainingValue> {
    if len <= GROUP_BYTES {
        return Ok(below_root(&part(data, start, len)?, start));
    }
    let (left, right) = children(data, start, len, place, save)?;
    Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
}

fn children(
    data: &impl ReadAt,
    start: u64,
    len: u64,
    place: u64,
    save: &mut impl FnMut(u64, &[u8; 64]) -> io::Result<()>,
) -> io::Result<(ChainingValue, ChainingValue)> {
    let left_len = left_subtree_len(len);
    let left = subtree(data, start, left_len, place + 1, save)?;
    let right_place = place + groups(left_len);
    let right = subtree(data, start + left_len, len - left_len, right_place, save)?;
    let mut pair = [0; 64];
    pair.as_chunks_mut::<32>().0.copy_from_slice(&[left, right]);
    save(place * PAIR_BYTES, &pair)?;
    Ok((left, right))
}

/// One chunk and the hashes beside its way from the root, the root's child first.
pub(crate) fn chunk_with_way(
    data: &impl ReadAt,
    outboard: &impl ReadAt,
    bytes: u64,
    chunk: u64,
) -> io::Result<(Vec<u8>, Vec<[u8; 32]>)> {
    let at = chunk.saturating_mul(CHUNK_BYTES);
    let (mut start, mut len, mut place) = (0, bytes, 0);
    let mut way = Vec::new();
    while len > GROUP_BYTES {
        let mut pair = [[0; 32]; 2];
        outboard.read_exact_at(place * PAIR_BYTES, pair.as_flattened_mut())?;
        let left = left_subtree_len(len);
        if at < start + left {
            way.push(pair[1]);
            (len, place) = (left, place + 1);
        } else {
            way.push(pair[0]);
            (start, len, place) = (start + left, len - left, place + groups(left));
        }
    }
    let group = part(data, start, len)?;
    let mut content = group.as_slice();
    while content.len() as u64 > CHUNK_BYTES {
        let left = left_subtree_len(content.len() as u64);
        let (first, second) = content.split_at(usize::try_from(left).unwrap_or_default());
        if at < start + left {
            way.push(below_root(second, start + left));
            content = first;
        } else {
            way.push(below_root(first, start));
            (start, content) = (start + left, second);
        }
    }
    Ok((content.to_vec(), way))
}

/// The root that `content` as chunk number `chunk` of `bytes` leads to along `way`; none if chunk or
/// way do not have the lengths that they have in such a tree.
pub(crate) fn root_of(bytes: u64, chunk: u64, content: &[u8], way: &[[u8; 32]]) -> Option<Digest> {
    let at = chunk.checked_mul(CHUNK_BYTES).filter(|at| *at < bytes)?;
    let (mut start, mut len) = (0, bytes);
    let mut is_left = Vec::new();
    while len > CHUNK_BYTES {
        let left = left_subtree_len(len);
        is_left.push(at < start + left);
        if at < start + left {
            len = left;
        } else {
            (start, len) = (start + left, len - left);
        }
    }
    if content.len() as u64 != len || way.len() != is_left.len() {
        return None;
    }
    let Some((top, below)) = way.split_first() else {
        return Some(Digest::of(content));
    };
    let (top_is_left, below_is_left) = is_left.split_first()?;
    let mut value = below_root(content, start);
    for (beside, is_left) in below.iter().zip(below_is_left).rev() {
        let (left, right) = ordered(&value, beside, *is_left);
        value = merge_subtrees_non_root(left, right, Mode::Hash);
    }
    let (left, right) = ordered(&value, top, *top_is_left);
    let root = merge_subtrees_root(left, right, Mode::Hash);
    Some(Digest::from_bytes(*root.as_bytes()))
}

const fn ordered<'a>(
    value: &'a ChainingValue,
    beside: &'a ChainingValue,
    is_left: bool,
) -> (&'a ChainingValue, &'a ChainingValue) {
    if is_left {
        (value, beside)
    } else {
        (beside, value)
    }
}

#[cfg(test)]
mod tests {
    use bao_tree::BlockSize;
    use bao_tree::io::outboard::PreOrderMemOutboard;

    use super::*;

    fn content(bytes: u64) -> Vec<u8> {
        let mut content = vec![0; usize::try_from(bytes).unwrap()];
        blake3::Hasher::new().finalize_xof().fill(&mut content);
        content
    }

    fn built(data: &Vec<u8>) -> (Digest, Vec<u8>) {
        let bytes = data.len() as u64;
        let mut outboard = vec![0; usize::try_from(outboard_bytes(bytes)).unwrap()];
        let mut save = |offset: u64, pair: &[u8; 64]| {
            let offset = usize::try_from(offset).unwrap();
            outboard[offset..offset + 64].copy_from_slice(pair);
            Ok(())
        };
        (build_tree(data, bytes, &mut save).unwrap(), outboard)
    }

    const SIZES: &[u64] = &[
        1, 1023, 1024, 1025, 2048, 2049, 16_383, 16_384, 16_385, 17_409, 49_153, 65_536, 200_001,
    ];

    #[test]
    fn root_is_the_digest_and_the_outboard_is_that_of_storage() {
        for bytes in SIZES {
            let data = content(*bytes);
            let (root, outboard) = built(&data);
            assert_eq!(root, Digest::of(&data), "{bytes}");
            let theirs = PreOrderMemOutboard::create(&data, BlockSize::from_chunk_log(4));
            assert_eq!(outboard, theirs.data, "{bytes}");
        }
    }

    #[test]
    fn every_chunk_leads_to_the_root_and_to_no_other_place() {
        for bytes in SIZES {
            let data = content(*bytes);
            let (root, outboard) = built(&data);
            for chunk in 0..bytes.div_ceil(CHUNK_BYTES) {
                let (content, way) = chunk_with_way(&data, &outboard, *bytes, chunk).unwrap();
                assert_eq!(
                    root_of(*bytes, chunk, &content, &way),
                    Some(root),
                    "{bytes}"
                );
                assert_ne!(root_of(*bytes, chunk + 1, &content, &way), Some(root));
                // Only the last chunk tells the length of the whole.
                let is_last = (chunk + 1) * CHUNK_BYTES >= *bytes;
                for other in [
                    bytes + 1,
                    bytes.saturating_sub(1),
                    2 * bytes,
                    bytes + (16 << 10),
                ] {
                    let last = (other.max(1) - 1) / CHUNK_BYTES;
                    let root_there = root_of(other, last, &content, &way);
                    assert!(!is_last || root_there != Some(root), "{other} for {bytes}");
                }
                let mut other = content.clone();
                other[0] ^= 1;
                assert_ne!(root_of(*bytes, chunk, &other, &way), Some(root));
            }
        }
    }
}
