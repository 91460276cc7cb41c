//! One replica on this node, as the reconciler follows it.

use std::sync::Arc;

use types::{ComponentKind, ComponentSpec, RestartPolicy};

use crate::backoff::Backoff;
use crate::lifecycle::{IllegalStep, Lifecycle, Step, Then};

/// What the ledger wants under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) generation: u64,
    pub(crate) spec: Arc<ComponentSpec>,
    pub(crate) paused: bool,
}

/// What is known of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Where it is in its life.
    pub state: Lifecycle,
    /// The generation that it is of.
    pub generation: u64,
    /// Why it failed last.
    pub reason: Option<String>,
    /// Starts after the first of this generation.
    pub restarts: u64,
    /// Its deployment is paused: if it waits to be started again, it waits for that, too.
    pub held: bool,
}

/// A replica with what decides its next step.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    state: Lifecycle,
    pub(crate) generation: u64,
    pub(crate) spec: Arc<ComponentSpec>,
    /// Whether it is meant to be paused.
    pub(crate) paused: bool,
    /// No longer wanted under its key: stays until all that lives under the key is gone.
    pub(crate) leaving: bool,
    reason: Option<String>,
    restarts: u64,
    /// An instance of an older generation that serves until this one is there.
    pub(crate) predecessor: Option<u64>,
    started_at_ms: u64,
    backoff: Backoff,
}

impl Replica {
    pub(crate) fn new(wanted: Wanted) -> Self {
        let Wanted {
            generation,
            spec,
            paused,
        } = wanted;
        Self {
            state: Lifecycle::Created,
            generation,
            spec,
            paused,
            leaving: false,
            reason: None,
            restarts: 0,
            predecessor: None,
            started_at_ms: 0,
            backoff: Backoff::default(),
        }
    }

    pub(crate) const fn state(&self) -> &Lifecycle {
        &self.state
    }

    pub(crate) fn observed(&self) -> Observed {
        Observed {
            state: if self.leaving {
                Lifecycle::Stopping
            } else {
                self.state.clone()
            },
            generation: self.generation,
            reason: self.reason.clone(),
            restarts: self.restarts,
            held: self.paused,
        }
    }

    /// Takes a step, or stays where it is: a report that came late says nothing new.
    pub(crate) fn step(&mut self, step: Step) -> Result<(), IllegalStep> {
        self.state = self.state.after(step)?;
        Ok(())
    }

    /// Asked to start: whether that makes sense now.
    pub(crate) fn start(&mut self, now_ms: u64) -> Result<(), IllegalStep> {
        let again = self.state != Lifecycle::Created;
        self.step(Step::Start)?;
        self.restarts += u64::from(again);
        self.started_at_ms = now_ms;
        Ok(())
    }

    /// It has come up, running or paused.
    pub(crate) const fn came_up(&mut self, now_ms: u64) {
        self.started_at_ms = now_ms;
    }

    /// Decides what follows an end: `failure` says why it was a bad one.
    pub(crate) fn ended(
        &mut self,
        now_ms: u64,
        failure: Option<String>,
    ) -> Result<(), IllegalStep> {
        let again = match self.spec.restart {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => failure.is_some(),
            RestartPolicy::Never => false,
        };
        let then = match &failure {
            _ if again => {
                let ran_ms = now_ms.saturating_sub(self.started_at_ms);
                let backoff_ms = self.backoff.next_pause_ms(ran_ms);
                Then::Restart {
                    until_ms: now_ms.saturating_add(backoff_ms),
                    backoff_ms,
                }
            }
            Some(reason) => Then::Fail {
                reason: reason.clone(),
            },
            None => Then::Complete,
        };
        self.step(Step::Ended(then))?;
        if failure.is_some() {
            self.reason = failure;
        }
        Ok(())
    }

    /// When it is to be started again, unless its deployment is paused.
    pub(crate) const fn restarts_at_ms(&self) -> Option<u64> {
        match self.state {
            Lifecycle::Waiting { until_ms, .. } if !self.paused && !self.leaving => Some(until_ms),
            _ => None,
        }
    }

    /// Whether two generations may serve side by side during a replacement.
    pub(crate) fn overlaps(&self) -> bool {
        self.spec.kind != ComponentKind::Command
    }
}
