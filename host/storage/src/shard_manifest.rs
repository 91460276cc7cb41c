//! What the shards of an artifact are: which there are, of what, and how long. Knows no files.
//!
//! A manifest is an artifact itself: `HMSHARD1`, the digest of the whole, its size as eight bytes
//! (little endian), the digests of the fourteen shards in order. 496 bytes, one form per manifest.

use types::Digest;

/// Shards of an artifact.
pub const SHARDS: usize = 14;

/// Shards that it takes to have the artifact again: any ten of the fourteen.
pub const SHARDS_NEEDED: usize = 10;

/// Bytes of one shard that are coded together with those of the others. Ten of them and their four
/// recovery pieces are in memory at once: less than a megabyte, whatever the artifact.
pub const SHARD_PIECE_BYTES: u64 = 64 << 10;

/// Pieces are multiples of this: what the coder's blocks are.
const PIECE_ALIGNMENT_BYTES: u64 = 64;

const MAGIC: &[u8; 8] = b"HMSHARD1";
const MANIFEST_BYTES: usize = 8 + Digest::BYTES + 8 + SHARDS * Digest::BYTES;

/// The shards of one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardManifest {
    /// The artifact.
    pub whole: Digest,
    /// Its size.
    pub bytes: u64,
    /// The shards: the first ten hold the artifact's bytes, the rest what makes up for lost ones.
    pub shards: [Digest; SHARDS],
}

/// Bytes that are no manifest of shards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "these {bytes} bytes are no manifest of shards: one has {MANIFEST_BYTES} bytes and begins with HMSHARD1"
)]
pub struct DecodeManifestError {
    bytes: usize,
}

impl ShardManifest {
    /// The bytes of the manifest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(MANIFEST_BYTES);
        encoded.extend_from_slice(MAGIC);
        encoded.extend_from_slice(self.whole.as_bytes());
        encoded.extend_from_slice(&self.bytes.to_le_bytes());
        for shard in &self.shards {
            encoded.extend_from_slice(shard.as_bytes());
        }
        encoded
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeManifestError`] if `encoded` is anything else.
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeManifestError> {
        Self::parse(encoded).ok_or(DecodeManifestError {
            bytes: encoded.len(),
        })
    }

    fn parse(encoded: &[u8]) -> Option<Self> {
        let rest = encoded.strip_prefix(MAGIC)?;
        let (whole, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let (shards, rest) = rest.as_chunks::<{ Digest::BYTES }>();
        if !rest.is_empty() {
            return None;
        }
        let shards: [[u8; Digest::BYTES]; SHARDS] = shards.try_into().ok()?;
        Some(Self {
            whole: Digest::from_bytes(*whole),
            bytes: u64::from_le_bytes(*bytes),
            shards: shards.map(Digest::from_bytes),
        })
    }

    /// Size of each shard.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        let needed = SHARDS_NEEDED as u64;
        let (full, rest) = (
            self.bytes / (SHARD_PIECE_BYTES * needed),
            self.bytes % (SHARD_PIECE_BYTES * needed),
        );
        let last = if rest > 0 || full == 0 {
            piece_bytes(rest)
        } else {
            0
        };
        full * SHARD_PIECE_BYTES + last
    }
}

/// How long the pieces of a stripe of `bytes` are.
fn piece_bytes(bytes: u64) -> u64 {
    let bytes = bytes.div_ceil(SHARDS_NEEDED as u64).max(1);
    bytes.next_multiple_of(PIECE_ALIGNMENT_BYTES)
}

/// Ten pieces side by side, in the order of the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stripe {
    /// Where it begins in the artifact.
    pub(crate) offset: u64,
    /// How many of the artifact's bytes it holds; zeros follow.
    pub(crate) bytes: u64,
    /// Where its pieces begin in their shards.
    pub(crate) piece_offset: u64,
    /// How long each of them is.
    pub(crate) piece_bytes: u64,
}

/// The stripes of an artifact. The empty one has one, so that there are shards to hold.
#[derive(Debug)]
pub(crate) struct Stripes {
    bytes: u64,
    next: Option<u64>,
}

impl Stripes {
    pub(crate) const fn new(bytes: u64) -> Self {
        let next = Some(0);
        Self { bytes, next }
    }
}

impl Iterator for Stripes {
    type Item = Stripe;

    fn next(&mut self) -> Option<Stripe> {
        let needed = SHARDS_NEEDED as u64;
        let number = self.next?;
        let offset = number.checked_mul(SHARD_PIECE_BYTES * needed)?;
        let bytes = self
            .bytes
            .checked_sub(offset)?
            .min(SHARD_PIECE_BYTES * needed);
        let after = offset.checked_add(bytes)?;
        self.next = (after < self.bytes).then_some(number + 1);
        Some(Stripe {
            offset,
            bytes,
            piece_offset: number * SHARD_PIECE_BYTES,
            piece_bytes: piece_bytes(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> ShardManifest {
        ShardManifest {
            whole: Digest::of(b"whole"),
            bytes: 0x0102_0304,
            shards: std::array::from_fn(|index| Digest::of(&[u8::try_from(index).unwrap()])),
        }
    }

    #[test]
    fn the_bytes_of_a_manifest_are_pinned() {
        let encoded = manifest().encode();
        assert_eq!(encoded.len(), 496);
        let head = [
            b"HMSHARD1".as_slice(),
            Digest::of(b"whole").as_bytes(),
            &[4, 3, 2, 1, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(encoded[..48], head);
        assert_eq!(encoded[48..80], *Digest::of(&[0]).as_bytes());
        assert_eq!(encoded[464..], *Digest::of(&[13]).as_bytes());
        assert_eq!(ShardManifest::decode(&encoded), Ok(manifest()));
    }

    proptest! {
        #[test]
        fn what_decodes_is_what_was_encoded(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), valid in any::<bool>(), at in any::<prop::sample::Index>()) {
            if valid {
                let encoded = manifest().encode();
                let length = at.index(encoded.len() + 3);
                bytes = encoded.into_iter().chain(bytes).take(length).collect();
            }
            if let Ok(decoded) = ShardManifest::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
                prop_assert!(decoded.shard_bytes() > 0);
            }
        }

        #[test]
        fn stripes_cover_the_artifact_once(bytes in prop_oneof![0..3_000_000_u64, (0..5_u64).prop_map(|n| n * 655_360)]) {
            let (mut at, mut piece_at) = (0, 0);
            for stripe in Stripes::new(bytes) {
                prop_assert_eq!((stripe.offset, stripe.piece_offset), (at, piece_at));
                prop_assert!(stripe.piece_bytes % 64 == 0 && stripe.piece_bytes <= SHARD_PIECE_BYTES);
                prop_assert!(stripe.piece_bytes * 10 >= stripe.bytes && stripe.piece_bytes > 0);
                at += stripe.bytes;
                piece_at += stripe.piece_bytes;
            }
            let whole = ShardManifest { bytes, ..manifest() };
            prop_assert_eq!((at, piece_at), (bytes, whole.shard_bytes()));
        }
    }

    #[test]
    fn the_end_of_the_numbers_is_no_panic() {
        let mut stripes = Stripes {
            bytes: u64::MAX,
            next: Some(u64::MAX / 655_360),
        };
        let last = stripes.next().unwrap();
        assert_eq!(last.offset + last.bytes, u64::MAX);
        assert_eq!(stripes.next(), None);
    }
}
