//! The beacon: what a final block is worth as chance. Knows blocks by their digests only.

use types::Digest;

/// Keeps beacons apart from every other use of a block's digest.
const DOMAIN: &[u8] = b"hypermesh/beacon/1\0";

/// The value that nobody knew before the block of this digest was final.
///
/// A leader sees it before it proposes, can try blocks that differ in order or time, and can let its
/// round pass: use it where a validator gains little by choosing once.
#[must_use]
pub fn beacon_of(block: &Digest) -> Digest {
    Digest::of(&[DOMAIN, block.as_bytes()].concat())
}
