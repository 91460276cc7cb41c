//! The head of a store: who it is for, and up to where it is durable. Knows no disk.
//!
//! There are two places for it, a page each, which are written in turn. The one with the higher
//! generation counts, so a write that is torn leaves the one before.
//!
//! ```text
//! length (2, little endian) | postcard of the head under its version | hash of all before (32) | zeros
//! ```

use serde::{Deserialize, Serialize};
use types::LeaseId;

use super::record::Secret;

/// One place for a head: a page, which is torn as a whole at worst.
pub(crate) const PAGE_BYTES: usize = 4 << 10;
const DOMAIN: &str = "hypermesh 2026 volume store head 1";
const LENGTH_BYTES: usize = 2;
const HASH_BYTES: usize = 32;

#[derive(Debug, Serialize, Deserialize)]
enum Versioned {
    V1(Head),
}

/// What is known of a store before any record is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Counts writes of the head.
    pub(crate) generation: u64,
    pub(crate) lease: LeaseId,
    /// Ledger time of the block after which it was made, Unix milliseconds.
    pub(crate) made_ms: u64,
    pub(crate) secret: Secret,
    /// The highest epoch that was fenced.
    pub(crate) fenced: u64,
    /// The last record that is durable.
    pub(crate) flushed: u64,
    /// Of the last pieces of all blocks by then: their tags, added bit by bit.
    pub(crate) live: [u8; 16],
}

/// The page of a head.
pub(crate) fn encode_head(head: &Head) -> Vec<u8> {
    let body = postcard::to_allocvec(&Versioned::V1(head.clone())).unwrap_or_default();
    debug_assert!(
        LENGTH_BYTES + body.len() + HASH_BYTES <= PAGE_BYTES,
        "it fits"
    );
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
    let mut page = [&length[..], &body].concat();
    page.extend(blake3::derive_key(DOMAIN, &page));
    page.resize(PAGE_BYTES, 0);
    page
}

/// The head in a page; none if there is none, or half of one.
pub(crate) fn decode_head(page: &[u8]) -> Option<Head> {
    let (length, rest) = page.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let body = rest.get(..length)?;
    let Versioned::V1(head) = postcard::from_bytes(body).ok()?;
    (encode_head(&head) == page).then_some(head)
}

#[cfg(test)]
mod tests {
    use types::Digest;

    use super::*;

    fn head() -> Head {
        Head {
            generation: 1,
            lease: LeaseId::from_digest(Digest::from_bytes([2; 32])),
            made_ms: 3,
            secret: [4; 32],
            fenced: 5,
            flushed: 6,
            live: [7; 16],
        }
    }

    #[test]
    fn bytes_are_pinned() {
        let page = encode_head(&head());
        let start = [
            &[85, 0, 0, 1][..],
            &[2; 32],
            &[3],
            &[4; 32],
            &[5, 6],
            &[7; 16],
        ]
        .concat();
        assert_eq!(page[..start.len()], start);
        assert_eq!(page.len(), PAGE_BYTES);
        assert_eq!(decode_head(&page), Some(head()));
    }

    #[test]
    fn a_page_that_is_torn_or_changed_is_none() {
        let page = encode_head(&head());
        for at in (0..140).chain([PAGE_BYTES - 1]) {
            let mut other = page.clone();
            other[at] ^= 1;
            assert_eq!(decode_head(&other), None, "{at}");
        }
        assert_eq!(decode_head(&page[..100]), None);
        assert_eq!(decode_head(&[]), None);
    }
}
