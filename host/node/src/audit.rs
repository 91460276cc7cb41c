//! An audit of a ledger by somebody who trusts nobody: blocks are walked from the genesis, from the
//! oldest that is left, or from where an earlier audit ended, and each is checked. Pure; never asks
//! a node by itself.

use std::collections::BTreeSet;

use consensus::{
    BlockHeader, Committees, Handover, VerifyFinalizedError, VerifyProofError, genesis_digest,
    read_block, verify_proof,
};
use ledger::{Genesis, StateKey};
use types::NodeId;

/// One place in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPoint {
    /// The block's height.
    pub height: u64,
    /// BLAKE3 of its bytes.
    pub digest: [u8; 32],
}

/// A walk along the blocks of one fabric.
#[derive(Debug)]
pub struct Audit {
    genesis: Genesis,
    /// Who may certify which block, as far as the walk has come.
    committees: Committees,
    at: AuditPoint,
    state_root: [u8; 32],
    /// Blocks above this one are linked to it and wait for a certificate.
    proven: u64,
}

/// A history that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A block or its certificate is not what it claims to be.
    #[error("the block after height {after} does not hold: {source}")]
    Block {
        /// The height that was reached.
        after: u64,
        /// What is wrong.
        source: VerifyFinalizedError,
    },
    /// A block is missing.
    #[error("height {expected} was asked for and height {found} came: the history has a gap")]
    Gap {
        /// The next height.
        expected: u64,
        /// The block's.
        found: u64,
    },
    /// A block does not follow the one before.
    #[error("the block at height {height} does not follow the one before: the history is forked")]
    Parent {
        /// Its height.
        height: u64,
    },
    /// The last blocks have no certificate.
    #[error("blocks {first} to {last} are not proven final")]
    Unproven {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// An entry of the state is not proven.
    #[error("an entry of the state at height {height} is not proven: {source}")]
    Entry {
        /// The proof's height.
        height: u64,
        /// What is wrong.
        source: VerifyProofError,
    },
    /// The changes of validators that are told lead to others than those who were in office.
    #[error(
        "other validators are told to be in office after height {height} than were audited before: \
         the history is forked"
    )]
    OtherValidators {
        /// Where the audit goes on.
        height: u64,
    },
    /// A proof for another state than the audited one.
    #[error("the proof is for height {found}, the audit is at {expected}")]
    OtherHeight {
        /// Where the audit is.
        expected: u64,
        /// The proof's.
        found: u64,
    },
}

impl Audit {
    /// A walk from the beginning.
    ///
    /// # Errors
    /// [`AuditError::Block`] if the genesis names no usable validator.
    pub fn from_genesis(genesis: Genesis) -> Result<Self, AuditError> {
        let digest = genesis_digest(&genesis);
        let digest = digest.map_err(|source| AuditError::Block { after: 0, source })?;
        // Nothing is proven about the empty state.
        let state_root = [0; 32];
        Self::from_point(genesis, AuditPoint { height: 0, digest }, state_root, &[])
    }

    /// A walk on from the oldest block that is left, of a node that took over the state from its
    /// peers. Nothing links `oldest` to the genesis but signatures: `handovers`, the ends of epochs
    /// in which validators changed, oldest first, say whose it needs. It is taken next.
    ///
    /// # Errors
    /// [`AuditError::Block`] if a handover does not hold, or `oldest` is no block of the fabric.
    pub fn from_oldest(
        genesis: Genesis,
        oldest: &[u8],
        handovers: &[Handover],
    ) -> Result<Self, AuditError> {
        let header = read_block(&genesis, oldest);
        let header = header.map_err(|source| AuditError::Block { after: 0, source })?;
        let below = AuditPoint {
            height: header.height.saturating_sub(1),
            digest: header.parent_digest,
        };
        // Nothing is proven about the state before it.
        Self::from_point(genesis, below, [0; 32], handovers)
    }

    /// A walk on from where an earlier one ended; `state_root` is what the block there says, and
    /// `handovers` are the ends of epochs in which validators changed until there, oldest first.
    ///
    /// # Errors
    /// [`AuditError::Block`] if the genesis names no usable validator, or a handover does not hold.
    pub fn from_point(
        genesis: Genesis,
        at: AuditPoint,
        state_root: [u8; 32],
        handovers: &[Handover],
    ) -> Result<Self, AuditError> {
        let broken = |source| AuditError::Block { after: 0, source };
        let committees = Committees::of(&genesis).map_err(broken)?;
        for handover in handovers {
            let header = read_block(&genesis, &handover.block).map_err(broken)?;
            if header.height <= at.height {
                committees.take(handover).map_err(broken)?;
            }
        }
        Ok(Self {
            genesis,
            committees,
            at,
            state_root,
            proven: at.height,
        })
    }

    /// Who certifies the next block.
    #[must_use]
    pub fn validators(&self) -> BTreeSet<NodeId> {
        self.committees.validators(self.next_height())
    }

    /// Compares who certifies the next block with who did when an audit ended here: old keys of
    /// validators that were replaced can sign another change.
    ///
    /// # Errors
    /// [`AuditError::OtherValidators`]
    pub fn expect_validators(&self, remembered: &BTreeSet<NodeId>) -> Result<(), AuditError> {
        if self.validators() == *remembered {
            return Ok(());
        }
        let height = self.at.height;
        Err(AuditError::OtherValidators { height })
    }

    /// The height of the next block.
    #[must_use]
    pub const fn next_height(&self) -> u64 {
        self.at.height + 1
    }

    /// Takes the next block. One without a certificate counts once a later one has it.
    ///
    /// # Errors
    /// [`AuditError`]: the history is not the fabric's.
    pub fn take(
        &mut self,
        block: &[u8],
        certificate: Option<&[u8]>,
    ) -> Result<BlockHeader, AuditError> {
        let after = self.at.height;
        let header = match certificate {
            Some(certificate) => self.committees.verify(block, certificate),
            None => read_block(&self.genesis, block),
        };
        let header = header.map_err(|source| AuditError::Block { after, source })?;
        let (expected, found) = (self.next_height(), header.height);
        if expected != found {
            return Err(AuditError::Gap { expected, found });
        }
        if header.parent_digest != self.at.digest {
            return Err(AuditError::Parent {
                height: header.height,
            });
        }
        if certificate.is_none() && !header.committee.is_empty() {
            // Whoever it names would certify what follows: it must be certain by itself.
            return Err(AuditError::Unproven {
                first: self.proven + 1,
                last: header.height,
            });
        }
        self.committees.pass(&header);
        self.at = AuditPoint {
            height: header.height,
            digest: header.block_digest,
        };
        self.state_root = header.state_root;
        if certificate.is_some() {
            self.proven = header.height;
        }
        Ok(header)
    }

    /// Checks an entry of the state after the last block; its value, or none if it is absent.
    ///
    /// # Errors
    /// [`AuditError`] if the proof is for another state, or proves nothing.
    pub fn entry(
        &self,
        height: u64,
        key: &StateKey,
        proof: &[u8],
    ) -> Result<Option<Vec<u8>>, AuditError> {
        if height != self.at.height {
            let expected = self.at.height;
            return Err(AuditError::OtherHeight {
                expected,
                found: height,
            });
        }
        let value = verify_proof(&self.state_root, key, proof);
        value.map_err(|source| AuditError::Entry { height, source })
    }

    /// Where the walk is, if everything up to there is proven.
    ///
    /// # Errors
    /// [`AuditError::Unproven`] if the last blocks have no certificate.
    pub const fn point(&self) -> Result<AuditPoint, AuditError> {
        if self.proven < self.at.height {
            return Err(AuditError::Unproven {
                first: self.proven + 1,
                last: self.at.height,
            });
        }
        Ok(self.at)
    }
}
