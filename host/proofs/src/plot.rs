//! Filler: what a node keeps where an asset is room and not content, so that room can be challenged.
//! Computes bytes; where they are written is the caller's.
//!
//! The plot of an asset is the extended output of BLAKE3 over
//! `"hypermesh/proofs/plot/1\0" | node (32) | asset (32)`, from its first byte on. It is another one
//! for each node and asset, so two nodes cannot share a copy, and every chunk of an answer is compared
//! with it, so nothing that packs better can be kept in its place.
//!
//! **What it does not prove.** Any byte of a plot can be computed when it is asked for, and all that an
//! answer shows in 50 us (the bench measures it), less than a disk needs to seek. A node that keeps only the outboard, 0.4 % of the size, answers as fast
//! as one that keeps everything: the deadline is the only obstacle, and a deadline in blocks is none
//! for 32 chunks. So filler proves that this node has spent the hashing of the whole plot, can still
//! answer for it, and counts it for one asset only. It does not prove that a disk is full. Who must
//! know that has the node keep content that it cannot compute: see [`Content::Kept`](crate::Content).

use std::io;

use blake3::{Hasher, OutputReader};
use types::{Digest, NodeId};

use crate::tree::ReadAt;

const DOMAIN: &[u8] = b"hypermesh/proofs/plot/1\0";

/// The filler of one node for one asset. Reading it computes it.
#[derive(Debug, Clone)]
pub struct Plot(OutputReader);

impl Plot {
    /// The plot of `node` for `asset`.
    #[must_use]
    pub fn new(node: &NodeId, asset: &Digest) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(DOMAIN);
        hasher.update(node.as_bytes());
        hasher.update(asset.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// Its first chunk.
    pub(crate) fn first_chunk(&self) -> [u8; blake3::CHUNK_LEN] {
        let mut chunk = [0; blake3::CHUNK_LEN];
        self.0.clone().fill(&mut chunk);
        chunk
    }
}

impl ReadAt for Plot {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut output = self.0.clone();
        output.set_position(offset);
        output.fill(into);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(node: u8, asset: u8, offset: u64) -> [u8; 32] {
        let plot = Plot::new(
            &NodeId::from_bytes([node; 32]),
            &Digest::from_bytes([asset; 32]),
        );
        let mut bytes = [0; 32];
        plot.read_exact_at(offset, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_node_and_every_asset_has_its_own() {
        assert_ne!(first(1, 1, 0), first(2, 1, 0));
        assert_ne!(first(1, 1, 0), first(1, 2, 0));
        assert_ne!(first(1, 1, 0), first(1, 1, 32));
        assert_eq!(first(1, 1, 1)[..31], first(1, 1, 0)[1..]);
    }
}
