//! One replica on this node, as the reconciler follows it.

use std::sync::Arc;

use types::{ComponentKind, ComponentSpec, RestartPolicy};

use crate::backoff::Backoff;

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Asked to start.
    Starting,
    /// Started.
    Running,
    /// Pauses until this time before it is started again.
    Waiting {
        /// Monotonic milliseconds.
        until_ms: u64,
    },
    /// A command that ended well and is not started again.
    Completed,
    /// Ended badly and is not started again.
    Failed,
    /// Asked to stop.
    Stopping,
}

/// What is known of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Where it is in its life.
    pub phase: Phase,
    /// The generation that it is of.
    pub generation: u64,
    /// Why it failed last.
    pub reason: Option<String>,
    /// Starts after the first of this generation.
    pub restarts: u64,
}

/// A replica with what decides its next step.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) phase: Phase,
    pub(crate) generation: u64,
    pub(crate) spec: Arc<ComponentSpec>,
    pub(crate) reason: Option<String>,
    pub(crate) restarts: u64,
    /// An instance of an older generation that serves until this one runs.
    pub(crate) predecessor: Option<u64>,
    started_at_ms: u64,
    backoff: Backoff,
}

impl Replica {
    pub(crate) fn new(now_ms: u64, generation: u64, spec: Arc<ComponentSpec>) -> Self {
        Self {
            phase: Phase::Starting,
            generation,
            spec,
            reason: None,
            restarts: 0,
            predecessor: None,
            started_at_ms: now_ms,
            backoff: Backoff::default(),
        }
    }

    pub(crate) fn observed(&self) -> Observed {
        Observed {
            phase: self.phase,
            generation: self.generation,
            reason: self.reason.clone(),
            restarts: self.restarts,
        }
    }

    pub(crate) fn started(&mut self, now_ms: u64) {
        self.phase = Phase::Running;
        self.started_at_ms = now_ms;
    }

    /// Decides what follows an end: `failure` says why it was a bad one.
    pub(crate) fn ended(&mut self, now_ms: u64, failure: Option<String>) {
        let again = match self.spec.restart {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => failure.is_some(),
            RestartPolicy::Never => false,
        };
        self.phase = if again {
            let ran_ms = now_ms.saturating_sub(self.started_at_ms);
            Phase::Waiting {
                until_ms: now_ms + self.backoff.next_pause_ms(ran_ms),
            }
        } else if failure.is_some() {
            Phase::Failed
        } else {
            Phase::Completed
        };
        if failure.is_some() {
            self.reason = failure;
        }
    }

    pub(crate) fn restart(&mut self, now_ms: u64) {
        self.phase = Phase::Starting;
        self.restarts += 1;
        self.started_at_ms = now_ms;
    }

    /// Whether two generations may serve side by side during a replacement.
    pub(crate) fn overlaps(&self) -> bool {
        self.spec.kind != ComponentKind::Command
    }
}
