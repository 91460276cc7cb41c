//! Where the replicas of a component may go, as its deployer says. Knows no node but by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::NodeId;
use crate::name::Name;

/// What a node must be and have for a replica to go there, and which of those it goes to. Nothing is
/// demanded at first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// Only these nodes; any, if there is none here.
    pub nodes: BTreeSet<NodeId>,
    /// Only nodes that have all of these labels.
    pub labels: Labels,
    /// At most one replica of the component on a node.
    pub apart: bool,
    /// Replicas go to as many values of this label as can be, before anything else is looked at.
    /// Nodes without the label count as one.
    pub spread: Option<Name>,
    /// Rather to nodes that have replicas of these workloads.
    pub near: BTreeSet<Name>,
    /// Never to a node that has a replica of one of these workloads when it is chosen.
    pub away: BTreeSet<Name>,
    /// No replica is ever on two nodes at once, also if one of them is cut off: it is started elsewhere
    /// later. Commands are always so.
    pub singleton: bool,
}

/// Labels of a node: what for and what, `zone` and `eu-west`.
pub type Labels = BTreeMap<Name, Name>;

/// Constraints that say too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("names {count} {what}, at most {max} are allowed")]
pub struct ConstraintsError {
    /// Of what.
    pub what: &'static str,
    /// How many there are.
    pub count: usize,
    /// The bound.
    pub max: usize,
}

impl Constraints {
    /// Most nodes, labels and workloads that are named: each is looked at for every node.
    pub const NAMED_MAX: usize = 16;

    /// Whether nothing is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`ConstraintsError`] names the first that is exceeded.
    pub fn check(&self) -> Result<(), ConstraintsError> {
        let counts = [
            ("nodes", self.nodes.len()),
            ("labels", self.labels.len()),
            ("workloads to be near to", self.near.len()),
            ("workloads to be away from", self.away.len()),
        ];
        let max = Self::NAMED_MAX;
        let over = counts.into_iter().find(|(_, count)| *count > max);
        over.map_or(Ok(()), |(what, count)| {
            Err(ConstraintsError { what, count, max })
        })
    }
}

impl fmt::Display for Constraints {
    /// As tables show them: what is demanded, or `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.nodes.is_empty() {
            let nodes: Vec<_> = self.nodes.iter().map(NodeId::short).collect();
            parts.push(format!("nodes {}", nodes.join(" ")));
        }
        parts.extend(
            self.labels
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        if self.apart {
            parts.push("apart".to_owned());
        }
        if let Some(label) = &self.spread {
            parts.push(format!("spread over {label}"));
        }
        if self.singleton {
            parts.push("singleton".to_owned());
        }
        parts.extend(self.near.iter().map(|workload| format!("near {workload}")));
        parts.extend(
            self.away
                .iter()
                .map(|workload| format!("away from {workload}")),
        );
        if parts.is_empty() {
            return f.pad("-");
        }
        f.pad(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded_is_shown_and_bounded() {
        let mut constraints = Constraints::default();
        assert_eq!(
            (constraints.is_empty(), constraints.to_string().as_str()),
            (true, "-")
        );
        let name = |text: &str| Name::new(text).unwrap();
        constraints.labels.insert(name("zone"), name("eu"));
        constraints.apart = true;
        constraints.spread = Some(name("rack"));
        constraints.away.insert(name("noisy"));
        let shown = "zone=eu, apart, spread over rack, away from noisy";
        assert_eq!(constraints.to_string(), shown);
        assert_eq!(constraints.check(), Ok(()));
        let many = (0..=Constraints::NAMED_MAX).map(|number| name(&format!("w{number}")));
        constraints.near = many.collect();
        assert_eq!(constraints.check().unwrap_err().count, 17);
    }
}
