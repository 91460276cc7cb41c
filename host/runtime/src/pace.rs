//! Cpu shares: what happens at the end of each time slice of a computing guest. Pure: time comes
//! in, a decision goes out.

use std::time::{Duration, Instant};

use crate::bounds::CPU_CREDIT;
use crate::meter::nanos;

/// What to do with a guest at the end of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Let others run, then go on.
    Yield,
    /// Sleep for this long: the guest is ahead of its share.
    Sleep(Duration),
    /// Stop: the call's wall time is over.
    Expired,
}

/// The account of one call: earns its share of wall time, pays cpu time.
#[derive(Debug)]
pub(crate) struct Pace {
    percent: i128,
    deadline: Instant,
    balance_nanos: i128,
    at: Instant,
    cpu: Duration,
}

impl Pace {
    pub(crate) fn new(percent: u8, begun: Instant, deadline: Instant) -> Self {
        Self {
            percent: i128::from(percent.clamp(1, 100)),
            deadline,
            balance_nanos: 0,
            at: begun,
            cpu: Duration::ZERO,
        }
    }

    /// Decides at `now`, when the call has used `cpu` so far.
    pub(crate) fn tick(&mut self, now: Instant, cpu: Duration) -> Turn {
        if now >= self.deadline {
            return Turn::Expired;
        }
        if self.percent == 100 {
            return Turn::Yield;
        }
        let earned = self.share(now.saturating_duration_since(self.at));
        let paid = i128::from(nanos(cpu.saturating_sub(self.cpu)));
        self.balance_nanos = (self.balance_nanos + earned - paid).min(self.share(CPU_CREDIT));
        (self.at, self.cpu) = (now, cpu);
        if self.balance_nanos >= 0 {
            return Turn::Yield;
        }
        let debt = u64::try_from(-self.balance_nanos * 100 / self.percent).unwrap_or(u64::MAX);
        Turn::Sleep(Duration::from_nanos(debt).min(self.deadline - now))
    }

    fn share(&self, wall: Duration) -> i128 {
        i128::from(nanos(wall)) * self.percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    /// Cpu that a guest gets in `wall` if it computes whenever it may.
    fn spin(percent: u8, wall: Duration) -> Duration {
        let begun = Instant::now();
        let mut pace = Pace::new(percent, begun, begun + Duration::from_secs(3600));
        let (mut now, mut cpu) = (begun, Duration::ZERO);
        while now < begun + wall {
            (now, cpu) = (now + TICK, cpu + TICK);
            if let Turn::Sleep(time) = pace.tick(now, cpu) {
                now += time;
            }
        }
        cpu
    }

    #[test]
    fn a_spinner_gets_its_share() {
        for percent in [1, 10, 50, 90, 100] {
            let cpu = spin(percent, Duration::from_secs(10)).as_millis();
            let share = u128::from(percent) * 100;
            assert!(
                cpu.abs_diff(share) <= share / 50 + 2,
                "{percent} %: {cpu} of {share} ms"
            );
        }
    }

    #[test]
    fn waiting_does_not_save_up_more_than_the_credit() {
        let begun = Instant::now();
        let mut pace = Pace::new(10, begun, begun + Duration::from_secs(3600));
        let rested = begun + Duration::from_secs(60);
        assert_eq!(pace.tick(rested, Duration::ZERO), Turn::Yield);
        let turn = pace.tick(rested + TICK * 2, TICK * 2);
        assert!(matches!(turn, Turn::Sleep(time) if time > TICK), "{turn:?}");
    }

    #[test]
    fn the_deadline_ends_the_call_and_no_sleep_crosses_it() {
        let begun = Instant::now();
        let mut pace = Pace::new(1, begun, begun + TICK * 10);
        assert_eq!(pace.tick(begun + TICK * 9, TICK * 9), Turn::Sleep(TICK));
        assert_eq!(pace.tick(begun + TICK * 10, TICK * 9), Turn::Expired);
    }
}
