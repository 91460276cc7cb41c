//! Receipts: what one execution used and produced, signed by the node that ran it, and how a second
//! run refutes it. Runs nothing: both receipts come from elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId, Signature, VerifyError};

use crate::encoding::{DecodeProofError, read, to_sign, written};

const DOMAIN: &[u8] = b"hypermesh/proofs/receipt/1\0";

/// Longest name of an export: an interface with its version and a function fit several times.
pub const EXPORT_BYTES_MAX: usize = 256;
/// Largest receipt: its export, and 384 bytes for digests, numbers and the signature.
pub const RECEIPT_BYTES_MAX: usize = EXPORT_BYTES_MAX + 384;

/// The name of an export of a component, at most [`EXPORT_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Export(String);

/// A name that no export may have in a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name of an export has 1 to {EXPORT_BYTES_MAX} bytes, this one has {bytes}")]
pub struct ExportError {
    bytes: usize,
}

impl TryFrom<String> for Export {
    type Error = ExportError;

    fn try_from(name: String) -> Result<Self, ExportError> {
        match name.len() {
            1..=EXPORT_BYTES_MAX => Ok(Self(name)),
            bytes => Err(ExportError { bytes }),
        }
    }
}

impl From<Export> for String {
    fn from(export: Export) -> Self {
        export.0
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the engine ran. New modes are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EngineMode {
    /// Fuel is counted; clocks, entropy and forms of NaN are the machine's own.
    Metered,
    /// The same component, input and seed give the same bytes and the same fuel.
    Deterministic,
}

/// What the numbers of a receipt depend on beside component and input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EngineProfile {
    /// How it ran.
    pub mode: EngineMode,
    /// Names the engine's release and settings: what fuel costs may change with them.
    pub engine: Digest,
}

/// What one execution used and produced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Receipt {
    /// The only fabric that it is good for.
    pub fabric: FabricId,
    /// Who ran it.
    pub node: NodeId,
    /// The operation that ordered the execution: [`operation_digest`](crate::operation_digest).
    pub order: Digest,
    /// What ran.
    pub component: Digest,
    /// Which of its exports.
    pub export: Export,
    /// The arguments, in their canonical form.
    pub input: Digest,
    /// The results, in their canonical form.
    pub output: Digest,
    /// The fuel that was used.
    pub fuel: u64,
    /// Most memory at once, all memories together.
    pub memory_peak_bytes: u64,
    /// Where the numbers come from.
    pub profile: EngineProfile,
}

/// One thing that two runs of one order do not agree on: what was claimed and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Another component ran.
    Component {
        /// By the receipt.
        claimed: Digest,
        /// By the second run.
        found: Digest,
    },
    /// Another export was called.
    Export {
        /// By the receipt.
        claimed: Export,
        /// By the second run.
        found: Export,
    },
    /// It had other arguments.
    Input {
        /// By the receipt.
        claimed: Digest,
        /// By the second run.
        found: Digest,
    },
    /// It gave other results.
    Output {
        /// By the receipt.
        claimed: Digest,
        /// By the second run.
        found: Digest,
    },
    /// It used other fuel.
    Fuel {
        /// By the receipt.
        claimed: u64,
        /// By the second run.
        found: u64,
    },
    /// It used other memory; nothing is tolerated, as growth of memory is deterministic too.
    MemoryPeak {
        /// By the receipt.
        claimed: u64,
        /// By the second run.
        found: u64,
    },
    /// It ran on another engine or in another mode.
    Profile {
        /// By the receipt.
        claimed: EngineProfile,
        /// By the second run.
        found: EngineProfile,
    },
}

/// What a second run found wrong with a receipt. One of two nodes lies, or the order was not
/// deterministic: who it is, more runs say ([`ReceiptCertificate`](crate::ReceiptCertificate)).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{by} ran {order} again and does not agree with {node}: {differences:?}")]
pub struct Refutation {
    /// What was ordered.
    pub order: Digest,
    /// Whose receipt is refuted.
    pub node: NodeId,
    /// Who ran it again.
    pub by: NodeId,
    /// At least one, each kind at most once, in the order of a receipt's fields.
    pub differences: Vec<Difference>,
}

/// Why a receipt does not stand beside a second run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompareReceiptsError {
    /// The two are about different orders or fabrics: they say nothing about each other.
    #[error("the receipts are of different orders, {claimed} and {found}")]
    OtherOrder {
        /// By the receipt.
        claimed: Digest,
        /// By the second run.
        found: Digest,
    },
    /// Nobody refutes himself, and nobody confirms himself.
    #[error("{node} ran it both times: another node has to")]
    SameNode {
        /// Who.
        node: NodeId,
    },
    /// A run that nobody can repeat.
    #[error("the second run was not deterministic: its numbers refute nothing")]
    NotDeterministic,
    /// They do not agree.
    #[error(transparent)]
    Refuted(Box<Refutation>),
}

impl Receipt {
    /// The bytes that the node signs.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        to_sign(DOMAIN, self)
    }

    /// Compares with what another node's deterministic run of the same order gave. For orders of
    /// deterministic runs only: there a receipt of another mode is a difference like any other, or
    /// whoever lies would claim that nobody can repeat it.
    ///
    /// # Errors
    /// [`CompareReceiptsError::Refuted`] if they do not agree; other reasons if the second run says
    /// nothing about this one.
    pub fn compare(&self, again: &Self) -> Result<(), CompareReceiptsError> {
        if self.order != again.order || self.fabric != again.fabric {
            let (claimed, found) = (self.order, again.order);
            return Err(CompareReceiptsError::OtherOrder { claimed, found });
        }
        if self.node == again.node {
            return Err(CompareReceiptsError::SameNode { node: self.node });
        }
        if again.profile.mode != EngineMode::Deterministic {
            return Err(CompareReceiptsError::NotDeterministic);
        }
        let differences = self.differences(again);
        if differences.is_empty() {
            return Ok(());
        }
        Err(CompareReceiptsError::Refuted(Box::new(Refutation {
            order: self.order,
            node: self.node,
            by: again.node,
            differences,
        })))
    }

    /// Whether two runs gave the same, whoever ran them.
    pub(crate) fn agrees(&self, again: &Self) -> bool {
        self.differences(again).is_empty()
    }

    fn differences(&self, again: &Self) -> Vec<Difference> {
        macro_rules! difference {
            ($field:ident, $kind:ident) => {
                (self.$field != again.$field).then(|| Difference::$kind {
                    claimed: self.$field.clone(),
                    found: again.$field.clone(),
                })
            };
        }
        let found = [
            difference!(component, Component),
            difference!(export, Export),
            difference!(input, Input),
            difference!(output, Output),
            difference!(fuel, Fuel),
            difference!(memory_peak_bytes, MemoryPeak),
            difference!(profile, Profile),
        ];
        found.into_iter().flatten().collect()
    }
}

/// A receipt and its node's signature over [`Receipt::signing_bytes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What is claimed.
    pub receipt: Receipt,
    /// By [`Receipt::node`].
    pub signature: Signature,
}

impl SignedReceipt {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`DecodeProofError`]; nothing is said yet about who signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        read("a receipt", RECEIPT_BYTES_MAX, bytes)
    }

    /// Checks that the node that it names signed it.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify(&self) -> Result<(), VerifyError> {
        let bytes = self.receipt.signing_bytes();
        self.receipt.node.verify(&bytes, &self.signature)
    }
}
