//! The gate of a replica: closed while it is paused. Knows how long, and keeps guests from being
//! polled; why it is closed is decided elsewhere.
//!
//! An open gate costs a poll one atomic load. A guest that computes meets the gate at the end of
//! its time slice, one that waits when it would go on.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::ready;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::meter::nanos;

/// The lowest bit of [`Gate::word`].
const CLOSED: u64 = 1;

/// One per replica.
#[derive(Default)]
pub(crate) struct Gate {
    /// Nanoseconds of all pauses that are over, doubled, and [`CLOSED`]: one load tells both.
    /// Written under the lock of `closed_at`.
    word: AtomicU64,
    closed_at: Mutex<Option<Instant>>,
    opened: Notify,
}

impl Gate {
    /// Whether that is a change.
    pub(crate) fn close(&self) -> bool {
        let mut closed_at = self.lock();
        if closed_at.is_some() {
            return false;
        }
        *closed_at = Some(Instant::now());
        self.word.fetch_or(CLOSED, Ordering::Release);
        true
    }

    /// Whether that is a change.
    pub(crate) fn open(&self) -> bool {
        let mut closed_at = self.lock();
        let Some(since) = closed_at.take() else {
            return false;
        };
        let over = self.word.load(Ordering::Relaxed) >> 1;
        let over = over.saturating_add(nanos(since.elapsed()));
        self.word.store(over << 1, Ordering::Release);
        drop(closed_at);
        self.opened.notify_waiters();
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// How long it has been closed, all in all: does not grow while it is open.
    pub(crate) fn closed_for(&self) -> Duration {
        let word = self.word.load(Ordering::Acquire);
        if word & CLOSED == 0 {
            return Duration::from_nanos(word >> 1);
        }
        let closed_at = self.lock();
        let over = Duration::from_nanos(self.word.load(Ordering::Relaxed) >> 1);
        over + closed_at.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits while it is closed.
    pub(crate) async fn opened(&self) {
        while self.is_closed() {
            let mut opened = pin!(self.opened.notified());
            opened.as_mut().enable();
            // It may have been opened before this waited for it.
            if self.is_closed() {
                opened.await;
            }
        }
    }

    /// Polls `work` only while the gate is open.
    pub(crate) async fn pass<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        // Made when it is needed, which for most calls is never.
        let mut opened: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
        poll_fn(move |context| {
            while self.is_closed() {
                let waiting = opened.get_or_insert_with(|| Box::pin(self.opened()));
                ready!(waiting.as_mut().poll(context));
                opened = None;
            }
            work.as_mut().poll(context)
        })
        .await
    }

    /// The value is replaced whole, so a panic elsewhere leaves it sound.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.closed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn work_is_polled_only_while_the_gate_is_open() {
        let (gate, polls) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let task = {
            let (gate, polls) = (Arc::clone(&gate), Arc::clone(&polls));
            tokio::spawn(async move {
                let endless = async {
                    loop {
                        polls.fetch_add(1, Ordering::SeqCst);
                        yield_now().await;
                    }
                };
                gate.pass(endless).await
            })
        };
        let seen = || polls.load(Ordering::SeqCst);
        for _ in 0..3 {
            let before = seen();
            while seen() < before + 3 {
                yield_now().await;
            }
            assert!(gate.close() && !gate.close());
            let before = seen();
            for _ in 0..100 {
                yield_now().await;
            }
            assert_eq!(seen(), before, "polled behind a closed gate");
            assert!(gate.open() && !gate.open());
        }
        task.abort();
    }

    #[test]
    fn only_the_time_behind_a_closed_gate_is_counted() {
        let gate = Gate::default();
        assert_eq!(gate.closed_for(), Duration::ZERO);
        let mut before = Duration::ZERO;
        for _ in 0..3 {
            gate.close();
            std::thread::sleep(Duration::from_millis(2));
            let during = gate.closed_for();
            assert!(during >= before + Duration::from_millis(2));
            gate.open();
            let after = gate.closed_for();
            assert!(after >= during);
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(gate.closed_for(), after, "counted while open");
            before = after;
        }
    }
}
