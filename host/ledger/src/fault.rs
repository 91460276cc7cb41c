//! Faults: executions in which a node's receipt was outvoted by those of others, drawn with it. Runs
//! nothing; what a certificate proves is the proofs' own.
//!
//! A fault says that more than half of the nodes that the beacon drew for an order signed another outcome.
//! It is evidence against the outvoted as far as the drawn nodes are not most of them liars together.

use proofs::{ExecutionOrder, ReceiptCertificate};
use serde::{Deserialize, Serialize};
use types::{Digest, NodeId};

use crate::record::Record;

/// Faults of one node that are told apart at most. While there are so many of recent orders, more are
/// refused.
pub const RECENT_FAULTS_MAX: usize = 64;

/// Shows that nodes did not do what they signed. New operations are appended: the order is part of the
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultOperation {
    /// A certificate in which receipts are outvoted. By anybody with a role, while the order's anchor is
    /// one of the last blocks.
    Outvoted {
        /// What was ordered.
        order: Box<ExecutionOrder>,
        /// All receipts of it.
        certificate: ReceiptCertificate,
    },
}

/// What is on record against one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// How often it was outvoted.
    pub outvoted: u32,
    /// Height of the last block that says so.
    pub last_at: u64,
    /// Recent orders in which it was, with the heights of their anchors; at most
    /// [`RECENT_FAULTS_MAX`].
    pub recent: Vec<(Digest, u64)>,
}

/// Members that joined and did not leave, in the order of their joining.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedRecord {
    /// With the height of the block in which each joined.
    pub nodes: Vec<(NodeId, u64)>,
}

impl Record for FaultRecord {}
impl Record for JoinedRecord {}
