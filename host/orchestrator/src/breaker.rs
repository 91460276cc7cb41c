//! A circuit breaker: when calls to a place that fails are held back, and when they are tried again. Pure:
//! the time comes in. Knows no call and no place.
//!
//! | state | a call comes | a call ended well | a call failed | time passes |
//! |---|---|---|---|---|
//! | closed | goes | is counted | is counted; opens, if half of enough calls failed | what is older than the window is forgotten |
//! | open | is held back | - | - | after a pause: half open |
//! | half open | goes, one at a time | closes, after enough of them | opens, for twice as long | - |
//!
//! (Nygard, *Release It!*, "Circuit Breaker".)

/// Calls of so long ago count.
pub const WINDOW_MS: u64 = 10_000;
/// Fewer calls within the window say nothing.
pub const CALLS_MIN: u32 = 8;
/// It opens where so many of a hundred calls fail.
pub const OPENS_AT_PERCENT: u32 = 50;
/// First pause before a call is tried again.
pub const PAUSE_MS_MIN: u64 = 1_000;
/// Longest pause: it doubles each time that the trial fails.
pub const PAUSE_MS_MAX: u64 = 30_000;
/// Trials that must end well, one after the other, before it closes.
pub const TRIALS: u32 = 3;
/// A trial that has not ended after this long counts as failed: its caller may be gone.
pub const TRIAL_MS_MAX: u64 = 60_000;

/// The window is counted in so many parts.
const PARTS: usize = 10;
const PART_MS: u64 = WINDOW_MS / PARTS as u64;

/// What becomes of calls now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They go.
    Closed,
    /// They are held back until then, milliseconds.
    Open {
        /// When one is tried.
        until_ms: u64,
    },
    /// One at a time is tried.
    HalfOpen,
}

/// Calls of one part of the window.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Which one: time by its length.
    number: u64,
    calls: u32,
    failures: u32,
}

/// The breaker of one place.
#[derive(Debug, Clone)]
pub struct Breaker {
    state: BreakerState,
    parts: [Part; PARTS],
    pause_ms: u64,
    /// When the trial that is under way began.
    trial_since_ms: Option<u64>,
    /// Trials that ended well.
    trials: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: BreakerState::Closed,
            parts: [Part::default(); PARTS],
            pause_ms: PAUSE_MS_MIN,
            trial_since_ms: None,
            trials: 0,
        }
    }
}

impl Breaker {
    /// What becomes of calls now.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Whether a call would go now; says nothing of the next one.
    #[must_use]
    pub fn would_admit(&self, now_ms: u64) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open { until_ms } => until_ms <= now_ms,
            BreakerState::HalfOpen => self.is_free(now_ms),
        }
    }

    /// Whether a call goes. One that goes must be said to have ended.
    pub fn admits(&mut self, now_ms: u64) -> bool {
        if !self.would_admit(now_ms) {
            return false;
        }
        match self.state {
            BreakerState::Closed => {}
            BreakerState::Open { .. } => {
                self.state = BreakerState::HalfOpen;
                self.trials = 0;
                self.trial_since_ms = Some(now_ms);
            }
            BreakerState::HalfOpen => self.trial_since_ms = Some(now_ms),
        }
        true
    }

    /// A call ended that went.
    pub fn ended(&mut self, now_ms: u64, well: bool) {
        match (self.state, well) {
            (BreakerState::Closed, _) => self.count(now_ms, well),
            // It went before.
            (BreakerState::Open { .. }, _) => {}
            (BreakerState::HalfOpen, true) => {
                self.trial_since_ms = None;
                self.trials += 1;
                if self.trials >= TRIALS {
                    *self = Self::default();
                }
            }
            (BreakerState::HalfOpen, false) => {
                self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS_MAX);
                self.open(now_ms);
            }
        }
    }

    fn count(&mut self, now_ms: u64, well: bool) {
        let number = now_ms / PART_MS;
        let at = usize::try_from(number).unwrap_or(usize::MAX) % PARTS;
        if let Some(part) = self.parts.get_mut(at) {
            if part.number != number {
                *part = Part {
                    number,
                    ..Part::default()
                };
            }
            part.calls = part.calls.saturating_add(1);
            part.failures = part.failures.saturating_add(u32::from(!well));
        }
        let oldest = number.saturating_sub(PARTS as u64 - 1);
        let recent = self.parts.iter().filter(|part| part.number >= oldest);
        let (calls, failures) = recent.fold((0_u64, 0_u64), |(calls, failures), part| {
            (
                calls + u64::from(part.calls),
                failures + u64::from(part.failures),
            )
        });
        let enough = calls >= u64::from(CALLS_MIN);
        if !well && enough && failures * 100 >= calls * u64::from(OPENS_AT_PERCENT) {
            self.open(now_ms);
        }
    }

    fn open(&mut self, now_ms: u64) {
        *self = Self {
            state: BreakerState::Open {
                until_ms: now_ms.saturating_add(self.pause_ms),
            },
            pause_ms: self.pause_ms,
            ..Self::default()
        };
    }

    fn is_free(&self, now_ms: u64) -> bool {
        let long = |since: u64| now_ms.saturating_sub(since) >= TRIAL_MS_MAX;
        self.trial_since_ms.is_none_or(long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..CALLS_MIN {
            assert!(breaker.admits(now_ms));
            breaker.ended(now_ms, false);
        }
        breaker
    }

    #[test]
    fn it_opens_at_half_of_enough_calls() {
        let mut breaker = Breaker::default();
        for call in 0..CALLS_MIN - 1 {
            breaker.ended(0, call % 2 == 0);
            assert_eq!(breaker.state(), BreakerState::Closed, "after {call}");
        }
        breaker.ended(0, false);
        assert_eq!(
            breaker.state(),
            BreakerState::Open {
                until_ms: PAUSE_MS_MIN
            }
        );
        let mut well = Breaker::default();
        for call in 0..1_000 {
            // A third.
            well.ended(call * 10, call % 3 > 0);
            assert_eq!(well.state(), BreakerState::Closed);
        }
    }

    #[test]
    fn failures_are_forgotten_after_the_window() {
        let mut breaker = Breaker::default();
        for call in 0..100 {
            // One failure in a window, and no other call.
            breaker.ended(call * WINDOW_MS, false);
        }
        for _ in 0..CALLS_MIN - 2 {
            breaker.ended(99 * WINDOW_MS, false);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.ended(100 * WINDOW_MS - 1, false);
        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
    }

    #[test]
    fn open_holds_back_and_then_tries_one_at_a_time() {
        let mut breaker = failing(0);
        assert!(!breaker.admits(PAUSE_MS_MIN - 1));
        assert!(breaker.admits(PAUSE_MS_MIN));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.admits(PAUSE_MS_MIN), "a second trial at once");
        for trial in 1..=TRIALS {
            breaker.ended(PAUSE_MS_MIN + 1, true);
            let closed = breaker.state() == BreakerState::Closed;
            assert_eq!(closed, trial == TRIALS);
            assert!(breaker.admits(PAUSE_MS_MIN + 1));
        }
        // Closed with nothing counted from before.
        for _ in 0..CALLS_MIN - 1 {
            breaker.ended(PAUSE_MS_MIN + 1, false);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_failed_trial_doubles_the_pause_up_to_a_bound() {
        let (mut breaker, mut now_ms, mut pauses) = (failing(0), 0, Vec::new());
        for _ in 0..8 {
            let BreakerState::Open { until_ms } = breaker.state() else {
                panic!("not open");
            };
            pauses.push(until_ms - now_ms);
            now_ms = until_ms;
            assert!(breaker.admits(now_ms));
            breaker.ended(now_ms, false);
        }
        assert_eq!(
            pauses,
            [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
        );
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another() {
        let mut breaker = failing(0);
        assert!(breaker.admits(PAUSE_MS_MIN));
        assert!(!breaker.admits(PAUSE_MS_MIN + TRIAL_MS_MAX - 1));
        assert!(breaker.admits(PAUSE_MS_MIN + TRIAL_MS_MAX));
        // What went before it opened changes nothing.
        let mut breaker = failing(0);
        breaker.ended(1, true);
        assert_eq!(
            breaker.state(),
            BreakerState::Open {
                until_ms: PAUSE_MS_MIN
            }
        );
    }
}
