//! Seals: what makes a piece unreadable to the member that keeps it, and a change of it noticed. Knows
//! who may have the key no more than who has.
//!
//! Each piece has a key of its own, derived from the volume's key, the layout, the block, the version and
//! the place of the member. So a piece opens only where and as what it was written: one that was altered,
//! moved to another block or member, or shown as another version does not. An older version of a piece
//! that is shown as such does open; that a quorum is asked is what meets this.
//!
//! A sealed piece is 12 random bytes, the same for all pieces of one write, then AES-256-GCM of the piece
//! under them, then its tag of 16 bytes. Pieces whose first 12 bytes differ are not of one write.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize as _, Zeroizing};

use super::layout::{BLOCK_BYTES, Layout};
use super::member::{BlockKey, PIECE_BYTES_MAX, Version};

/// Bytes that a seal adds to a piece.
pub const SEAL_BYTES: usize = NONCE_LEN + MAX_TAG_LEN;
const _: () = assert!(BLOCK_BYTES + SEAL_BYTES <= PIECE_BYTES_MAX);

/// What keys of pieces are derived for, and nothing else.
const CONTEXT: &str = "hypermesh 2026-12 volume: keys of pieces";

/// What the holders of a volume share and its members do not have. Wiped when it is dropped.
#[derive(Clone)]
pub struct VolumeKey(Zeroizing<[u8; 32]>);

/// What one write puts before each of its pieces.
pub(super) type Salt = [u8; NONCE_LEN];

/// Which piece: what its key is derived from.
#[derive(Debug, Clone, Copy)]
pub(super) struct PieceName {
    pub(super) layout: Layout,
    pub(super) key: BlockKey,
    pub(super) version: Version,
    /// The place of the member.
    pub(super) index: usize,
}

impl std::fmt::Debug for VolumeKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("VolumeKey(..)")
    }
}

impl VolumeKey {
    /// A new one.
    ///
    /// # Errors
    /// What the system says if it has no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// The one that has these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes: whoever has them reads and alters the volume.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A volume's key, ready to seal and open.
#[derive(Debug)]
pub(super) struct Seal {
    derived: VolumeKey,
}

impl Seal {
    pub(super) fn new(key: &VolumeKey) -> Self {
        let derived = blake3::derive_key(CONTEXT, key.as_bytes());
        Self {
            derived: VolumeKey::from_bytes(derived),
        }
    }

    fn key(&self, name: &PieceName) -> LessSafeKey {
        let (data, total) = name.layout.into();
        let index = u8::try_from(name.index).unwrap_or(u8::MAX);
        let mut input = [data, total, index, 0, 0, 0, 0, 0].to_vec();
        let PieceName { key, version, .. } = name;
        for number in [key.file, key.block, version.epoch, version.count] {
            input.extend(number.to_le_bytes());
        }
        let mut piece_key = *blake3::keyed_hash(self.derived.as_bytes(), &input).as_bytes();
        let unbound = UnboundKey::new(&AES_256_GCM, &piece_key).expect(KEY_LENGTH);
        piece_key.zeroize();
        LessSafeKey::new(unbound)
    }

    /// The piece as its member gets it.
    pub(super) fn seal(&self, name: &PieceName, salt: Salt, piece: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(piece.len() + SEAL_BYTES);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(piece);
        let (_, plain) = sealed.split_at_mut(NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(salt);
        let key = self.key(name);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), plain);
        sealed.extend_from_slice(tag.expect(PIECE_LENGTH).as_ref());
        sealed
    }

    /// The piece that a member gave, and the salt of its write; none if it is not what was sealed under
    /// this name.
    pub(super) fn open(&self, name: &PieceName, mut sealed: Vec<u8>) -> Option<(Salt, Vec<u8>)> {
        if sealed.len() > PIECE_BYTES_MAX {
            return None;
        }
        let (salt, rest) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let salt = *salt;
        let nonce = Nonce::assume_unique_for_key(salt);
        let opened = self.key(name).open_in_place(nonce, Aad::empty(), rest);
        let bytes = opened.ok()?.len();
        sealed.drain(..NONCE_LEN);
        sealed.truncate(bytes);
        Some((salt, sealed))
    }
}

/// Why no key is refused.
const KEY_LENGTH: &str = "AES-256 takes every key of 32 bytes";
/// Why no piece is refused.
const PIECE_LENGTH: &str = "a piece is far below what GCM seals under one key";

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> PieceName {
        PieceName {
            layout: Layout::SHARDED,
            key: BlockKey { file: 1, block: 2 },
            version: Version { epoch: 3, count: 4 },
            index: 5,
        }
    }

    fn seal() -> Seal {
        Seal::new(&VolumeKey::from_bytes([7; 32]))
    }

    #[test]
    fn bytes_are_pinned() {
        let sealed = seal().seal(&name(), [9; 12], b"piece");
        assert_eq!(sealed.len(), 5 + SEAL_BYTES);
        assert_eq!(sealed[..12], [9; 12]);
        assert_eq!(blake3::hash(&sealed).to_string(), PINNED);
        assert_eq!(
            seal().open(&name(), sealed),
            Some(([9; 12], b"piece".to_vec()))
        );
    }

    const PINNED: &str = "3fae7e057b6e46386b0ce8cd0e185cf26800e23ba9035d708999cbe15cb3222d";

    #[test]
    fn a_piece_opens_only_as_what_it_was_written() {
        let sealed = seal().seal(&name(), [9; 12], b"piece");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(seal().open(&name(), altered), None, "byte {at}");
            assert_eq!(
                seal().open(&name(), sealed[..at].to_vec()),
                None,
                "{at} bytes"
            );
        }
        let mut others = [name(); 7];
        others[0].layout = Layout::SINGLE;
        others[1].key.file += 1;
        others[2].key.block += 1;
        others[3].version.epoch += 1;
        others[4].version.count += 1;
        others[5].index += 1;
        for other in &others[..6] {
            assert_eq!(seal().open(other, sealed.clone()), None, "{other:?}");
        }
        let stranger = Seal::new(&VolumeKey::from_bytes([8; 32]));
        assert_eq!(stranger.open(&name(), sealed.clone()), None);
        assert!(seal().open(&others[6], sealed).is_some());
    }
}
