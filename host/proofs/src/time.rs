//! Time: made after one block, good before another, good once. Heights are the only clock.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::Digest;

/// How far back an anchor may lie: long enough for a slow signer, short enough that everybody still
/// knows the digests.
pub const ANCHOR_BLOCKS_MAX: u64 = 256;
/// How far ahead of its anchor a proof may expire: long enough for a fabric under load, short enough
/// that nobody hoards proofs.
pub const EXPIRY_BLOCKS_MAX: u64 = 512;

/// After block A, before height B, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeProof {
    /// The height of a block that was final when this was made.
    pub anchor_height: u64,
    /// Its digest, which nobody knew before.
    pub anchor_digest: Digest,
    /// Last height at which it is good.
    pub expires_at: u64,
    /// The principal's count of transactions before the one that carries this.
    pub nonce: u64,
}

/// What a time proof is judged by.
#[derive(Debug, Clone, Copy)]
pub struct TimeFacts<'a> {
    /// The height of the block that would carry it.
    pub now_height: u64,
    /// Digests of recent final blocks: that of the anchor, if it is one of the last
    /// [`ANCHOR_BLOCKS_MAX`].
    pub anchors: &'a BTreeMap<u64, Digest>,
    /// The nonce that the principal has not used yet and uses next.
    pub next_nonce: u64,
}

/// Why a time proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyTimeError {
    /// Anchored in a block that is not there yet.
    #[error("the anchor is block {anchor}, the next block is {now}: it lies in the future")]
    Future {
        /// The anchor's height.
        anchor: u64,
        /// The height now.
        now: u64,
    },
    /// Anchored too long ago.
    #[error(
        "the anchor is block {anchor}, now is {now}: at most {ANCHOR_BLOCKS_MAX} blocks may lie \
         between, anchor it anew"
    )]
    OldAnchor {
        /// The anchor's height.
        anchor: u64,
        /// The height now.
        now: u64,
    },
    /// Anchored in a block that this fabric does not have.
    #[error("block {anchor} is not {found} in this fabric")]
    UnknownAnchor {
        /// The anchor's height.
        anchor: u64,
        /// The digest that was claimed.
        found: Digest,
    },
    /// Good for longer than a proof may be.
    #[error(
        "anchored at {anchor} and good until {expires_at}: at most {EXPIRY_BLOCKS_MAX} blocks ahead"
    )]
    LongLived {
        /// The anchor's height.
        anchor: u64,
        /// The last height.
        expires_at: u64,
    },
    /// Good no more.
    #[error("good until height {expires_at}, now is {now}")]
    Expired {
        /// The last height.
        expires_at: u64,
        /// The height now.
        now: u64,
    },
    /// Good once, and this was it.
    #[error("nonce {nonce} was used before")]
    Replayed {
        /// The nonce.
        nonce: u64,
    },
    /// For a later transaction of its principal.
    #[error("nonce {nonce} is not the next one of its principal, which is {next}")]
    Ahead {
        /// The nonce.
        nonce: u64,
        /// The one that is due.
        next: u64,
    },
}

impl TimeProof {
    /// Checks that it was made lately, is still good and was not used.
    ///
    /// # Errors
    /// [`VerifyTimeError`].
    pub fn verify(&self, facts: &TimeFacts<'_>) -> Result<(), VerifyTimeError> {
        let (anchor, now) = (self.anchor_height, facts.now_height);
        let expires_at = self.expires_at;
        // A block cannot know its own digest.
        if anchor >= now {
            return Err(VerifyTimeError::Future { anchor, now });
        }
        if now - anchor > ANCHOR_BLOCKS_MAX {
            return Err(VerifyTimeError::OldAnchor { anchor, now });
        }
        if facts.anchors.get(&anchor) != Some(&self.anchor_digest) {
            let found = self.anchor_digest;
            return Err(VerifyTimeError::UnknownAnchor { anchor, found });
        }
        if expires_at < now {
            return Err(VerifyTimeError::Expired { expires_at, now });
        }
        if expires_at > anchor.saturating_add(EXPIRY_BLOCKS_MAX) {
            return Err(VerifyTimeError::LongLived { anchor, expires_at });
        }
        let (nonce, next) = (self.nonce, facts.next_nonce);
        match nonce.cmp(&next) {
            Ordering::Less => Err(VerifyTimeError::Replayed { nonce }),
            Ordering::Greater => Err(VerifyTimeError::Ahead { nonce, next }),
            Ordering::Equal => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(height: u64) -> Digest {
        Digest::of(&height.to_le_bytes())
    }

    fn judged(proof: TimeProof) -> Result<(), VerifyTimeError> {
        let anchors = (0..1_000).map(|height| (height, digest(height))).collect();
        proof.verify(&TimeFacts {
            now_height: 1_000,
            anchors: &anchors,
            next_nonce: 8,
        })
    }

    const fn at(anchor_height: u64, anchor_digest: Digest, expires_at: u64) -> TimeProof {
        TimeProof {
            anchor_height,
            anchor_digest,
            expires_at,
            nonce: 8,
        }
    }

    #[test]
    fn a_recent_anchor_and_a_near_end_are_good_to_the_last_block() {
        for (anchor, expires_at) in [(999, 1_000), (744, 1_000), (999, 1_511)] {
            assert_eq!(judged(at(anchor, digest(anchor), expires_at)), Ok(()));
        }
    }

    #[test]
    fn every_other_time_is_refused_by_its_name() {
        use VerifyTimeError as E;
        let (now, found) = (1_000, digest(5));
        let with_nonce = |nonce| TimeProof {
            nonce,
            ..at(999, digest(999), 1_000)
        };
        let cases = [
            (
                at(1_000, digest(1_000), 1_100),
                E::Future { anchor: 1_000, now },
            ),
            (
                at(u64::MAX, found, u64::MAX),
                E::Future {
                    anchor: u64::MAX,
                    now,
                },
            ),
            (
                at(743, digest(743), 1_000),
                E::OldAnchor { anchor: 743, now },
            ),
            (
                at(999, found, 1_000),
                E::UnknownAnchor { anchor: 999, found },
            ),
            (
                at(999, digest(999), 999),
                E::Expired {
                    expires_at: 999,
                    now,
                },
            ),
            (
                at(999, digest(999), 1_512),
                E::LongLived {
                    anchor: 999,
                    expires_at: 1_512,
                },
            ),
            (with_nonce(7), E::Replayed { nonce: 7 }),
            (with_nonce(9), E::Ahead { nonce: 9, next: 8 }),
        ];
        for (proof, refusal) in cases {
            assert_eq!(judged(proof), Err(refusal));
        }
    }

    #[test]
    fn an_anchor_that_nobody_remembers_is_unknown() {
        let anchors = BTreeMap::new();
        let facts = TimeFacts {
            now_height: 1_000,
            anchors: &anchors,
            next_nonce: 8,
        };
        let refusal = at(999, digest(999), 1_000).verify(&facts);
        assert!(matches!(
            refusal,
            Err(VerifyTimeError::UnknownAnchor { .. })
        ));
    }
}
