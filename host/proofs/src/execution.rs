//! Proofs of executions: an order, its result and the receipts for it, as one value that stands by
//! itself but for the draw, which takes the beacon of a block.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use types::{Digest, NodeId, Replication};

use crate::certificate::{
    Agreement, CERTIFICATE_RECEIPTS_MAX, ReceiptCertificate, VerifyReceiptCertificateError,
};
use crate::encoding::{DecodeProofError, read, written};
use crate::order::{ExecutionOrder, ORDER_BYTES_MAX, output_digest};
use crate::receipt::{Export, RECEIPT_BYTES_MAX};

/// Largest result that a node hands on to others: sixteen of them are in memory at once.
pub const RESULT_BYTES_MAX: usize = 256 << 10;
/// Largest proof: its order, its result, its receipts and the ids of those that were drawn.
pub const EXECUTION_PROOF_BYTES_MAX: usize =
    ORDER_BYTES_MAX + RESULT_BYTES_MAX + CERTIFICATE_RECEIPTS_MAX * (RECEIPT_BYTES_MAX + 64);

/// What was ordered, what came out, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionProof {
    /// What was ordered.
    pub order: ExecutionOrder,
    /// What those who agree got, in canonical form.
    pub result: String,
    /// Who was drawn, as the node that asked them says: the beacon of the anchor shows whether it
    /// is true.
    pub drawn: BTreeSet<NodeId>,
    /// Their receipts.
    pub certificate: ReceiptCertificate,
}

/// Why a proof of an execution proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyExecutionError {
    /// Not as many as the dial says.
    #[error("{drawn} nodes were drawn, the order says {replication}")]
    Drawn {
        /// How many were.
        drawn: usize,
        /// What the order says.
        replication: Replication,
    },
    /// The receipts do not agree, or are none.
    #[error(transparent)]
    Certificate(#[from] VerifyReceiptCertificateError),
    /// They agree on another component.
    #[error("the receipts are of component {found}, the order is for {ordered}")]
    Component {
        /// By the order.
        ordered: Digest,
        /// By the receipts.
        found: Digest,
    },
    /// They agree on another export.
    #[error("the receipts are of export `{found}`, the order is for `{ordered}`")]
    Export {
        /// By the order.
        ordered: Export,
        /// By the receipts.
        found: Export,
    },
    /// They agree on other arguments.
    #[error("the receipts are of input {found}, the order's arguments are {ordered}")]
    Input {
        /// By the order.
        ordered: Digest,
        /// By the receipts.
        found: Digest,
    },
    /// They agree on another result.
    #[error("the receipts are of output {found}, the result is {result}")]
    Output {
        /// Of the result.
        result: Digest,
        /// By the receipts.
        found: Digest,
    },
}

impl ExecutionProof {
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
        let max = EXECUTION_PROOF_BYTES_MAX;
        read("the proof of an execution", max, bytes)
    }

    /// Checks signatures, that enough of the drawn agree, and that it is on this order and this
    /// result. Whether they were drawn by the beacon is for who knows it ([`ExecutionOrder::drawn`]).
    ///
    /// # Errors
    /// [`VerifyExecutionError`].
    pub fn verify(&self) -> Result<Agreement<'_>, VerifyExecutionError> {
        use VerifyExecutionError as E;
        let (order, drawn) = (&self.order, self.drawn.len());
        let members = u16::try_from(drawn).unwrap_or(u16::MAX);
        if usize::from(order.replication.among(members).1) != drawn {
            let replication = order.replication;
            return Err(E::Drawn { drawn, replication });
        }
        let agreement = self.certificate.verify(&order.rule(self.drawn.clone()))?;
        let outcome = agreement.outcome;
        let (ordered, found) = (order.artifact, outcome.component);
        if ordered != found {
            return Err(E::Component { ordered, found });
        }
        if order.export != outcome.export {
            let (ordered, found) = (order.export.clone(), outcome.export.clone());
            return Err(E::Export { ordered, found });
        }
        let (ordered, found) = (order.input(), outcome.input);
        if ordered != found {
            return Err(E::Input { ordered, found });
        }
        let (result, found) = (output_digest(&self.result), outcome.output);
        if result != found {
            return Err(E::Output { result, found });
        }
        Ok(agreement)
    }
}
