//! What one call uses: cpu, memory, breaches. Decides nothing.
//!
//! Cpu is what a call's polls take. Once a call has outlived a time slice, its polls are measured
//! by the thread's own clock: it must not be charged for what others did while it was preempted,
//! which on a loaded machine is most of the wall time. Until then they are measured by wall time:
//! the thread's clock is a system call, and two of them cost a short call half as much as all the
//! rest, while the error of one slice is small.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::bounds::DENIALS_REPORTED_MAX;
use crate::bounds::FOREGROUND_CPU_MAX;
use crate::errors::{Breach, CallError};
use crate::frame::WasmFrame;
use crate::host::Guest;
use crate::observer::Denial;

/// Shared by the parts of one call. Polls of a call follow each other, so no order between these
/// counters matters.
pub(crate) struct Meter {
    /// The one pointer of a call to what all calls share: each further one would have every core
    /// write to the same cache line.
    guest: Arc<Guest>,
    /// Cpu of the polls that have ended.
    cpu_nanos: AtomicU64,
    /// The clock of the poll that runs now when it began, and which clock that is.
    poll_began_nanos: AtomicU64,
    poll_by_thread: AtomicBool,
    /// The call has outlived a time slice.
    outlived_slice: AtomicBool,
    first_slice_nanos: AtomicU64,
    computes_long: AtomicBool,
    begun: Instant,
    /// Clocks are slow to read beside a short call, so a reading serves twice where it can: the
    /// first poll of a call began when the call did, as it follows at once, and a call that
    /// returned ended when its last poll did.
    first_poll_is_begin: AtomicBool,
    last_poll_ended_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    /// A growth was refused: a trap that follows is its consequence.
    refused_growth: OnceLock<Breach>,
    /// Kinds already reported, one bit each.
    reported: AtomicU8,
    denials: AtomicU32,
    stopped_at: OnceLock<Vec<WasmFrame>>,
    failure: OnceLock<CallError>,
    responded: AtomicBool,
    answered_with_error: AtomicBool,
}

impl Meter {
    /// The call's time begins.
    pub(crate) fn new(guest: Arc<Guest>) -> Self {
        Self {
            guest,
            cpu_nanos: AtomicU64::new(0),
            poll_began_nanos: AtomicU64::new(0),
            poll_by_thread: AtomicBool::new(false),
            outlived_slice: AtomicBool::new(false),
            first_slice_nanos: AtomicU64::new(0),
            computes_long: AtomicBool::new(false),
            begun: Instant::now(),
            first_poll_is_begin: AtomicBool::new(true),
            last_poll_ended_nanos: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            refused_growth: OnceLock::new(),
            reported: AtomicU8::new(0),
            denials: AtomicU32::new(0),
            stopped_at: OnceLock::new(),
            failure: OnceLock::new(),
            responded: AtomicBool::new(false),
            answered_with_error: AtomicBool::new(false),
        }
    }

    /// Whose call it is.
    pub(crate) const fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Tells the observer, up to [`DENIALS_REPORTED_MAX`] times.
    pub(crate) fn denied(&self, what: Denial) {
        if self.denials.fetch_add(1, Ordering::Relaxed) < DENIALS_REPORTED_MAX {
            self.guest.observer.denied(what);
        }
    }

    /// Polls `future` with the ticker awake and the cpu time of every poll counted.
    pub(crate) async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let _poll = Poll::begin(self);
            future.as_mut().poll(context)
        })
        .await
    }

    /// Cpu so far, at the end of a time slice.
    pub(crate) fn end_slice(&self) -> Duration {
        let cpu = self.cpu_now();
        if self.outlived_slice.swap(true, Ordering::Relaxed) {
            // What came before is wall time, in which it may have waited for a core.
            let measured = Duration::from_nanos(self.first_slice_nanos.load(Ordering::Relaxed));
            if cpu.saturating_sub(measured) >= FOREGROUND_CPU_MAX {
                self.computes_long.store(true, Ordering::Relaxed);
            }
        } else {
            self.first_slice_nanos.store(nanos(cpu), Ordering::Relaxed);
        }
        cpu
    }

    /// Whether it has used more cpu than one call should take from the threads that all share.
    pub(crate) fn computes_long(&self) -> bool {
        self.computes_long.load(Ordering::Relaxed)
    }

    /// When the call got its place.
    pub(crate) const fn begun(&self) -> Instant {
        self.begun
    }

    /// From its place to its end, for a call that returned.
    pub(crate) fn wall(&self) -> Duration {
        if self.outlived_slice.load(Ordering::Relaxed) {
            self.begun.elapsed()
        } else {
            Duration::from_nanos(self.last_poll_ended_nanos.load(Ordering::Relaxed))
        }
    }

    fn begin_poll(&self) {
        if self.first_poll_is_begin.swap(false, Ordering::Relaxed) {
            return;
        }
        let by_thread = self.outlived_slice.load(Ordering::Relaxed);
        self.poll_by_thread.store(by_thread, Ordering::Relaxed);
        self.poll_began_nanos.store(self.clock(), Ordering::Relaxed);
    }

    fn clock(&self) -> u64 {
        if self.poll_by_thread.load(Ordering::Relaxed) {
            thread_nanos()
        } else {
            nanos(self.begun.elapsed())
        }
    }

    fn cpu_now(&self) -> Duration {
        self.cpu_at(self.clock())
    }

    fn cpu_at(&self, clock: u64) -> Duration {
        let began = self.poll_began_nanos.load(Ordering::Relaxed);
        let poll = clock.saturating_sub(began);
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed) + poll)
    }

    /// Cpu of all polls that have ended.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Memories never shrink, so the last size is the peak.
    pub(crate) fn set_memory(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Tells the observer, once per kind.
    pub(crate) fn breach(&self, breach: &Breach) {
        let bit = 1_u8
            << match breach {
                Breach::Memory { .. } => 0,
                Breach::Tables { .. } => 1,
                Breach::WallTime { .. } => 2,
                Breach::Fuel { .. } => 3,
                Breach::LogRate { .. } => 4,
                Breach::OutboundConnections { .. } => 5,
                Breach::StackOverflow { .. } => 6,
                Breach::Quota { .. } => 7,
            };
        if self.reported.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.guest.observer.breach(breach.clone());
        }
    }

    /// As [`Self::breach`], for a growth that the guest will see fail.
    pub(crate) fn refuse_growth(&self, breach: Breach) {
        self.breach(&breach);
        let _ = self.refused_growth.set(breach);
    }

    pub(crate) fn refused_growth(&self) -> Option<&Breach> {
        self.refused_growth.get()
    }

    /// Notes where a limit stopped the guest.
    pub(crate) fn stop_at(&self, frames: Vec<WasmFrame>) {
        let _ = self.stopped_at.set(frames);
    }

    /// Empty where the guest was not stopped, or not while it computed.
    pub(crate) fn stopped_at(&self) -> &[WasmFrame] {
        self.stopped_at.get().map_or(&[], Vec::as_slice)
    }

    /// Publishes why the call failed, before its streams end, so that their readers can tell a
    /// failure from an end.
    pub(crate) fn fail(&self, error: CallError) {
        let _ = self.failure.set(error);
    }

    pub(crate) fn failure(&self) -> Option<&CallError> {
        self.failure.get()
    }

    pub(crate) fn set_responded(&self, with_error: bool) {
        self.answered_with_error
            .store(with_error, Ordering::Relaxed);
        self.responded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn answered_with_error(&self) -> bool {
        self.answered_with_error.load(Ordering::Relaxed)
    }

    pub(crate) fn responded(&self) -> bool {
        self.responded.load(Ordering::Relaxed)
    }
}

/// One poll, counted when it ends, also by a panic.
struct Poll<'a>(&'a Meter);

impl<'a> Poll<'a> {
    fn begin(meter: &'a Meter) -> Self {
        meter.guest.ticker.pulse().enter();
        meter.begin_poll();
        Self(meter)
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(CallError::Host {
                reason: "a host function panicked".to_owned(),
            });
        }
        let clock = self.0.clock();
        let spent = self.0.cpu_at(clock);
        self.0.cpu_nanos.store(nanos(spent), Ordering::Relaxed);
        self.0.last_poll_ended_nanos.store(clock, Ordering::Relaxed);
        self.0.guest.ticker.pulse().leave();
    }
}

fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Saturates after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
