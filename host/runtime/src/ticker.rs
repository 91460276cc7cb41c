//! The clock of time slices: one thread that advances engine epochs while guests compute, and
//! sleeps when none does. Knows no guest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use wasmtime::Engine;

use crate::bounds::{TICK, TICKER_LINGER};

/// Owner of the thread; dropping it ends the thread.
pub(crate) struct Ticker {
    pulse: Arc<Pulse>,
}

/// What calls share with the thread.
pub(crate) struct Pulse {
    /// The lower half counts guests that are on a thread right now. The upper counts entries, and
    /// may wrap: that it changed tells the thread that something ran since it looked. One word,
    /// because every poll of every call writes it.
    visits: AtomicU64,
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: Mutex<Option<Thread>>,
    engines: Mutex<Vec<Engine>>,
}

/// One entry, in [`Pulse::visits`].
const ENTRY: u64 = 1 << 32;

const fn computing(visits: u64) -> bool {
    !visits.is_multiple_of(ENTRY)
}

impl Ticker {
    pub(crate) fn start() -> std::io::Result<Self> {
        let pulse = Arc::new(Pulse {
            visits: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: Mutex::new(None),
            engines: Mutex::new(Vec::new()),
        });
        let shared = Arc::clone(&pulse);
        let handle = thread::Builder::new()
            .name("guest-ticker".to_owned())
            .spawn(move || shared.run())?;
        *lock(&pulse.thread) = Some(handle.thread().clone());
        Ok(Self { pulse })
    }

    pub(crate) fn add(&self, engine: &Engine) {
        lock(&self.pulse.engines).push(engine.clone());
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.pulse.stopped.store(true, Ordering::SeqCst);
        self.pulse.wake();
    }
}

impl Pulse {
    /// A guest begins to compute on this thread.
    pub(crate) fn enter(&self) {
        self.visits.fetch_add(ENTRY | 1, Ordering::SeqCst);
        // Either this load sees the flag, or the thread, which sets it before it counts again,
        // sees the count: a computing guest never meets a sleeping ticker.
        if self.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// The guest left the thread.
    pub(crate) fn leave(&self) {
        self.visits.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        self.parked.store(false, Ordering::SeqCst);
        if let Some(thread) = lock(&self.thread).as_ref() {
            thread.unpark();
        }
    }

    fn run(&self) {
        let (mut busy_at, mut seen) = (Instant::now(), 0);
        while !self.stopped.load(Ordering::SeqCst) {
            let visits = self.visits.load(Ordering::SeqCst);
            if computing(visits) || visits / ENTRY != seen {
                (busy_at, seen) = (Instant::now(), visits / ENTRY);
            } else if busy_at.elapsed() >= TICKER_LINGER {
                self.park();
                busy_at = Instant::now();
            }
            thread::sleep(TICK);
            for engine in lock(&self.engines).iter() {
                engine.increment_epoch();
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while self.parked.load(Ordering::SeqCst)
            && !computing(self.visits.load(Ordering::SeqCst))
            && !self.stopped.load(Ordering::SeqCst)
        {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// The guarded values are replaced whole, so a panic elsewhere leaves them sound.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parked(pulse: &Pulse) -> bool {
        pulse.parked.load(Ordering::SeqCst)
    }

    #[test]
    fn the_thread_sleeps_when_nothing_computes_and_wakes_when_something_does() {
        let ticker = Ticker::start().unwrap();
        let wait = |wanted: bool| {
            let begun = Instant::now();
            while parked(ticker.pulse()) != wanted {
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "parked is not {wanted}"
                );
                thread::sleep(Duration::from_millis(5));
            }
        };
        wait(true);
        ticker.pulse().enter();
        wait(false);
        thread::sleep(TICKER_LINGER * 2);
        assert!(!parked(ticker.pulse()), "slept while a guest computed");
        ticker.pulse().leave();
        wait(true);
    }
}
