//! Where the fabric stands, as far as a peer can prove it: who took over in which epoch, and the
//! last block of the epoch before the one under way. Checked from the genesis on, so a peer can
//! show too little and never what is not so.

use bytes::Bytes;
use commonware_codec::Read as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Finalization;
use commonware_cryptography::certificate::Verifier as _;
use ledger::Genesis;

use crate::block::Digest;
use crate::committees::Committees;
use crate::epochs::Epochs;
use crate::handovers::Handover;
use crate::proof::{BlockHeader, VerifyFinalizedError, read_block};

/// What was proven, above what this node knew.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The ends of epochs in which validators changed.
    pub(crate) handovers: Vec<(u64, Handover)>,
    /// The last epoch that is over.
    pub(crate) through: u64,
    /// Height of its last block.
    pub(crate) height: u64,
    /// The certificate of that block: what the state is taken over from.
    pub(crate) floor: Finalization<Scheme, Digest>,
}

impl Standing {
    /// Tells `epochs` of what is over, in memory.
    pub(crate) fn tell(&self, epochs: &Epochs) {
        for (epoch, handover) in &self.handovers {
            // It was read when it was proven.
            let _ = handover.tell(*epoch, epochs);
        }
        epochs.hand_over(self.through, &[]);
    }
}

/// Why a peer's word does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StandingError {
    #[error(transparent)]
    Unproven(#[from] VerifyFinalizedError),
    #[error("the block at height {0} ends no epoch, or none that was not shown before")]
    NoEnd(u64),
    #[error("the certificate cannot be read")]
    Certificate,
}

/// Proves a standing step by step.
pub(crate) struct Climb {
    genesis: Genesis,
    committees: Committees,
    taken: Vec<(u64, Handover)>,
    last: Option<u64>,
}

impl Climb {
    /// Begins above what this node knows, which it proved before.
    pub(crate) fn above(genesis: &Genesis, known: &[Handover]) -> Result<Self, StandingError> {
        let mut climb = Self {
            genesis: genesis.clone(),
            committees: Committees::of(genesis)?,
            taken: Vec::new(),
            last: None,
        };
        for handover in known {
            let header = read_block(genesis, &handover.block)?;
            climb.committees.pass(&header);
            climb.last = Some(genesis.epoch(header.height));
        }
        Ok(climb)
    }

    /// Takes the next end of an epoch in which validators changed.
    pub(crate) fn take(&mut self, handover: Handover) -> Result<(), StandingError> {
        let header = self.end(&handover)?;
        if header.committee.is_empty() {
            return Err(StandingError::NoEnd(header.height));
        }
        self.add(&header, handover);
        Ok(())
    }

    /// Takes a proven end of an epoch in which validators changed.
    fn add(&mut self, header: &BlockHeader, handover: Handover) {
        self.committees.pass(header);
        let epoch = self.genesis.epoch(header.height);
        self.last = Some(epoch);
        self.taken.push((epoch, handover));
    }

    /// Takes where the peer stands.
    pub(crate) fn top(mut self, end: Handover) -> Result<Standing, StandingError> {
        let header = read_block(&self.genesis, &end.block)?;
        let through = self.genesis.epoch(header.height);
        if self.last == Some(through) {
            // Validators changed with it: it was proven as such.
            self.committees.verify(&end.block, &end.certificate)?;
        } else {
            let header = self.end(&end)?;
            if !header.committee.is_empty() {
                self.add(&header, end.clone());
            }
        }
        let config = Scheme::certificate_codec_config_unbounded();
        let floor = Finalization::read_cfg(&mut Bytes::from(end.certificate), &config);
        Ok(Standing {
            handovers: self.taken,
            through,
            height: header.height,
            floor: floor.map_err(|_| StandingError::Certificate)?,
        })
    }

    /// A proven last block of an epoch above those before.
    fn end(&self, handover: &Handover) -> Result<BlockHeader, StandingError> {
        let header = self
            .committees
            .verify(&handover.block, &handover.certificate)?;
        let height = header.height;
        let above = self
            .last
            .is_none_or(|last| last < self.genesis.epoch(height));
        if self.genesis.ends_epoch(height) && above {
            Ok(header)
        } else {
            Err(StandingError::NoEnd(height))
        }
    }
}
