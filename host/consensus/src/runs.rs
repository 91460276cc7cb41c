//! What one run of the engine says about the next: as usual, to end a round that a crash cut off,
//! or to take a state over from peers. Never runs anything.

use std::time::Duration;

use crate::engine::Pace;
use crate::error::Closed;
use crate::sync::Standing;

/// Times that a start tries to end a stuck round before it leaves that to the usual timeouts.
const UNBLOCKINGS_MAX: u32 = 3;
/// Pause before another try to take a state over, for each one in a row that failed.
const TAKE_OVER_PAUSE: Duration = Duration::from_secs(60);
/// Tries that lengthen the pause.
const PAUSES_MAX: u32 = 10;

/// What comes next.
pub(crate) enum Next {
    /// To take part.
    Agree(Mood),
    /// To take over the state of peers.
    TakeOver(Box<Standing>),
}

/// How a run takes part.
#[derive(Clone, Copy)]
pub(crate) struct Mood {
    pub(crate) pace: Pace,
    /// Whether a stuck round is left to the usual timeouts.
    pub(crate) patient: bool,
    /// How long it does not try to take a state over.
    pub(crate) rest: Duration,
}

/// What the runs until now say about the next.
pub(crate) struct Runs {
    pace: Pace,
    unblockings: u32,
    failed_take_overs: u32,
    standing: Option<Box<Standing>>,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            pace: Pace::Usual,
            unblockings: 0,
            failed_take_overs: 0,
            standing: None,
        }
    }
}

impl Runs {
    pub(crate) fn next(&mut self) -> Next {
        if let Some(standing) = self.standing.take() {
            return Next::TakeOver(standing);
        }
        Next::Agree(Mood {
            pace: self.pace,
            patient: self.unblockings >= UNBLOCKINGS_MAX,
            rest: TAKE_OVER_PAUSE * self.failed_take_overs.min(PAUSES_MAX),
        })
    }

    /// The reason to stop, or none where another run follows.
    pub(crate) fn after(&mut self, end: End) -> Option<Closed> {
        self.pace = match (end, self.pace) {
            (End::Closed(reason), _) => return Some(reason),
            (End::Stuck, Pace::Usual) => {
                self.unblockings += 1;
                Pace::Unblocking
            }
            (End::Stuck | End::Unblocked, _) => Pace::Usual,
            (End::Behind(standing), _) => {
                self.standing = Some(standing);
                Pace::Usual
            }
            (End::TakenOver, _) => {
                self.failed_take_overs = 0;
                Pace::Usual
            }
            (End::NotTakenOver, _) => {
                self.failed_take_overs += 1;
                Pace::Usual
            }
        };
        None
    }
}

/// How a run ended.
pub(crate) enum End {
    Closed(Closed),
    /// No round got under way: the last one before the start cannot end by itself.
    Stuck,
    /// The stuck round has ended.
    Unblocked,
    /// This node is too far behind to execute what it missed.
    Behind(Box<Standing>),
    /// The state of peers is here, and on disk.
    TakenOver,
    /// It is not, and what was here before still counts.
    NotTakenOver,
}

impl End {
    pub(crate) const fn failed(reason: String) -> Self {
        Self::Closed(Closed::Failed { reason })
    }

    pub(crate) const fn stopped() -> Self {
        Self::Closed(Closed::Stopped)
    }
}
