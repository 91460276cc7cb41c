//! Time: made after one block, good before another, good once. Heights are the only clock.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use types::Digest;

/// How far back an anchor may lie: long enough for a slow signer, short enough that everybody still
/// knows the digests.
pub const ANCHOR_BLOCKS_MAX: u64 = 256;
/// How far ahead of its anchor a proof may expire: a nonce may be forgotten when nothing that carries
/// it can be good any more, which is so many blocks after its anchor.
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
    /// Different in every proof of one principal.
    pub nonce: u64,
}

/// What a time proof is judged by.
#[derive(Debug, Clone, Copy)]
pub struct TimeFacts<'a> {
    /// The height of the block that would carry it.
    pub now_height: u64,
    /// Digests of recent final blocks: at least the last [`ANCHOR_BLOCKS_MAX`].
    pub anchors: &'a BTreeMap<u64, Digest>,
    /// Nonces of the principal whose proofs may not have expired.
    pub seen_nonces: &'a BTreeSet<u64>,
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
    /// Good for longer than anybody remembers its nonce.
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
        if facts.seen_nonces.contains(&self.nonce) {
            let nonce = self.nonce;
            return Err(VerifyTimeError::Replayed { nonce });
        }
        Ok(())
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
        let seen_nonces = [7].into();
        proof.verify(&TimeFacts {
            now_height: 1_000,
            anchors: &anchors,
            seen_nonces: &seen_nonces,
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
        let replayed = TimeProof {
            nonce: 7,
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
            (replayed, E::Replayed { nonce: 7 }),
        ];
        for (proof, refusal) in cases {
            assert_eq!(judged(proof), Err(refusal));
        }
    }

    #[test]
    fn an_anchor_that_nobody_remembers_is_unknown() {
        let (anchors, seen_nonces) = (BTreeMap::new(), BTreeSet::new());
        let facts = TimeFacts {
            now_height: 1_000,
            anchors: &anchors,
            seen_nonces: &seen_nonces,
        };
        let refusal = at(999, digest(999), 1_000).verify(&facts);
        assert!(matches!(
            refusal,
            Err(VerifyTimeError::UnknownAnchor { .. })
        ));
    }
}
