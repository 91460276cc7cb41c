//! The life of one replica as a state machine: which step is possible in which state, and where it
//! leads. Knows no ledger, no time and no instance.
//!
//! ```text
//! created ──start──► starting ──started──► running ──pause──► pausing ──paused──► paused
//!                     │    └──────────────paused (came up paused)─────────────────►│
//!                     │                      ▲                                     │ resume
//!                     │                      └────────resumed──── resuming ◄───────┘
//!                     └ and every live state: ended ──► waiting ──start──► starting
//!                                                  ├──► completed
//!                                                  └──► failed(reason)
//! live ──stop──► stopping ──stopped, ended──► stopped ◄──stop── not live
//! ```

use std::fmt;

/// Where a replica is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// Known, and not asked to start.
    Created,
    /// Asked to start.
    Starting,
    /// Started: takes calls, or runs as a command.
    Running,
    /// Asked to halt.
    Pausing,
    /// Halted: there with all that it holds, without using cpu.
    Paused,
    /// Asked to go on.
    Resuming,
    /// Ended, and is started again at this time.
    Waiting {
        /// Monotonic milliseconds.
        until_ms: u64,
        /// How long it waits in all.
        backoff_ms: u64,
    },
    /// A command that ended well and is not started again.
    Completed,
    /// Ended badly and is not started again.
    Failed {
        /// Why.
        reason: String,
    },
    /// Asked to stop.
    Stopping,
    /// Gone.
    Stopped,
}

/// What happens to a replica: half of it is asked for, half is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Asked to start.
    Start,
    /// Reported: it runs.
    Started,
    /// Asked to halt.
    Pause,
    /// Reported: it is halted, or came up so.
    Paused,
    /// Asked to go on.
    Resume,
    /// Reported: it goes on.
    Resumed,
    /// Reported: it ended by itself.
    Ended(Then),
    /// Asked to stop.
    Stop,
    /// Reported: it is gone as it was asked.
    Stopped,
}

/// What follows an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Another start.
    Restart {
        /// Monotonic milliseconds.
        until_ms: u64,
        /// How long that is from now.
        backoff_ms: u64,
    },
    /// Nothing: it ended well.
    Complete,
    /// Nothing: it failed.
    Fail {
        /// Why.
        reason: String,
    },
}

/// A step that is not possible in a state. The state stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a replica that is {state} cannot take the step {step:?}: {}", self.reason())]
pub struct IllegalStep {
    /// Where it is.
    pub state: Lifecycle,
    /// What should have happened.
    pub step: Step,
}

impl IllegalStep {
    /// Why it is not possible.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match (&self.state, &self.step) {
            (Lifecycle::Stopped, _) => "it is gone, and a new one takes its place",
            (Lifecycle::Stopping, _) => "it only ends from here",
            (_, Step::Start) => "it is started once, and again only after it ended",
            (_, Step::Pause | Step::Resume) => {
                "only what runs is paused, only what is paused goes on"
            }
            (_, Step::Stop) => "it is stopped once",
            (_, Step::Started | Step::Paused | Step::Resumed | Step::Stopped) => {
                "a report must answer a request"
            }
            (_, Step::Ended(_)) => "what does not live cannot end",
        }
    }
}

impl Lifecycle {
    /// Whether there is an instance, or one is being made.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(
            self,
            Self::Starting
                | Self::Running
                | Self::Pausing
                | Self::Paused
                | Self::Resuming
                | Self::Stopping
        )
    }

    /// The state after `step`.
    ///
    /// # Errors
    /// [`IllegalStep`] if the step is not possible in this state.
    pub fn after(&self, step: Step) -> Result<Self, IllegalStep> {
        let next = match (self, step) {
            (Self::Created | Self::Waiting { .. }, Step::Start) => Self::Starting,
            (Self::Starting, Step::Started) | (Self::Resuming, Step::Resumed) => Self::Running,
            (Self::Running, Step::Pause) => Self::Pausing,
            (Self::Starting | Self::Pausing, Step::Paused) => Self::Paused,
            (Self::Paused, Step::Resume) => Self::Resuming,
            (Self::Stopping, Step::Stopped | Step::Ended(_)) => Self::Stopped,
            (Self::Stopping | Self::Stopped, step) => return Err(self.illegal(step)),
            (live, Step::Stop) if live.is_live() => Self::Stopping,
            (_, Step::Stop) => Self::Stopped,
            (live, Step::Ended(then)) if live.is_live() => match then {
                Then::Restart {
                    until_ms,
                    backoff_ms,
                } => Self::Waiting {
                    until_ms,
                    backoff_ms,
                },
                Then::Complete => Self::Completed,
                Then::Fail { reason } => Self::Failed { reason },
            },
            (_, step) => return Err(self.illegal(step)),
        };
        Ok(next)
    }

    fn illegal(&self, step: Step) -> IllegalStep {
        let state = self.clone();
        IllegalStep { state, step }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
            Self::Waiting { .. } => "waiting",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each step leads from each state; `-` where it is illegal. The three ends are
    /// restart, complete and fail.
    const TABLE: &str = "
state      start    started pause   paused resume   resumed restart complete  fail    stop     stopped
created    starting -       -       -      -        -       -       -         -       stopped  -
starting   -        running -       paused -        -       waiting completed failed  stopping -
running    -        -       pausing -      -        -       waiting completed failed  stopping -
pausing    -        -       -       paused -        -       waiting completed failed  stopping -
paused     -        -       -       -      resuming -       waiting completed failed  stopping -
resuming   -        -       -       -      -        running waiting completed failed  stopping -
waiting    starting -       -       -      -        -       -       -         -       stopped  -
completed  -        -       -       -      -        -       -       -         -       stopped  -
failed     -        -       -       -      -        -       -       -         -       stopped  -
stopping   -        -       -       -      -        -       stopped stopped   stopped -        stopped
stopped    -        -       -       -      -        -       -       -         -       -        -
";

    fn states() -> [Lifecycle; 11] {
        use Lifecycle::*;
        let waiting = Waiting {
            until_ms: 7,
            backoff_ms: 3,
        };
        let reason = "boom".to_owned();
        [
            Created,
            Starting,
            Running,
            Pausing,
            Paused,
            Resuming,
            waiting,
            Completed,
            Failed { reason },
            Stopping,
            Stopped,
        ]
    }

    fn steps() -> [(&'static str, Step); 11] {
        let restart = Then::Restart {
            until_ms: 7,
            backoff_ms: 3,
        };
        let reason = "boom".to_owned();
        [
            ("start", Step::Start),
            ("started", Step::Started),
            ("pause", Step::Pause),
            ("paused", Step::Paused),
            ("resume", Step::Resume),
            ("resumed", Step::Resumed),
            ("restart", Step::Ended(restart)),
            ("complete", Step::Ended(Then::Complete)),
            ("fail", Step::Ended(Then::Fail { reason })),
            ("stop", Step::Stop),
            ("stopped", Step::Stopped),
        ]
    }

    #[test]
    fn every_step_from_every_state_is_as_the_table_says() {
        let mut rows = TABLE.trim().lines().map(str::split_whitespace);
        let headings: Vec<&str> = rows.next().unwrap().skip(1).collect();
        assert_eq!(headings, steps().map(|(name, _)| name));
        for state in states() {
            let mut row = rows.next().unwrap();
            assert_eq!(row.next(), Some(state.to_string().as_str()));
            for (name, step) in steps() {
                let wanted = row.next().unwrap();
                match state.after(step.clone()) {
                    Ok(next) => {
                        assert_eq!(next.to_string(), wanted, "{state}, {name}");
                        // What an end says is kept.
                        let same = states().into_iter().find(|s| s.to_string() == wanted);
                        assert_eq!(Some(next), same);
                    }
                    Err(illegal) => {
                        assert_eq!(wanted, "-", "{illegal}");
                        assert_eq!((&illegal.state, &illegal.step), (&state, &step));
                        assert!(illegal.to_string().contains(illegal.reason()));
                    }
                }
            }
            assert_eq!(row.next(), None);
        }
        assert_eq!(rows.next().map(|_| "a row too many"), None);
    }

    #[test]
    fn every_live_state_can_be_stopped_and_every_stop_ends() {
        for state in states() {
            if state == Lifecycle::Stopping || state == Lifecycle::Stopped {
                continue;
            }
            let stop = state.after(Step::Stop).unwrap();
            if state.is_live() {
                assert_eq!(stop, Lifecycle::Stopping);
                assert_eq!(stop.after(Step::Stopped), Ok(Lifecycle::Stopped));
            } else {
                assert_eq!(stop, Lifecycle::Stopped);
            }
        }
    }
}
