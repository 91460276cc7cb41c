//! Execution orders: what is to run, who is drawn to run it, and the one form of what goes in and
//! comes out. Runs nothing, and knows nothing of a component but its digest.
//!
//! # Canonical forms
//! Arguments and result are in WAVE as the engine writes it: the export's full name, one text per
//! argument, and one text for the result, empty for a function without one.
//!
//! ```text
//! order   = operation digest (domain, fabric) of the order's wire form
//! input   = BLAKE3("hypermesh/proofs/input/1\0"  | postcard of the list of arguments)
//! output  = BLAKE3("hypermesh/proofs/output/1\0" | postcard of the result)
//! ```
//!
//! # Who is drawn
//! The draw depends on everything that decides the outcome and on the beacon of the anchor block,
//! not on the salt: so no salt moves it. Whoever makes the order may choose among the few blocks
//! that count as recent, and so has that many draws; it may also drop an order whose draw it does
//! not like and ask again later, or for other arguments. It cannot name the nodes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, Name, NodeId, Replication};

use crate::certificate::{CertificateRule, draw_nodes};
use crate::encoding::{DecodeProofError, read, to_sign, written};
use crate::receipt::Export;
use crate::work::operation_digest;

const DRAW_DOMAIN: &[u8] = b"hypermesh/proofs/order-draw/1\0";
const AGAIN_DOMAIN: &[u8] = b"hypermesh/proofs/order-again/1\0";
const INPUT_DOMAIN: &[u8] = b"hypermesh/proofs/input/1\0";
const OUTPUT_DOMAIN: &[u8] = b"hypermesh/proofs/output/1\0";

/// Largest order: its arguments, as the request to a node carries them along with the result, and
/// room for names.
pub const ORDER_BYTES_MAX: usize = 128 << 10;
/// How many blocks may be final after the anchor when an order is executed: the fewer, the fewer
/// draws there are to choose from; so many pass within seconds while a fabric is busy.
pub const ORDER_ANCHOR_BLOCKS_MAX: u64 = 8;

/// One invocation that several nodes run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionOrder {
    /// The only fabric that it is good for.
    pub fabric: FabricId,
    /// Of this workload.
    pub workload: Name,
    /// Of this generation of its deployment: limits and settings are the ledger's.
    pub generation: u64,
    /// This component.
    pub component: Name,
    /// Its binary.
    pub artifact: Digest,
    /// The seed of its deterministic profile.
    pub deterministic_seed: u64,
    /// The full name of the export.
    pub export: Export,
    /// In canonical form.
    pub arguments: Vec<String>,
    /// How many run it and how many must agree.
    pub replication: Replication,
    /// The height of the block whose beacon draws the nodes.
    pub anchor: u64,
    /// Tells orders of one call apart: their receipts do not stand for each other.
    pub salt: [u8; 16],
}

/// A fabric in which the dial of an order cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// Fewer members than are to run it.
    #[error("{wanted} nodes are to run it, the fabric has {members}: ask for fewer")]
    TooFew {
        /// How many are to run it.
        wanted: u16,
        /// How many there are.
        members: usize,
    },
    /// More than one certificate takes receipts of.
    #[error(
        "all {members} members are to run it, at most {} can: ask for M/K of them",
        Replication::NODES_MAX
    )]
    TooMany {
        /// How many there are.
        members: usize,
    },
}

impl ExecutionOrder {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`DecodeProofError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        read("an execution order", ORDER_BYTES_MAX, bytes)
    }

    /// What receipts of it name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        operation_digest(&self.fabric, &self.encode())
    }

    /// The digest of its arguments.
    #[must_use]
    pub fn input(&self) -> Digest {
        Digest::of(&to_sign(INPUT_DOMAIN, &self.arguments))
    }

    /// The members that run it.
    ///
    /// # Errors
    /// [`DrawError`] if there are too few or too many of them.
    pub fn drawn(
        &self,
        beacon: &Digest,
        members: &BTreeSet<NodeId>,
    ) -> Result<BTreeSet<NodeId>, DrawError> {
        let found = members.len();
        let many = DrawError::TooMany { members: found };
        let (_, wanted) = self
            .replication
            .among(u16::try_from(found).map_err(|_| many)?);
        if wanted > Replication::NODES_MAX {
            return Err(many);
        }
        if wanted == 0 || usize::from(wanted) > found {
            let members = found;
            return Err(DrawError::TooFew { wanted, members });
        }
        let outcome = Self {
            anchor: 0,
            salt: [0; 16],
            ..self.clone()
        };
        let order = Digest::of(&to_sign(DRAW_DOMAIN, &outcome));
        Ok(draw_nodes(beacon, &order, members, wanted))
    }

    /// What makes a certificate of it good, if these were drawn.
    #[must_use]
    pub fn rule(&self, drawn: BTreeSet<NodeId>) -> CertificateRule {
        let members = u16::try_from(drawn.len()).unwrap_or(u16::MAX);
        let (agree, _) = self.replication.among(members);
        CertificateRule {
            fabric: self.fabric,
            order: self.digest(),
            drawn,
            agree,
        }
    }
}

/// The digest of a result in canonical form.
#[must_use]
pub fn output_digest(result: &str) -> Digest {
    Digest::of(&to_sign(OUTPUT_DOMAIN, &result))
}

/// An order that others run again, to see whether receipts of it are true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rerun {
    /// What ran.
    pub order: ExecutionOrder,
    /// The height of the block whose beacon draws the nodes: a recent one, where the order's is old.
    pub anchor: u64,
    /// Whose receipts are looked into: they are not asked again.
    pub except: BTreeSet<NodeId>,
    /// How many run it, as far as there are so many others.
    pub count: u16,
}

impl Rerun {
    /// The members that run it again.
    #[must_use]
    pub fn drawn(&self, beacon: &Digest, members: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let others = members.difference(&self.except).copied().collect();
        let order = [AGAIN_DOMAIN, self.order.digest().as_bytes()].concat();
        draw_nodes(beacon, &Digest::of(&order), &others, self.count)
    }
}
