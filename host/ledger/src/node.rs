//! Nodes as places for replicas: what an operator says of one, what is on it, and why a replica does
//! not go there. Never knows what a node does with what is placed on it.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{Constraints, Labels, Name, NodeId};

use crate::record::Record;

/// Most replicas on one node: what goes elsewhere in one block when it is lost.
pub const PLACEMENTS_PER_NODE_MAX: u32 = 4_096;
/// Most labels of a node: each deployment reads those of all.
pub const LABELS_MAX: usize = 16;
/// Workloads that are looked at again by one transaction when there is room for what had none; the next
/// occasion goes on with others.
pub const UNPLACED_LOOKED_AT_MAX: usize = 64;
/// Replicas that one transaction looks at for new places, beside those of one workload: what a lost node
/// had of more is looked at by those that follow, so that no block takes long.
pub const REPLICAS_LOOKED_AT_MAX: u32 = 1_024;

/// How long after a node is said to be gone its singletons are placed elsewhere, milliseconds of ledger
/// time. A node that is cut off has noticed before it is said to be gone, and stops them within some
/// seconds; one that is not reads in the ledger that it is said to be gone. The rest is for clocks.
pub const HANDOVER_MS: u64 = 10_000;

/// Whether a node takes replicas. New states are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It does.
    #[default]
    Open,
    /// It keeps what it has and takes no more.
    Cordoned,
    /// What it has goes elsewhere as soon as it can.
    Draining,
}

impl NodeState {
    /// The state as commands and tables print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is said of a node as a place for replicas. By an admin, or by the node itself. New operations
/// are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeOperation {
    /// It takes replicas, or no more of them, or gives those that it has away.
    Turn {
        /// Which node.
        node: NodeId,
        /// What it does from now on.
        state: NodeState,
    },
    /// These are its labels from now on; at most [`LABELS_MAX`].
    Label {
        /// Which node.
        node: NodeId,
        /// All of them.
        labels: Labels,
    },
    /// Looks again for places for replicas that have none, or whose node is gone for long enough. By
    /// any member.
    Settle,
}

/// A member node as a place for replicas; one that has no record is as the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Replicas placed on it; at most [`PLACEMENTS_PER_NODE_MAX`].
    pub placements: u32,
    /// Whether it takes more.
    pub state: NodeState,
    /// What it is, as far as constraints ask.
    pub labels: Labels,
}

/// The workloads that have replicas on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWorkloadsRecord {
    /// With how many each, in name order.
    pub workloads: Vec<(Name, u32)>,
}

/// The workloads of which a replica is not where it should be: it has no place, or one on a node that
/// is gone or draining. Those looked at longest ago first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnplacedRecord {
    /// At most as many as there are deployments.
    pub workloads: Vec<Name>,
}

/// Why a replica does not go to a node. New reasons are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misfit {
    /// It is said to be gone.
    Gone,
    /// It takes no more.
    Cordoned,
    /// It is draining.
    Draining,
    /// It has as many replicas as it may.
    Full,
    /// The constraints name others.
    NotNamed,
    /// It lacks a label.
    Label,
    /// It has a replica of the component, and they stay apart.
    Apart,
    /// It has a replica of a workload that is stayed away from.
    Away,
}

impl Misfit {
    /// The reason as it is said of so many nodes.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::NotNamed => "not among the nodes that are named",
            Self::Label => "without a label that is asked for",
            Self::Apart => "taken by another replica of it",
            Self::Away => "taken by a workload that it stays away from",
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// What decides whether a replica may go to a node, beside what is on it.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// Which node.
    pub node: &'a NodeId,
    /// What is said of it.
    pub record: &'a NodeRecord,
    /// Whether more than a third of the validators say that it is gone.
    pub gone: bool,
}

impl NodeFacts<'_> {
    /// Why a replica that is there should go elsewhere.
    #[must_use]
    pub const fn ousts(&self) -> Option<Misfit> {
        match self.record.state {
            _ if self.gone => Some(Misfit::Gone),
            NodeState::Draining => Some(Misfit::Draining),
            NodeState::Open | NodeState::Cordoned => None,
        }
    }

    /// Why a replica that is there cannot stay under `constraints`.
    #[must_use]
    pub fn expels(&self, constraints: &Constraints) -> Option<Misfit> {
        let has = |(label, value)| self.record.labels.get(label) == Some(value);
        if !constraints.nodes.is_empty() && !constraints.nodes.contains(self.node) {
            Some(Misfit::NotNamed)
        } else if !constraints.labels.iter().all(has) {
            Some(Misfit::Label)
        } else {
            self.ousts()
        }
    }

    /// Why no further replica goes there under `constraints`.
    #[must_use]
    pub fn refuses(&self, constraints: &Constraints) -> Option<Misfit> {
        let expels = self.expels(constraints);
        let full = self.record.placements >= PLACEMENTS_PER_NODE_MAX;
        expels.or(match self.record.state {
            NodeState::Cordoned => Some(Misfit::Cordoned),
            _ if full => Some(Misfit::Full),
            _ => None,
        })
    }
}

impl Record for NodeRecord {}
impl Record for NodeWorkloadsRecord {}
impl Record for UnplacedRecord {}
