//! What the reconciler is told of instances, and what it asks for. Decides nothing.

use std::sync::Arc;

use types::{ComponentSpec, Name};

/// The address of a replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// The deployment.
    pub workload: Name,
    /// Its component.
    pub component: Name,
    /// Which replica of it.
    pub index: u16,
}

impl std::fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.workload, self.component, self.index)
    }
}

/// What happened to an instance that an effect asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It takes calls.
    Started,
    /// It has halted, or came up so.
    Paused,
    /// It goes on.
    Resumed,
    /// It ended by itself, or could not start.
    Ended {
        /// Why, unless it ended well.
        failure: Option<String>,
    },
    /// It was stopped on request and is gone.
    Stopped,
}

/// What the node must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start an instance. Exactly one [`Event`] of `Started`, `Paused` or `Ended` follows, then
    /// others.
    Start {
        /// Which replica.
        key: ReplicaKey,
        /// Of which generation: events must name it.
        generation: u64,
        /// What to start.
        spec: Arc<ComponentSpec>,
        /// Whether it comes up paused: there, and not run.
        paused: bool,
    },
    /// Halt an instance, or have it come up halted if it is still being started. One
    /// [`Event::Paused`] follows unless it is halted already.
    Pause {
        /// Which replica.
        key: ReplicaKey,
        /// Of which generation.
        generation: u64,
    },
    /// Let an instance go on. One [`Event::Resumed`] follows unless it is not halted.
    Resume {
        /// Which replica.
        key: ReplicaKey,
        /// Of which generation.
        generation: u64,
    },
    /// Stop an instance, letting its calls end. Exactly one [`Event::Stopped`] follows.
    Stop {
        /// Which replica.
        key: ReplicaKey,
        /// Of which generation.
        generation: u64,
    },
}
