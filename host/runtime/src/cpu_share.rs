//! A share of processors that several calls use together: how long they rest after each time slice, and
//! what they used. Knows no call and no lease.
//!
//! The account earns its share of wall time and pays the cpu time of all its calls, as [`crate::pace`]
//! does for one. A call that finds it in debt rests until the debt is paid; so however many there are,
//! together they are ahead of their share by a slice each at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bounds::CPU_CREDIT;
use crate::meter::nanos;

/// Thousandths of a core, used by any number of calls at once.
#[derive(Debug)]
pub struct CpuShare {
    millicores: u32,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    balance_nanos: i128,
    at: Instant,
    used: CpuUsed,
}

/// What calls used of a share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsed {
    /// Calls that began.
    pub calls: u64,
    /// Cpu time of all calls.
    pub cpu: Duration,
    /// Fuel of the calls that ended.
    pub fuel: u64,
}

impl CpuShare {
    /// `millicores` thousandths of a core, at least one, from `now` on.
    #[must_use]
    pub fn new(millicores: u32, now: Instant) -> Self {
        Self {
            millicores: millicores.max(1),
            account: Mutex::new(Account {
                balance_nanos: 0,
                at: now,
                used: CpuUsed::default(),
            }),
        }
    }

    /// How much it is.
    #[must_use]
    pub const fn millicores(&self) -> u32 {
        self.millicores
    }

    /// What was used of it.
    #[must_use]
    pub fn used(&self) -> CpuUsed {
        self.account().used
    }

    /// Waits until it is not in debt: what short calls use is paid by those that come after them.
    pub(crate) async fn rested(&self) {
        while let Some(rest) = self.charge(Duration::ZERO, Instant::now()) {
            tokio::time::sleep(rest).await;
        }
    }

    /// Pays `cpu` at `now`; how long whoever used it has to rest.
    fn charge(&self, cpu: Duration, now: Instant) -> Option<Duration> {
        let mut account = self.account();
        account.used.cpu = account.used.cpu.saturating_add(cpu);
        let earned = self.earned(now.saturating_duration_since(account.at));
        let saved = (account.balance_nanos + earned).min(self.earned(CPU_CREDIT));
        account.balance_nanos = saved - i128::from(nanos(cpu));
        account.at = account.at.max(now);
        if account.balance_nanos >= 0 {
            return None;
        }
        let rest = (-account.balance_nanos * 1_000 + i128::from(self.millicores) - 1)
            / i128::from(self.millicores);
        Some(Duration::from_nanos(
            u64::try_from(rest).unwrap_or(u64::MAX),
        ))
    }

    fn earned(&self, wall: Duration) -> i128 {
        i128::from(nanos(wall)) * i128::from(self.millicores) / 1_000
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call's part in a share.
pub(crate) struct Draw {
    share: Arc<CpuShare>,
    charged: Mutex<Duration>,
}

impl Draw {
    /// A call begins.
    pub(crate) fn new(share: Arc<CpuShare>) -> Self {
        share.account().used.calls += 1;
        let charged = Mutex::default();
        Self { share, charged }
    }

    /// The call has used `cpu` so far, at `now`; how long it has to rest.
    pub(crate) fn settle(&self, cpu: Duration, now: Instant) -> Option<Duration> {
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        let more = cpu.saturating_sub(*charged);
        *charged = charged.saturating_add(more);
        drop(charged);
        self.share.charge(more, now)
    }

    /// The call ended, with what it used in all.
    pub(crate) fn end(&self, cpu: Duration, fuel: Option<u64>, now: Instant) {
        self.settle(cpu, now);
        let mut account = self.share.account();
        account.used.fuel = account.used.fuel.saturating_add(fuel.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(1);

    /// Cpu that so many calls get together in `wall`, each computing whenever it may, on a core of
    /// its own.
    fn spin(share: &Arc<CpuShare>, calls: usize, begun: Instant, wall: Duration) -> Duration {
        let draws: Vec<Draw> = (0..calls).map(|_| Draw::new(Arc::clone(share))).collect();
        let mut cpus = vec![Duration::ZERO; calls];
        // When each has next used a slice.
        let mut due = vec![begun + SLICE; calls];
        loop {
            let next = (0..calls).min_by_key(|at| due[*at]).unwrap();
            let now = due[next];
            if now >= begun + wall {
                break;
            }
            cpus[next] += SLICE;
            let rest = draws[next].settle(cpus[next], now).unwrap_or_default();
            due[next] = now + rest + SLICE;
        }
        for (draw, cpu) in draws.iter().zip(&cpus) {
            draw.end(*cpu, Some(10), begun + wall);
        }
        cpus.iter().sum()
    }

    #[test]
    fn calls_that_spin_at_once_get_the_share_together() {
        for millicores in [10, 250, 1_000, 2_500] {
            for calls in [1, 2, 8] {
                let begun = Instant::now();
                let share = Arc::new(CpuShare::new(millicores, begun));
                let cpu = spin(&share, calls, begun, Duration::from_secs(10));
                let cores = u64::try_from(calls).unwrap().min(u64::from(millicores));
                let whole = Duration::from_secs(10 * cores);
                let due = Duration::from_millis(10 * u64::from(millicores)).min(whole);
                let slack = SLICE * u32::try_from(calls).unwrap() * 2 + due / 50;
                assert!(
                    cpu.abs_diff(due) <= slack,
                    "{calls} calls of {millicores}: {cpu:?} of {due:?}"
                );
                let used = share.used();
                assert_eq!(used.calls, u64::try_from(calls).unwrap());
                assert_eq!((used.cpu, used.fuel), (cpu, 10 * used.calls));
            }
        }
    }

    #[test]
    fn short_calls_one_after_the_other_are_paid_for_before_the_next_begins() {
        let begun = Instant::now();
        let share = Arc::new(CpuShare::new(100, begun));
        let call = Draw::new(Arc::clone(&share));
        call.end(SLICE, None, begun);
        assert_eq!(share.charge(Duration::ZERO, begun), Some(SLICE * 10));
        let paid = begun + SLICE * 10;
        assert_eq!(share.charge(Duration::ZERO, paid), None);
        // Long rests save up no more than the credit.
        let later = paid + Duration::from_secs(60);
        assert_eq!(share.charge(SLICE, later), None);
        assert!(share.charge(SLICE, later).is_some());
    }
}
