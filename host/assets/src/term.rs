//! When a node must stop treating a lease as live: by ledger time as it sees it, and by its own
//! monotonic clock before anybody else could see the lease end. Pure; knows no lease but its expiry,
//! reads no clock and stops nothing.
//!
//! A lease is over once ledger time reaches its expiry, and from then on its amount may be granted
//! to somebody else. A node that is cut off does not see that. So it counts how far ledger time can
//! be by now:
//!
//! ```text
//! latest(now) = time of the freshest block + elapsed + elapsed * CLOCK_DRIFT_PPM_MAX + CLOCK_SKEW_MS_MAX
//! over(now)   = latest(now) >= expiry
//! ```
//!
//! *The freshest block* is the one that puts ledger time furthest ahead. Blocks that come late, as
//! those that a node catches up with, say less than what was known before and move nothing back. What
//! counts for a lease is fixed when it begins, and again when it is renewed: from then on blocks only
//! bring its end forward, and it ends early by at most the drift of its own life, 17 s in a day. What
//! new leases begin with is a [`LedgerClock`] that follows blocks, also back, but not by more than the
//! drift: or a node would be minutes ahead after weeks.
//!
//! *Assumed of clocks.* A validator votes for a block only once its own clock shows the block's time,
//! half a second early at most. So no block is final before that of an honest validator. Assumed is:
//!
//! 1. When this node took its freshest block, no honest validator's clock was further ahead of the
//!    block's time than [`CLOCK_SKEW_MS_MAX`]. That covers how far honest clocks differ, the half
//!    second, and the block's way here.
//! 2. Blocks do not come later and later by less than the drift for hours. A way that gets slower does
//!    so in steps, and such blocks are passed over.
//! 3. This node's monotonic clock and those of honest validators go apart by no more than
//!    [`CLOCK_DRIFT_PPM_MAX`], also while machines sleep.
//!
//! A node that begins with an old state has no fresh block: it notes its wall clock as one, which
//! keeps the first assumption if that clock is right. Where an assumption is broken a node may go on
//! with a lease for as long as it is broken by; it still never takes part in granting one twice.

/// How far the clock of an honest validator may be ahead of the time of a block that was just taken:
/// clocks kept by NTP differ by less than 100 ms, votes are cast 500 ms early, and a block that
/// takes longer than the rest to come is late for its fabric.
pub const CLOCK_SKEW_MS_MAX: u64 = 2_000;

/// How far a monotonic clock goes apart from another, in millionths: ordinary quartz stays within
/// 100 either way.
pub const CLOCK_DRIFT_PPM_MAX: u64 = 200;

const MILLION: u128 = 1_000_000;

/// How far ledger time can be, from the blocks that one node took and its monotonic clock. It follows
/// blocks for as long as the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerClock {
    block_time_ms: u64,
    taken_at_ms: u64,
}

/// How long this node may treat one lease as live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerm {
    expires_ms: u64,
    /// What the lease is ended by: never moved back by a block.
    clock: LedgerClock,
    /// What a renewal begins with.
    following: LedgerClock,
}

/// A lease that cannot be renewed here: what it kept is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease ended at ledger time {expires_ms} ms, as far as this node could know")]
pub struct RenewTermError {
    /// When it ended.
    pub expires_ms: u64,
}

/// How far the fastest clock is ahead after `elapsed_ms` of this one.
fn stretched(elapsed_ms: u64) -> u64 {
    let drift = u128::from(elapsed_ms) * u128::from(CLOCK_DRIFT_PPM_MAX);
    let drift = u64::try_from(drift.div_ceil(MILLION)).unwrap_or(u64::MAX);
    elapsed_ms.saturating_add(drift)
}

/// The shortest time of this clock in which the fastest one can go on by `ahead_ms`.
fn shortened(ahead_ms: u64) -> u64 {
    let rate = MILLION + u128::from(CLOCK_DRIFT_PPM_MAX);
    let floor = u64::try_from(u128::from(ahead_ms) * MILLION / rate).unwrap_or(u64::MAX);
    if stretched(floor) >= ahead_ms {
        floor
    } else {
        floor.saturating_add(1)
    }
}

impl LedgerClock {
    /// A clock that knows one block, taken at `now_ms` of the monotonic clock.
    #[must_use]
    pub const fn new(block_time_ms: u64, now_ms: u64) -> Self {
        Self {
            block_time_ms,
            taken_at_ms: now_ms,
        }
    }

    /// Takes a block that was applied at `now_ms`, unless it is later than the one before by more
    /// than clocks drift apart.
    pub fn note_block(&mut self, block_time_ms: u64, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.taken_at_ms);
        let drift_ms = stretched(elapsed_ms).saturating_sub(elapsed_ms);
        let due_ms = self.block_time_ms.saturating_add(elapsed_ms);
        if block_time_ms >= due_ms.saturating_sub(drift_ms) {
            *self = Self::new(block_time_ms, now_ms);
        }
    }

    /// Takes a block only if it puts ledger time further ahead.
    fn raise(&mut self, block_time_ms: u64, now_ms: u64) {
        if block_time_ms >= self.counted_ms(now_ms) {
            *self = Self::new(block_time_ms, now_ms);
        }
    }

    /// The furthest that ledger time can be anywhere at `now_ms`.
    #[must_use]
    pub fn latest_ms(&self, now_ms: u64) -> u64 {
        self.counted_ms(now_ms).saturating_add(CLOCK_SKEW_MS_MAX)
    }

    /// When `latest_ms` reaches `ledger_ms`, if no block comes.
    #[must_use]
    pub fn reaches_at_ms(&self, ledger_ms: u64) -> u64 {
        let ahead_ms = ledger_ms
            .saturating_sub(CLOCK_SKEW_MS_MAX)
            .saturating_sub(self.block_time_ms);
        self.taken_at_ms.saturating_add(shortened(ahead_ms))
    }

    fn counted_ms(&self, now_ms: u64) -> u64 {
        let elapsed_ms = now_ms.saturating_sub(self.taken_at_ms);
        self.block_time_ms.saturating_add(stretched(elapsed_ms))
    }
}

impl LeaseTerm {
    /// The term of a lease that ends at ledger time `expires_ms`. One that is not longer than
    /// [`CLOCK_SKEW_MS_MAX`] is over as soon as it begins.
    #[must_use]
    pub const fn new(expires_ms: u64, clock: LedgerClock) -> Self {
        Self {
            expires_ms,
            clock,
            following: clock,
        }
    }

    /// When the lease ends, in ledger time.
    #[must_use]
    pub const fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// Takes a block that was applied at `now_ms`.
    pub fn note_block(&mut self, block_time_ms: u64, now_ms: u64) {
        self.clock.raise(block_time_ms, now_ms);
        self.following.note_block(block_time_ms, now_ms);
    }

    /// Takes the ledger's word that the lease ends later.
    ///
    /// # Errors
    /// [`RenewTermError`] if it is over here: a node that was cut off cannot revive what it ended.
    pub fn renew(&mut self, expires_ms: u64, now_ms: u64) -> Result<(), RenewTermError> {
        if self.is_over(now_ms) {
            let expires_ms = self.expires_ms;
            return Err(RenewTermError { expires_ms });
        }
        if expires_ms > self.expires_ms {
            self.expires_ms = expires_ms;
            self.clock = self.following;
        }
        Ok(())
    }

    /// Whether the lease is over at `now_ms`: it may be for somebody.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.clock.latest_ms(now_ms) >= self.expires_ms
    }

    /// Whether ledger time may have reached `ledger_ms` somewhere at `now_ms`.
    #[must_use]
    pub fn may_be_at(&self, ledger_ms: u64, now_ms: u64) -> bool {
        self.following.latest_ms(now_ms) >= ledger_ms
    }

    /// How long it is certainly live from `now_ms` on, if no block comes.
    #[must_use]
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.next_timeout_ms().saturating_sub(now_ms)
    }

    /// When it is over, by the monotonic clock, if no block comes. A block can only bring it
    /// forward, a renewal only put it off.
    #[must_use]
    pub fn next_timeout_ms(&self) -> u64 {
        self.clock.reaches_at_ms(self.expires_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: u64 = 1_800_000_000_000;

    #[test]
    fn lease_is_over_when_ledger_time_reaches_its_expiry() {
        let mut term = LeaseTerm::new(T + 60_000, LedgerClock::new(T, 500));
        assert!(!term.is_over(600));
        term.note_block(T + 59_999, 700);
        // Somewhere the expiry may have been reached already.
        assert!(term.is_over(700));
        let mut term = LeaseTerm::new(T + 60_000, LedgerClock::new(T, 500));
        term.note_block(T + 57_999, 700);
        assert!(!term.is_over(700));
        assert!(term.is_over(701), "no block has to come");
    }

    #[test]
    fn lease_of_a_node_that_is_cut_off_is_over_before_ledger_time_can_reach_it() {
        let term = LeaseTerm::new(T + 3_600_000, LedgerClock::new(T, 0));
        let at = term.next_timeout_ms();
        assert!(at <= 3_600_000 - CLOCK_SKEW_MS_MAX - 700, "{at}");
        assert!(at >= 3_600_000 - CLOCK_SKEW_MS_MAX - 800, "{at}");
        assert!(!term.is_over(at - 1) && term.is_over(at));
        assert_eq!(term.left_ms(at - 10), 10);
        assert_eq!(term.left_ms(at + 10), 0);
    }

    #[test]
    fn blocks_that_come_late_put_nothing_off() {
        let mut term = LeaseTerm::new(T + 60_000, LedgerClock::new(T, 0));
        let at = term.next_timeout_ms();
        // Ten seconds of blocks, caught up with half a minute later.
        for second in 1..=10 {
            term.note_block(T + second * 1_000, 30_000 + second);
        }
        assert_eq!(term.next_timeout_ms(), at);
        assert!(term.is_over(at));
    }

    #[test]
    fn what_was_over_here_is_not_renewed() {
        let mut term = LeaseTerm::new(T + 10_000, LedgerClock::new(T, 0));
        assert_eq!(term.renew(T + 20_000, 1_000), Ok(()));
        // An older word changes nothing.
        assert_eq!(term.renew(T + 15_000, 1_000), Ok(()));
        assert!(!term.is_over(17_000));
        assert!(term.is_over(18_000));
        let expires_ms = T + 20_000;
        assert_eq!(
            term.renew(T + 90_000, 18_000),
            Err(RenewTermError { expires_ms })
        );
        assert!(term.is_over(18_000));
    }

    #[test]
    fn numbers_at_their_ends_do_not_wrap() {
        let clock = LedgerClock::new(u64::MAX - 1, u64::MAX - 1);
        assert_eq!(clock.latest_ms(u64::MAX), u64::MAX);
        assert!(LeaseTerm::new(u64::MAX, clock).is_over(0));
        let long = LeaseTerm::new(u64::MAX, LedgerClock::new(0, 0));
        assert!(!long.is_over(0) && long.is_over(long.next_timeout_ms()));
    }

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    #[test]
    fn a_clock_that_blocks_reach_is_right_after_weeks_and_a_short_lease_lives() {
        for slow in [true, false] {
            let local = |honest_ms: u64| {
                let drift = honest_ms / 10_000;
                if slow {
                    honest_ms - drift
                } else {
                    honest_ms + drift
                }
            };
            let mut clock = LedgerClock::new(T, 0);
            let mut term = LeaseTerm::new(T + 120_000, clock);
            for minute in 1..30 * DAY_MS / 60_000 {
                let honest_ms = minute * 60_000;
                let now_ms = local(honest_ms);
                let block_ms = T + honest_ms - minute % 7 * 30;
                clock.note_block(block_ms, now_ms);
                let latest_ms = clock.latest_ms(now_ms);
                assert!(latest_ms >= T + honest_ms, "{minute}");
                assert!(
                    latest_ms <= T + honest_ms + CLOCK_SKEW_MS_MAX + 500,
                    "{minute}"
                );
                // A lease that is renewed every minute, for two, lives as long.
                assert_eq!(term.renew(block_ms + 120_000, now_ms), Ok(()), "{minute}");
                term.note_block(block_ms, now_ms);
                assert!(!term.is_over(now_ms), "{minute}");
            }
        }
    }

    #[test]
    fn a_clock_is_not_moved_back_by_blocks_that_a_node_catches_up_with() {
        let mut clock = LedgerClock::new(T, 0);
        let before = clock;
        for second in 1..3_000 {
            // An hour's worth, which all come after that hour.
            clock.note_block(T + second * 1_000, 3_600_000 + second);
            assert_eq!(clock, before);
        }
        clock.note_block(T + 3_600_000, 3_603_000);
        assert!(clock.latest_ms(3_603_000) >= T + 3_600_000);
    }

    proptest! {
        /// Against clocks that keep the assumptions: whoever sees the lease end, by the fastest
        /// honest clock, sees it after this node has stopped.
        #[test]
        fn nobody_sees_the_end_before_this_node_stops(
            term_ms in 3_000_u64..100_000_000,
            // Honest time that passes, and how late the block of then comes, if it comes.
            steps in proptest::collection::vec(
                (1_u64..4_000_000, proptest::option::of(0_u64..10_000_000)), 1..40),
            slow in any::<bool>(),
        ) {
            let local = |honest_ms: u64| {
                let drift = honest_ms * 199 / 1_000_000;
                if slow { honest_ms - drift } else { honest_ms + drift }
            };
            let mut term = LeaseTerm::new(T + term_ms, LedgerClock::new(T, 0));
            let mut honest_ms = 0;
            for (passes_ms, late_ms) in steps {
                let before = term.next_timeout_ms();
                honest_ms += passes_ms;
                if let Some(late_ms) = late_ms {
                    // Its proposer's clock shows at most the honest time.
                    let block_ms = (T + honest_ms).saturating_sub(late_ms);
                    term.note_block(block_ms, local(honest_ms));
                }
                prop_assert!(term.next_timeout_ms() <= before, "put off by a block");
                if honest_ms + CLOCK_SKEW_MS_MAX >= term_ms {
                    prop_assert!(term.is_over(local(honest_ms)));
                }
                let at = term.next_timeout_ms();
                prop_assert!(term.is_over(at));
                prop_assert!(at == 0 || !term.is_over(at - 1) || at <= local(honest_ms));
            }
        }
    }
}
