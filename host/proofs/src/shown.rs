//! Proofs of space that stand by themselves: an asset, the block that asked, and the answer of its
//! host, as one value. Which blocks are final and what is committed to is for the ledger to say.

use serde::{Deserialize, Serialize};
use types::{AssetId, Digest, FabricId};

use crate::answer::{ANSWER_BYTES_MAX, SignedAnswer, SpaceFacts, VerifySpaceError};
use crate::beacon::beacon_of;
use crate::encoding::{DecodeProofError, read, written};
use crate::space::{Challenge, Commitment};

/// Largest proof: the largest answer, and 128 bytes for the asset and the block that asked.
pub const SPACE_PROOF_BYTES_MAX: usize = ANSWER_BYTES_MAX + 128;

/// What the host of an asset showed of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceProof {
    /// Of which asset.
    pub asset: AssetId,
    /// The height of the block whose beacon asked.
    pub anchor_height: u64,
    /// The digest of that block.
    pub anchor_digest: Digest,
    /// What its host answered.
    pub answer: SignedAnswer,
}

/// What a proof is judged by: what this fabric's own ledger says.
#[derive(Debug, Clone, Copy)]
pub struct ShownFacts {
    /// This fabric.
    pub fabric: FabricId,
    /// The digest of its final block at the proof's height.
    pub anchor_digest: Digest,
    /// What the beacon of that block asks about.
    pub commitment: Commitment,
}

/// Why a proof of space shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyShownError {
    /// Asked by a block that is not final here.
    #[error("block {height} of this fabric is {expected}, the proof names {found}")]
    OtherBlock {
        /// Its height.
        height: u64,
        /// The final block there.
        expected: Digest,
        /// The proof's.
        found: Digest,
    },
    /// The answer proves nothing.
    #[error(transparent)]
    Answer(#[from] VerifySpaceError),
}

impl SpaceProof {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`DecodeProofError`]; nothing is said yet about what it proves.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        read("a proof of space", SPACE_PROOF_BYTES_MAX, bytes)
    }

    /// Checks that the host that the commitment names shows what the block asked for. How old that
    /// block may be is for whoever relies on it: there is no deadline here.
    ///
    /// # Errors
    /// [`VerifyShownError`].
    pub fn verify(&self, facts: &ShownFacts) -> Result<(), VerifyShownError> {
        let height = self.anchor_height;
        if self.anchor_digest != facts.anchor_digest {
            return Err(VerifyShownError::OtherBlock {
                height,
                expected: facts.anchor_digest,
                found: self.anchor_digest,
            });
        }
        let beacon = beacon_of(&facts.anchor_digest);
        self.answer.verify(&SpaceFacts {
            fabric: facts.fabric,
            challenge: Challenge::draw(&beacon, height, &facts.commitment),
            deadline_height: u64::MAX,
            seen_at_height: height.saturating_add(1),
        })?;
        Ok(())
    }
}
