//! The clock by which validators judge a leader's silence: it stands still while there is nothing
//! to agree on, so that an idle fabric proposes nothing and blames nobody, and a leader that is
//! gone is passed over seconds after there is work. Never decides what work is worth.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use commonware_runtime::signal::Signal;
use commonware_runtime::telemetry::metrics::{Metric, Registered};
use commonware_runtime::{
    BlobVersion, Clock, Error, Handle, Metrics, Name, Spawner, Storage, Supervisor,
};
use rand_core::{TryCryptoRng, TryRng};
use tokio::sync::watch;

use crate::engine::EngineRuntime;
use crate::handle::Shared;
use crate::time::Time;
use crate::votes::{NotedBlob, Notes, open_noted};

/// Pause between looks whether there is still work.
const LOOK: Duration = Duration::from_millis(50);

/// The engine's name for the actor that times rounds; the others ask peers, and must go on.
const VOTER: &str = "voter";

/// A clock that runs while it is told to.
#[derive(Clone, Debug)]
pub(crate) struct WakingClock {
    time: Time,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Time until the last change, and when it has run since.
    state: Mutex<(SystemTime, Option<Instant>)>,
    runs: watch::Sender<bool>,
}

impl WakingClock {
    /// Stands at `now`, which `time` moves on.
    pub(crate) fn new(now: SystemTime, time: Time) -> Self {
        let state = Mutex::new((now, None));
        let runs = watch::Sender::new(false);
        Self {
            time,
            inner: Arc::new(Inner { state, runs }),
        }
    }

    fn current(&self) -> SystemTime {
        let (until, since) = *self.lock();
        until + since.map_or(Duration::ZERO, |since| self.since(since))
    }

    fn since(&self, then: Instant) -> Duration {
        self.time.now().saturating_duration_since(then)
    }

    fn run(&self, runs: bool) {
        let mut state = self.lock();
        let (until, since) = *state;
        *state = match (since, runs) {
            (None, true) => (until, Some(self.time.now())),
            (Some(since), false) => (until + self.since(since), None),
            _ => return,
        };
        self.inner.runs.send_replace(runs);
    }

    async fn sleep_until(self, deadline: SystemTime) {
        let mut runs = self.inner.runs.subscribe();
        loop {
            let Ok(left) = deadline.duration_since(self.current()) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            let runs_now = *runs.borrow_and_update();
            // The sender is in `self`.
            tokio::select! {
                biased;
                () = self.time.sleep(left), if runs_now => {}
                _ = runs.changed() => {}
            }
        }
    }

    /// Runs it whenever a transaction waits here, a block is overdue or there is none yet; for
    /// ever.
    pub(crate) async fn follow(&self, shared: &Shared, heartbeat: Duration) {
        let mut tip = shared.tip.subscribe();
        let mut office = shared.office.subscribe();
        let mut last_block = self.time.now();
        let nothing = HashSet::new();
        loop {
            let begun = tip.borrow_and_update().height > 0;
            let works = shared.pool.depth().transactions > 0 || office.borrow().hurries();
            let left = heartbeat.saturating_sub(self.since(last_block));
            let runs = !begun || works || left.is_zero();
            self.run(runs);
            tokio::select! {
                biased;
                changed = tip.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    last_block = self.time.now();
                }
                () = shared.pool.wait_for_work(&nothing), if !runs => {}
                changed = office.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                // The pool is emptied after the tip has changed, or when transactions expire.
                () = self.time.sleep(if runs { LOOK } else { left }) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, (SystemTime, Option<Instant>)> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's runtime: its voter has a [`WakingClock`], unless it votes alone, and its journal is
/// noted.
pub(crate) struct Waking<E: Storage> {
    inner: E,
    clock: Option<WakingClock>,
    notes: Arc<Notes<E::Blob>>,
    /// Whether this is the voter, or part of it.
    is_voter: bool,
}

impl<E: Storage> Waking<E> {
    pub(crate) const fn new(
        inner: E,
        clock: Option<WakingClock>,
        notes: Arc<Notes<E::Blob>>,
    ) -> Self {
        Self {
            inner,
            clock,
            notes,
            is_voter: false,
        }
    }

    fn with(self, change: impl FnOnce(E) -> E) -> Self {
        Self {
            inner: change(self.inner),
            ..self
        }
    }

    fn voters_clock(&self) -> Option<&WakingClock> {
        self.clock.as_ref().filter(|_| self.is_voter)
    }
}

impl<E: Clock + Storage> governor::clock::Clock for Waking<E> {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl<E: Clock + Storage> governor::clock::ReasonablyRealtime for Waking<E> {}

impl<E: Clock + Storage> Clock for Waking<E> {
    fn current(&self) -> SystemTime {
        match self.voters_clock() {
            Some(clock) => clock.current(),
            None => self.inner.current(),
        }
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.sleep_until(self.current() + duration)
    }

    fn sleep_until(
        &self,
        deadline: SystemTime,
    ) -> impl Future<Output = ()> + Send + 'static + use<E> {
        let waking = self.voters_clock().cloned();
        let real = self.inner.sleep_until(deadline);
        async move {
            match waking {
                Some(clock) => clock.sleep_until(deadline).await,
                None => real.await,
            }
        }
    }
}

impl<E: Supervisor + Storage> Supervisor for Waking<E> {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self {
            inner: self.inner.child(label),
            clock: self.clock.clone(),
            notes: self.notes.clone(),
            is_voter: self.is_voter || label == VOTER,
        }
    }

    fn with_attribute(self, key: &'static str, value: impl std::fmt::Display) -> Self {
        self.with(|inner| inner.with_attribute(key, value))
    }
}

impl<E: Spawner + Storage> Spawner for Waking<E> {
    fn shared(self, blocking: bool) -> Self {
        self.with(|inner| inner.shared(blocking))
    }

    fn dedicated(self) -> Self {
        self.with(Spawner::dedicated)
    }

    fn spawn<F, Fut, T>(self, task: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Self {
            inner,
            clock,
            notes,
            is_voter,
        } = self;
        inner.spawn(move |inner| {
            task(Self {
                inner,
                clock,
                notes,
                is_voter,
            })
        })
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> Signal {
        self.inner.stopped()
    }
}

impl<E: Metrics + Storage> Metrics for Waking<E> {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(
        &self,
        name: N,
        help: H,
        metric: M,
    ) -> Registered<M> {
        self.inner.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.inner.encode()
    }
}

impl<E: Storage> Storage for Waking<E> {
    type Blob = NotedBlob<E::Blob>;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(Self::Blob, u64, BlobVersion), Error> {
        open_noted(&self.inner, &self.notes, (partition, name), versions).await
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.inner.remove(partition, name).await
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.scan(partition).await
    }
}

impl<E: EngineRuntime> TryRng for Waking<E> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.inner.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.inner.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.inner.try_fill_bytes(bytes)
    }
}

impl<E: EngineRuntime> TryCryptoRng for Waking<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_still_ends_no_wait() {
        let clock = WakingClock::new(SystemTime::UNIX_EPOCH, Time::default());
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(30);
        let mut waits = Box::pin(clock.clone().sleep_until(deadline));
        let hour = tokio::time::sleep(Duration::from_secs(3_600));
        tokio::select! {
            () = &mut waits => panic!("it stood still"),
            () = hour => {}
        }
        assert_eq!(clock.current(), SystemTime::UNIX_EPOCH);
    }

    #[tokio::test]
    async fn only_the_time_in_which_it_runs_counts() {
        let clock = WakingClock::new(SystemTime::UNIX_EPOCH, Time::default());
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(30);
        let waits = tokio::spawn(clock.clone().sleep_until(deadline));
        clock.run(true);
        tokio::time::sleep(Duration::from_millis(10)).await;
        clock.run(false);
        let stood = clock.current();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(clock.current(), stood);
        clock.run(true);
        waits.await.expect("no panic");
        assert!(clock.current() >= deadline);
    }
}
