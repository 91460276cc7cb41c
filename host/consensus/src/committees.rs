//! Whose signatures make a block final, for those who have no ledger: begins with the validators of
//! the genesis and goes on with each end of an epoch that is shown. Pure.
//!
//! Whoever once held more than two thirds of the votes can, with the old keys, sign another history
//! from there on. A verifier that remembers a later handover is not deceived; one that starts from
//! the genesis has to take the newest chain that it is shown.

use std::collections::BTreeSet;

use ledger::Genesis;
use types::NodeId;

use crate::config::engine_key;
use crate::epochs::Epochs;
use crate::handovers::Handover;
use crate::proof::{BlockHeader, VerifyFinalizedError, read_block, verify_by};

/// The validators of a fabric, as far as they were proven.
#[derive(Debug)]
pub struct Committees {
    genesis: Genesis,
    epochs: Epochs,
}

impl Committees {
    /// Those of the genesis.
    ///
    /// # Errors
    /// [`VerifyFinalizedError::ValidatorKey`].
    pub fn of(genesis: &Genesis) -> Result<Self, VerifyFinalizedError> {
        let epochs = Epochs::of(genesis, None);
        Ok(Self {
            genesis: genesis.clone(),
            epochs: epochs.map_err(|key| VerifyFinalizedError::ValidatorKey { key })?,
        })
    }

    /// Whose signatures the block at `height` needs, as far as was shown.
    #[must_use]
    pub fn validators(&self, height: u64) -> BTreeSet<NodeId> {
        let epoch = self.epochs.containing(height);
        self.epochs.committee(epoch).validators.clone()
    }

    /// Checks that a block is final by the signatures of those who voted in its epoch, as far as
    /// was shown: in an epoch after a change that was not, the validators before it.
    ///
    /// # Errors
    /// [`VerifyFinalizedError`]; then the bytes prove nothing.
    pub fn verify(
        &self,
        block: &[u8],
        certificate: &[u8],
    ) -> Result<BlockHeader, VerifyFinalizedError> {
        verify_by(&self.epochs, read_block(&self.genesis, block)?, certificate)
    }

    /// Takes the end of an epoch, if it is final by those who voted in it.
    ///
    /// # Errors
    /// [`VerifyFinalizedError`]; then nothing changed.
    pub fn take(&self, handover: &Handover) -> Result<BlockHeader, VerifyFinalizedError> {
        let header = self.verify(&handover.block, &handover.certificate)?;
        self.pass(&header);
        Ok(header)
    }

    /// Takes a block that is known to be final: because it was verified, or because one above it
    /// was. If it hands over, others vote from the next epoch on.
    pub fn pass(&self, header: &BlockHeader) {
        if self.genesis.ends_epoch(header.height) {
            let next: Vec<_> = header.committee.iter().filter_map(engine_key).collect();
            self.epochs
                .hand_over(self.genesis.epoch(header.height), &next);
        }
    }
}
