//! Places of one replica and slots of the node's pool: who runs, who waits, who is refused.
//! Knows nothing of what a call does with its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, Notify, Semaphore, SemaphorePermit};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use types::{Limits, Millis};

use crate::bounds::POOL_PERCENT_PER_REPLICA;
use crate::errors::CallError;
use crate::gate::Gate;
use crate::pool::{Pool, Slots};

/// Shortest `Retry-After`: HTTP counts whole seconds.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

pub(crate) struct Admission {
    places: Semaphore,
    pool: Arc<Pool>,
    /// Pool slots per instance.
    slots: u32,
    queued: AtomicU16,
    queued_max: u16,
    queue_time: Millis,
    /// Running instances, and a bell for when there are none.
    in_flight: AtomicUsize,
    none_in_flight: Notify,
    /// Behind it new calls wait.
    gate: Arc<Gate>,
    closed: CancellationToken,
}

/// The right to one running instance. Drop it after the instance.
pub(crate) struct Place {
    admission: Arc<Admission>,
    pub(crate) queued: Duration,
    /// Until they are kept with the instance.
    slots: Option<Slots>,
}

impl Place {
    /// The instance's slots, for whoever keeps it beyond the call.
    pub(crate) const fn take_slots(&mut self) -> Option<Slots> {
        self.slots.take()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.slots.take());
        let admission = &self.admission;
        if admission.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            admission.none_in_flight.notify_waiters();
        }
        admission.places.add_permits(1);
    }
}

impl Admission {
    /// `slots` pool slots per instance.
    pub(crate) fn new(limits: &Limits, pool: Arc<Pool>, slots: u32, gate: Arc<Gate>) -> Arc<Self> {
        let share = u64::from(pool.size()) * u64::from(POOL_PERCENT_PER_REPLICA) / 100;
        let by_pool = (share / u64::from(slots.max(1))).max(1);
        let places = u64::from(limits.requests_in_flight).min(by_pool);
        Arc::new(Self {
            places: Semaphore::new(usize::try_from(places).unwrap_or(1)),
            pool,
            slots,
            queued: AtomicU16::new(0),
            queued_max: limits.requests_queued,
            queue_time: limits.queue_time,
            in_flight: AtomicUsize::new(0),
            none_in_flight: Notify::new(),
            gate,
            closed: CancellationToken::new(),
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Refuses everything from now on, also what waits.
    pub(crate) fn close(&self) {
        self.places.close();
        self.closed.cancel();
    }

    /// Waits until nothing runs; whether that came about within `time`.
    pub(crate) async fn idle(&self, time: Duration) -> bool {
        let idle = async {
            loop {
                let none = self.none_in_flight.notified();
                tokio::pin!(none);
                none.as_mut().enable();
                if self.in_flight() == 0 {
                    return;
                }
                none.await;
            }
        };
        timeout(time, idle).await.is_ok()
    }

    /// A place for the trial of a replica that starts: waits for the pool however short the
    /// replica's own queue is.
    pub(crate) async fn trial_place(self: &Arc<Self>, time: Duration) -> Result<Place, CallError> {
        let begun = Instant::now();
        let both = async {
            let place = self.places.acquire().await?;
            let slots = self.pool.take(self.slots).await?;
            Ok::<_, AcquireError>((place, slots))
        };
        match timeout(time, both).await {
            Ok(Ok((place, slots))) => Ok(self.placed(place, slots, begun.elapsed())),
            Ok(Err(AcquireError { .. })) => Err(CallError::Stopped),
            Err(_) => Err(CallError::QueueTimeout {
                waited: Millis::new(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                retry_after: self.retry_after(),
            }),
        }
    }

    /// A place for a fresh instance.
    pub(crate) async fn place(self: &Arc<Self>) -> Result<Place, CallError> {
        match self.free_place(&|| None::<(Slots, ())>) {
            Some((place, _)) => Ok(place),
            None => Ok(self.wait(|| None::<(Slots, ())>).await?.0),
        }
    }

    /// A place, with an instance that `kept` still has, or with slots for a fresh one.
    pub(crate) async fn place_or_kept<K>(
        self: &Arc<Self>,
        kept: impl Fn() -> Option<(Slots, K)>,
    ) -> Result<(Place, Option<K>), CallError> {
        match self.free_place(&kept) {
            Some(found) => Ok(found),
            None => self.wait(kept).await,
        }
    }

    /// What is there without waiting, which is what most calls find.
    fn free_place<K>(
        self: &Arc<Self>,
        kept: &impl Fn() -> Option<(Slots, K)>,
    ) -> Option<(Place, Option<K>)> {
        if self.gate.is_closed() {
            return None;
        }
        // None also when it is closed.
        let place = self.places.try_acquire().ok()?;
        let (slots, kept) = match kept() {
            Some((slots, kept)) => (slots, Some(kept)),
            None => (self.pool.try_take(self.slots)?, None),
        };
        Some((self.placed(place, slots, Duration::ZERO), kept))
    }

    /// A place for a call that nobody waits for: a pause may last as long as it likes.
    pub(crate) async fn place_after_pause(self: &Arc<Self>) -> Result<Place, CallError> {
        loop {
            self.opened().await?;
            match self.place().await {
                Err(CallError::Paused { .. }) => {}
                other => return other,
            }
        }
    }

    async fn opened(&self) -> Result<(), CallError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(CallError::Stopped),
            () = self.gate.opened() => Ok(()),
        }
    }

    /// Waits for what is missing: the end of a pause, the replica's own place, the pool.
    async fn wait<K>(
        self: &Arc<Self>,
        kept: impl Fn() -> Option<(Slots, K)>,
    ) -> Result<(Place, Option<K>), CallError> {
        if self.places.is_closed() {
            return Err(CallError::Stopped);
        }
        let _queued = self.queue()?;
        let begun = Instant::now();
        let deadline = (begun + self.queue_time.duration()).into();
        let all = async {
            self.opened().await?;
            let stopped = |AcquireError { .. }| CallError::Stopped;
            let place = self.places.acquire().await.map_err(stopped)?;
            if let Some((slots, kept)) = kept() {
                return Ok((place, Some(kept), slots));
            }
            let slots = self.pool.take(self.slots).await.map_err(stopped)?;
            // In this order: dropped, an instance goes before its slots do.
            Ok((place, None, slots))
        };
        // Boxed: it is large, and those that need not wait would move it.
        match Box::pin(timeout_at(deadline, all)).await {
            Ok(Ok(_)) if self.places.is_closed() => Err(CallError::Stopped),
            Ok(Ok((place, kept, slots))) => Ok((self.placed(place, slots, begun.elapsed()), kept)),
            Ok(Err(error)) => Err(error),
            Err(_) if self.gate.is_closed() => Err(CallError::Paused {
                waited: self.queue_time,
                retry_after: self.retry_after(),
            }),
            Err(_) => Err(CallError::QueueTimeout {
                waited: self.queue_time,
                retry_after: self.retry_after(),
            }),
        }
    }

    fn placed(
        self: &Arc<Self>,
        place: SemaphorePermit<'_>,
        slots: Slots,
        queued: Duration,
    ) -> Place {
        // Given back when the place is dropped.
        place.forget();
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        Place {
            admission: Arc::clone(self),
            queued,
            slots: Some(slots),
        }
    }

    fn queue(&self) -> Result<Queued<'_>, CallError> {
        let enter = |queued: u16| (queued < self.queued_max).then_some(queued + 1);
        self.queued
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter)
            .map(|_| Queued(&self.queued))
            .map_err(|queued| CallError::QueueFull {
                queued,
                retry_after: self.retry_after(),
            })
    }

    /// Who waits now is served or gone after the queue time.
    fn retry_after(&self) -> Duration {
        self.queue_time.duration().max(RETRY_AFTER_MIN)
    }
}

/// One waiting call.
struct Queued<'a>(&'a AtomicU16);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
