//! Receipt certificates: m equal receipts of k drawn nodes. Who is outvoted is named; what becomes of
//! it is the ledger's to say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId, VerifyError};

use crate::draw::Draw;
use crate::encoding::{DecodeProofError, read, written};
use crate::receipt::{EngineMode, RECEIPT_BYTES_MAX, Receipt, SignedReceipt};

const DOMAIN: &[u8] = b"hypermesh/proofs/nodes/1\0";

/// Most receipts of one certificate: each costs every validator one check of a signature.
pub const CERTIFICATE_RECEIPTS_MAX: usize = 16;
const CERTIFICATE_BYTES_MAX: usize = CERTIFICATE_RECEIPTS_MAX * RECEIPT_BYTES_MAX + 16;

/// The `count` of `members` that run `order` (again), all of them if there are no more. Nobody can say
/// who before `beacon` is final.
#[must_use]
pub fn draw_nodes(
    beacon: &Digest,
    order: &Digest,
    members: &BTreeSet<NodeId>,
    count: u16,
) -> BTreeSet<NodeId> {
    let mut draw = Draw::new(DOMAIN, &[beacon.as_bytes(), order.as_bytes()]);
    let places = draw.distinct(u64::from(count), members.len() as u64);
    let numbered = (0_u64..).zip(members);
    let drawn = numbered.filter(|(place, _)| places.contains(place));
    drawn.map(|(_, node)| *node).collect()
}

/// What makes a certificate good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// This fabric.
    pub fabric: FabricId,
    /// What was ordered.
    pub order: Digest,
    /// The k nodes that were drawn.
    pub drawn: BTreeSet<NodeId>,
    /// How many of them must agree: m, more than half of k, so that no two outcomes can both have it.
    pub agree: u16,
}

/// Receipts of one order, in ascending order of their nodes, which says that no node has two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptCertificate {
    /// The receipts, those of the outvoted too.
    pub receipts: Vec<SignedReceipt>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement<'a> {
    /// One of the receipts that agree.
    pub outcome: &'a Receipt,
    /// Whose receipts agree with it, its own node among them.
    pub agreeing: BTreeSet<NodeId>,
    /// Whose receipts do not.
    pub outvoted: BTreeSet<NodeId>,
    /// Who was drawn and has no receipt here.
    pub silent: BTreeSet<NodeId>,
}

/// Why a certificate certifies nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyReceiptCertificateError {
    /// A rule by which two outcomes could both be agreed on.
    #[error("{agree} of {drawn} is no majority: two outcomes could have it")]
    Rule {
        /// How many must agree.
        agree: u16,
        /// Of how many.
        drawn: usize,
    },
    /// More receipts than are checked.
    #[error("{found} receipts, at most {CERTIFICATE_RECEIPTS_MAX} are allowed")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// Two receipts of one node, or not in order.
    #[error("the receipt of {node} is not in ascending order of nodes, or not its only one")]
    Order {
        /// Whose.
        node: NodeId,
    },
    /// For another fabric.
    #[error("the receipt of {node} is for fabric {found}")]
    OtherFabric {
        /// Whose.
        node: NodeId,
        /// Which fabric.
        found: FabricId,
    },
    /// Of something else.
    #[error("the receipt of {node} is of order {found}")]
    OtherOrder {
        /// Whose.
        node: NodeId,
        /// Which order.
        found: Digest,
    },
    /// By somebody who was not drawn.
    #[error("{node} was not drawn for this order")]
    NotDrawn {
        /// Who.
        node: NodeId,
    },
    /// Not signed by its node.
    #[error("a receipt is not authentic: {0}")]
    Signature(#[from] VerifyError),
    /// Too few agree.
    #[error("{found} receipts agree at most, {needed} must")]
    NoAgreement {
        /// The most that agree.
        found: usize,
        /// How many must.
        needed: u16,
    },
    /// Agreed on, but by accident.
    #[error("the receipts that agree were not made in the deterministic mode")]
    NotDeterministic,
}

impl ReceiptCertificate {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`DecodeProofError`]; nothing is said yet about what it certifies.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        read("a receipt certificate", CERTIFICATE_BYTES_MAX, bytes)
    }

    /// Checks that enough drawn nodes agree, and says on what and who does not.
    ///
    /// # Errors
    /// [`VerifyReceiptCertificateError`].
    pub fn verify(
        &self,
        rule: &CertificateRule,
    ) -> Result<Agreement<'_>, VerifyReceiptCertificateError> {
        use VerifyReceiptCertificateError as E;
        let (agree, drawn) = (rule.agree, rule.drawn.len());
        if usize::from(agree) * 2 <= drawn || usize::from(agree) > drawn {
            return Err(E::Rule { agree, drawn });
        }
        let found = self.receipts.len();
        if found > CERTIFICATE_RECEIPTS_MAX {
            return Err(E::TooMany { found });
        }
        self.check_each(rule)?;
        let receipts = || self.receipts.iter().map(|signed| &signed.receipt);
        let with = |outcome: &Receipt| receipts().filter(|each| each.agrees(outcome)).count();
        let most = receipts().max_by_key(|outcome| with(outcome));
        let needed = rule.agree;
        let outcome = most.ok_or(E::NoAgreement { found: 0, needed })?;
        let found = with(outcome);
        if found < usize::from(needed) {
            return Err(E::NoAgreement { found, needed });
        }
        if outcome.profile.mode != EngineMode::Deterministic {
            return Err(E::NotDeterministic);
        }
        let (agreeing, outvoted): (Vec<_>, Vec<_>) =
            receipts().partition(|each| each.agrees(outcome));
        let nodes = |receipts: Vec<&Receipt>| receipts.iter().map(|each| each.node).collect();
        let present: BTreeSet<_> = receipts().map(|each| each.node).collect();
        Ok(Agreement {
            outcome,
            agreeing: nodes(agreeing),
            outvoted: nodes(outvoted),
            silent: rule.drawn.difference(&present).copied().collect(),
        })
    }

    fn check_each(&self, rule: &CertificateRule) -> Result<(), VerifyReceiptCertificateError> {
        use VerifyReceiptCertificateError as E;
        let mut last = None;
        for signed in &self.receipts {
            let Receipt {
                fabric,
                node,
                order,
                ..
            } = signed.receipt;
            if last.is_some_and(|last| last >= node) {
                return Err(E::Order { node });
            }
            last = Some(node);
            if fabric != rule.fabric {
                let found = fabric;
                return Err(E::OtherFabric { node, found });
            }
            if order != rule.order {
                let found = order;
                return Err(E::OtherOrder { node, found });
            }
            if !rule.drawn.contains(&node) {
                return Err(E::NotDrawn { node });
            }
        }
        // Last, as it costs most.
        for signed in &self.receipts {
            signed.verify()?;
        }
        Ok(())
    }
}
