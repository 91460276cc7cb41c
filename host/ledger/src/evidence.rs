//! Proof of contradictory votes, checkable by everyone with the fabric id alone: two votes of one
//! round that no honest validator signs both. Pure; it spells the bytes that the agreement engine
//! signs, and a test beside the engine compares.

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, PublicKey, Signature, VerifyError};

use crate::record::Record;

/// Separates votes from everything else that the same key signs; the fabric id follows.
pub const VOTE_DOMAIN: &[u8] = b"hypermesh/consensus/1\0";

/// What can be proven of a validator. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// It signed two votes that exclude each other.
    Contradiction(Contradiction),
}

/// Two votes of one validator in one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// Who signed both.
    pub validator: PublicKey,
    /// The epoch of the round.
    pub epoch: u64,
    /// The view of the round.
    pub view: u64,
    /// One vote.
    pub first: SignedVote,
    /// The other.
    pub second: SignedVote,
}

impl Contradiction {
    /// Whether the accused signed both votes, in this fabric and round. Whether they exclude each
    /// other is [`Vote::contradicts`].
    ///
    /// # Errors
    /// [`VerifyError`] if it did not sign one of them.
    pub fn verify_signatures(&self, fabric: &FabricId) -> Result<(), VerifyError> {
        for SignedVote { vote, signature } in [&self.first, &self.second] {
            let bytes = vote.signing_bytes(fabric, self.epoch, self.view);
            self.validator.verify(&bytes, signature)?;
        }
        Ok(())
    }
}

/// A vote as it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVote {
    /// For what.
    pub vote: Vote,
    /// Over [`Vote::signing_bytes`].
    pub signature: Signature,
}

/// What a validator votes for in a round of simplex (Chan and Pass, "Simplex Consensus", 2023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vote {
    /// This block may become final.
    Notarize {
        /// The view of its parent.
        parent: u64,
        /// Its digest.
        block: Digest,
    },
    /// The round ends without a block.
    Nullify,
    /// This block is final.
    Finalize {
        /// The view of its parent.
        parent: u64,
        /// Its digest.
        block: Digest,
    },
}

impl Vote {
    /// The bytes that a validator signs to cast it.
    #[must_use]
    pub fn signing_bytes(&self, fabric: &FabricId, epoch: u64, view: u64) -> Vec<u8> {
        let suffix: &[u8] = match self {
            Self::Notarize { .. } => b"_NOTARIZE",
            Self::Nullify => b"_NULLIFY",
            Self::Finalize { .. } => b"_FINALIZE",
        };
        let domain = [VOTE_DOMAIN, fabric.as_bytes(), suffix].concat();
        let mut bytes = Vec::new();
        put_varint(&mut bytes, domain.len() as u64);
        bytes.extend_from_slice(&domain);
        put_varint(&mut bytes, epoch);
        put_varint(&mut bytes, view);
        if let Self::Notarize { parent, block } | Self::Finalize { parent, block } = self {
            put_varint(&mut bytes, *parent);
            bytes.extend_from_slice(block.as_bytes());
        }
        bytes
    }

    /// Whether nobody who follows the protocol casts both in one round.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Notarize { .. }, Self::Notarize { .. })
            | (Self::Finalize { .. }, Self::Finalize { .. }) => self != other,
            (Self::Nullify, Self::Finalize { .. }) | (Self::Finalize { .. }, Self::Nullify) => true,
            _ => false,
        }
    }
}

/// Base 128, the low bits first.
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// A validator that was convicted; it never votes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvictionRecord {
    /// Height of the block that carries the evidence.
    pub at: u64,
    /// The evidence itself.
    pub evidence: Evidence,
}

impl Record for ConvictionRecord {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_base_128() {
        let put = |value| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            bytes
        };
        assert_eq!(put(0), [0]);
        assert_eq!(put(127), [127]);
        assert_eq!(put(300), [0xac, 0x02]);
        assert_eq!(put(u64::MAX).len(), 10);
    }

    #[test]
    fn only_votes_that_exclude_each_other_contradict() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let notarize = |parent, block| Vote::Notarize { parent, block };
        let finalize = |parent, block| Vote::Finalize { parent, block };
        let all = [
            notarize(1, one),
            notarize(1, two),
            notarize(2, one),
            Vote::Nullify,
            finalize(1, one),
            finalize(1, two),
        ];
        let pairs: Vec<_> = (0..all.len())
            .flat_map(|a| (a..all.len()).map(move |b| (a, b)))
            .filter(|(a, b)| all[*a].contradicts(&all[*b]))
            .collect();
        // A validator that notarized may still nullify, and may finalize what it notarized.
        assert_eq!(pairs, [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]);
        for (a, b) in pairs {
            assert!(all[b].contradicts(&all[a]));
        }
    }
}
