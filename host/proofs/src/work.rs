//! Work: that this is exactly what was done. Names the operation; for what ran, receipts or a
//! calibration say the rest.

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId};

use crate::calibration::{Calibration, CalibrationFacts, VerifyCalibrationError};
use crate::certificate::{CertificateRule, ReceiptCertificate, VerifyReceiptCertificateError};

const DOMAIN: &[u8] = b"hypermesh/proofs/operation/1\0";

/// The digest that names an operation in `fabric`, from its canonical bytes.
#[must_use]
pub fn operation_digest(fabric: &FabricId, operation: &[u8]) -> Digest {
    Digest::of(&[DOMAIN, fabric.as_bytes(), operation].concat())
}

/// What shows that it was done. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkEvidence {
    /// The operation changes the ledger only: that it is there is that it was done.
    Operation,
    /// Something ran: receipts of those who ran it, one where one was drawn.
    Receipts(ReceiptCertificate),
    /// A cpu showed what it can do.
    Calibration(Calibration),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkProof {
    /// Which operation: [`operation_digest`].
    pub operation: Digest,
    /// What shows it.
    pub evidence: WorkEvidence,
}

/// What must be shown for an operation.
#[derive(Debug, Clone, Copy)]
pub enum WorkDemand<'a> {
    /// Nothing but the operation.
    Operation,
    /// Receipts by this rule.
    Receipts(&'a CertificateRule),
    /// A calibration by these facts.
    Calibration(&'a CalibrationFacts),
}

/// Why a work proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyWorkError {
    /// Of another operation.
    #[error("the proof is of operation {found}, not of {expected}")]
    OtherOperation {
        /// The operation.
        expected: Digest,
        /// The proof's.
        found: Digest,
    },
    /// Evidence of another kind than the operation needs.
    #[error("the operation needs {expected}, the proof brings something else")]
    OtherEvidence {
        /// What it needs.
        expected: &'static str,
    },
    /// The receipts certify nothing.
    #[error(transparent)]
    Receipts(#[from] VerifyReceiptCertificateError),
    /// The calibration counts for nothing.
    #[error(transparent)]
    Calibration(#[from] VerifyCalibrationError),
}

impl WorkProof {
    /// Checks that it is of `operation` and shows what `demand` says.
    ///
    /// # Errors
    /// [`VerifyWorkError`].
    pub fn verify(
        &self,
        operation: &Digest,
        demand: &WorkDemand<'_>,
    ) -> Result<(), VerifyWorkError> {
        if self.operation != *operation {
            let (expected, found) = (*operation, self.operation);
            return Err(VerifyWorkError::OtherOperation { expected, found });
        }
        let expected = match (demand, &self.evidence) {
            (WorkDemand::Operation, WorkEvidence::Operation) => return Ok(()),
            (WorkDemand::Receipts(rule), WorkEvidence::Receipts(certificate)) => {
                certificate.verify(rule)?;
                return Ok(());
            }
            (WorkDemand::Calibration(facts), WorkEvidence::Calibration(calibration)) => {
                return Ok(calibration.verify(facts)?);
            }
            (WorkDemand::Operation, _) => "no evidence",
            (WorkDemand::Receipts(_), _) => "receipts",
            (WorkDemand::Calibration(_), _) => "a calibration",
        };
        Err(VerifyWorkError::OtherEvidence { expected })
    }
}
