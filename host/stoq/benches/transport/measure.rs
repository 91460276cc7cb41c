//! Numbers from runs, and threads with a runtime each.

use std::fmt;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Median and tail of many durations.
pub(crate) struct Summary {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Summary {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
        Self {
            p50_us: at(50),
            p99_us: at(99),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.1} {:>8.1}", self.p50_us, self.p99_us)
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `bytes` in `time`, in Gbit/s.
#[allow(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
pub(crate) fn gbits(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64() / 1e9
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The first and the last core that this process may use: where both are the same, a machine has one.
pub(crate) fn two_cores() -> (usize, usize) {
    let allowed = sched_getaffinity(None).unwrap();
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next().unwrap();
    (first, cores.next_back().unwrap_or(first))
}

/// Keeps this thread, and those that it starts from here on, on `core`.
pub(crate) fn keep_to(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).unwrap();
}

/// Runs `serve` on a thread of its own until the process ends; what it sends first is returned.
pub(crate) fn serving<T, F, S>(serve: S) -> T
where
    T: Send + 'static,
    F: Future<Output = ()>,
    S: FnOnce(std::sync::mpsc::Sender<T>) -> F + Send + 'static,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || runtime().block_on(serve(sender)));
    receiver.recv().unwrap()
}
