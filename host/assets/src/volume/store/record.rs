//! The header of a record: its bytes, and how it is known from what else is on the disk. Knows no disk.
//!
//! ```text
//! header (128): postcard of the record under its version (up to 112), zeros, check (16)
//! content: as many bytes as the header says
//! ```
//!
//! The check is a keyed hash of the header and its place. The key is the store's own, so that no
//! content, whoever wrote it, looks like a header, and no header counts where it was not written.

use serde::{Deserialize, Serialize};

use crate::volume::{BlockKey, Version};

/// A header, with room for the longest record.
pub(crate) const HEADER_BYTES: usize = 128;
/// Of the header, what tells that it is one.
const CHECK_BYTES: usize = 16;
const BODY_BYTES: usize = HEADER_BYTES - CHECK_BYTES;

/// Key of a store's hashes.
pub(crate) type Secret = [u8; 32];

#[derive(Debug, Serialize, Deserialize)]
enum Versioned {
    V1(Record),
}

/// Something that was done, in the order of `sequence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Counted from 1, without gaps.
    pub(crate) sequence: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// A piece was written.
    Piece {
        key: BlockKey,
        version: Version,
        /// The sequence of the record that stays beside this one.
        keep: Option<u64>,
        bytes: u32,
        /// Hash of the content.
        content: [u8; 32],
    },
    /// All pieces of a file that were written before went.
    Removed { file: u64 },
}

impl Record {
    /// Bytes of content that follow the header.
    pub(crate) fn content_bytes(&self) -> usize {
        match self.what {
            What::Piece { bytes, .. } => usize::try_from(bytes).unwrap_or(usize::MAX),
            What::Removed { .. } => 0,
        }
    }
}

/// Hash of a record's content.
pub(crate) fn hash_of(content: &[u8], secret: &Secret) -> [u8; 32] {
    *blake3::keyed_hash(secret, content).as_bytes()
}

fn check_of(body: &[u8], place: u64, secret: &Secret) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&place.to_le_bytes()).update(body);
    let mut check = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// The header of a record at `place`.
pub(crate) fn encode_record(record: &Record, place: u64, secret: &Secret) -> [u8; HEADER_BYTES] {
    let body = postcard::to_allocvec(&Versioned::V1(record.clone())).unwrap_or_default();
    debug_assert!(
        (1..=BODY_BYTES).contains(&body.len()),
        "the longest record fits"
    );
    checked(&body, place, secret)
}

/// The header that says this at `place`.
pub(super) fn checked(said: &[u8], place: u64, secret: &Secret) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (body, check) = header.split_at_mut(BODY_BYTES);
    for (place, byte) in body.iter_mut().zip(said) {
        *place = *byte;
    }
    check.copy_from_slice(&check_of(body, place, secret));
    header
}

/// The record whose header this is; none if it is no header of `place`.
pub(crate) fn decode_record(
    header: &[u8; HEADER_BYTES],
    place: u64,
    secret: &Secret,
) -> Option<Record> {
    let (body, check) = header.split_at(BODY_BYTES);
    // Most of what is looked at is free.
    if check.iter().all(|byte| *byte == 0) || check != check_of(body, place, secret) {
        return None;
    }
    let (Versioned::V1(record), _) = postcard::take_from_bytes(body).ok()?;
    // One record has one header.
    (encode_record(&record, place, secret) == *header).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = [7; 32];

    fn piece() -> Record {
        let key = BlockKey {
            file: 1,
            block: 300,
        };
        let version = Version { epoch: 2, count: 3 };
        Record {
            sequence: 9,
            what: What::Piece {
                key,
                version,
                keep: Some(8),
                bytes: 5,
                content: [0xab; 32],
            },
        }
    }

    #[test]
    fn bytes_are_pinned() {
        let header = encode_record(&piece(), 16, &SECRET);
        let content = [0xab; 32];
        let start = [&[0, 9, 0, 1, 0xac, 2, 2, 3, 1, 8, 5][..], &content].concat();
        assert_eq!(header[..start.len()], start);
        assert!(
            header[start.len()..BODY_BYTES]
                .iter()
                .all(|byte| *byte == 0)
        );
        let check =
            blake3::Hash::from_slice(&[header[BODY_BYTES..].to_vec(), vec![0; 16]].concat());
        assert_eq!(
            check.unwrap().to_hex()[..32],
            *"63510b091309b1b35dcfe68191c6f842"
        );
        let removed = Record {
            sequence: 1,
            what: What::Removed { file: 4 },
        };
        assert_eq!(encode_record(&removed, 0, &SECRET)[..5], [0, 1, 1, 4, 0]);
    }

    #[test]
    fn only_a_whole_header_at_its_own_place_is_one() {
        let header = encode_record(&piece(), 16, &SECRET);
        assert_eq!(decode_record(&header, 16, &SECRET), Some(piece()));
        assert_eq!(decode_record(&header, 17, &SECRET), None);
        assert_eq!(decode_record(&header, 16, &[8; 32]), None);
        for at in 0..HEADER_BYTES {
            let mut other = header;
            other[at] ^= 1;
            assert_eq!(decode_record(&other, 16, &SECRET), None, "{at}");
        }
        // The longest one.
        let most = u64::MAX;
        let longest = Record {
            sequence: most,
            what: What::Piece {
                key: BlockKey {
                    file: most,
                    block: most,
                },
                version: Version {
                    epoch: most,
                    count: most,
                },
                keep: Some(most),
                bytes: u32::MAX,
                content: [0xff; 32],
            },
        };
        let header = encode_record(&longest, most, &SECRET);
        assert_eq!(decode_record(&header, most, &SECRET), Some(longest));
    }
}
