//! Operations that are admitted with the four proofs only. What each proof must show is decided by the
//! rules; how they are checked, by the crate of the proofs.

use proofs::{
    Calibration, Proofs, SignedAnswer, StakeClaim, StakeProof, TimeProof, WorkEvidence, WorkProof,
    operation_digest,
};
use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, Principal, Signature};

use crate::anchor::AnchorRecord;
use crate::asset::{AssetOperation, LeaseOperation};
use crate::transaction::Operation;

/// An operation and the proofs that come with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven<O> {
    /// What is to be done.
    pub operation: O,
    /// Where, who, what, when. Whoever lacks one is refused.
    pub proofs: Box<Proofs>,
}

/// What is proven by its digest.
pub trait Provable: Serialize {
    /// Keeps the digests of one family of operations apart from those of others.
    const FAMILY: u8;

    /// The operation of a transaction that it is with its proofs.
    fn admitted(proven: Proven<Self>) -> Operation
    where
        Self: Sized;

    /// What it takes of the quota of `signer`, and ties of its bond, where the asset is shared on terms
    /// that tie `bond`.
    fn takes(&self, _signer: &Principal, _bond: u64) -> (u64, u64) {
        (0, 0)
    }

    /// The digest that the proof of work names: of the family and the canonical bytes.
    fn operation_digest(&self, fabric: &FabricId) -> Digest {
        let bytes = postcard::to_extend(self, vec![Self::FAMILY])
            .unwrap_or_else(|error| panic!("an operation must be serialisable: {error}"));
        operation_digest(fabric, &bytes)
    }
}

impl Provable for AssetOperation {
    const FAMILY: u8 = 1;

    fn admitted(proven: Proven<Self>) -> Operation {
        Operation::Asset(proven)
    }
}

impl Provable for LeaseOperation {
    const FAMILY: u8 = 2;

    fn admitted(proven: Proven<Self>) -> Operation {
        Operation::Lease(proven)
    }

    /// Nothing where somebody else holds the lease.
    fn takes(&self, signer: &Principal, bond: u64) -> (u64, u64) {
        match self {
            Self::Grant { holder, amount, .. } if holder == signer => (amount.0, bond),
            _ => (0, 0),
        }
    }
}

/// What whoever signs an operation puts into its proofs, beside the operation itself.
#[derive(Debug, Clone)]
pub struct ProofParts {
    /// The only fabric that they are good for.
    pub fabric: FabricId,
    /// A block that is final: what everything is anchored in.
    pub anchor: AnchorRecord,
    /// What the host of the asset answers to the beacon of that block.
    pub answer: SignedAnswer,
    /// Who signs, as what, and what the operation takes of its quota and bond.
    pub claim: StakeClaim,
    /// Of the cpu that is registered or measured.
    pub calibration: Option<Calibration>,
    /// The nonce of the transaction.
    pub nonce: u64,
    /// Last height at which the proofs are good.
    pub expires_at: u64,
}

impl<O: Provable> Proven<O> {
    /// Joins `operation` and its proofs; `sign` signs as the principal of the claim.
    #[must_use]
    pub fn seal(operation: O, parts: ProofParts, sign: impl FnOnce(&[u8]) -> Signature) -> Self {
        let evidence = match parts.calibration {
            Some(calibration) => WorkEvidence::Calibration(calibration),
            None => WorkEvidence::Operation,
        };
        let mut proofs = Proofs {
            space: Some(parts.answer),
            stake: Some(StakeProof {
                claim: parts.claim,
                // Not part of what is signed.
                signature: Signature::from_bytes([0; 64]),
            }),
            work: Some(WorkProof {
                operation: operation.operation_digest(&parts.fabric),
                evidence,
            }),
            time: Some(TimeProof {
                anchor_height: parts.anchor.height,
                anchor_digest: parts.anchor.digest,
                expires_at: parts.expires_at,
                nonce: parts.nonce,
            }),
        };
        let signature = sign(&proofs.signing_bytes(&parts.fabric));
        if let Some(stake) = &mut proofs.stake {
            stake.signature = signature;
        }
        Self {
            operation,
            proofs: Box::new(proofs),
        }
    }
}
