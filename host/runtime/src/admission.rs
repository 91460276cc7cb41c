//! Places of one replica and slots of the node's pool: who runs, who waits, who is refused.
//! Knows nothing of what a call does with its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
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
    places: Arc<Semaphore>,
    pool: Arc<Pool>,
    /// Pool slots per instance.
    slots: u32,
    queued: AtomicU16,
    queued_max: u16,
    queue_time: Millis,
    in_flight: Arc<InFlight>,
    /// Behind it new calls wait.
    gate: Arc<Gate>,
    closed: CancellationToken,
}

/// Running instances, and a bell for when there are none.
#[derive(Default)]
struct InFlight {
    count: AtomicUsize,
    none: Notify,
}

/// The right to one running instance. Drop it after the instance.
pub(crate) struct Place {
    in_flight: Arc<InFlight>,
    pub(crate) queued: Duration,
    /// Until they are kept with the instance.
    slots: Option<Slots>,
    _place: OwnedSemaphorePermit,
}

impl Place {
    /// The instance's slots, for whoever keeps it beyond the call.
    pub(crate) const fn take_slots(&mut self) -> Option<Slots> {
        self.slots.take()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.in_flight.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.in_flight.none.notify_waiters();
        }
    }
}

impl Admission {
    /// `slots` pool slots per instance.
    pub(crate) fn new(limits: &Limits, pool: Arc<Pool>, slots: u32, gate: Arc<Gate>) -> Self {
        let share = u64::from(pool.size()) * u64::from(POOL_PERCENT_PER_REPLICA) / 100;
        let by_pool = (share / u64::from(slots.max(1))).max(1);
        let places = u64::from(limits.requests_in_flight).min(by_pool);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(1))),
            pool,
            slots,
            queued: AtomicU16::new(0),
            queued_max: limits.requests_queued,
            queue_time: limits.queue_time,
            in_flight: Arc::default(),
            gate,
            closed: CancellationToken::new(),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.count.load(Ordering::SeqCst)
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
                let none = self.in_flight.none.notified();
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
    pub(crate) async fn trial_place(&self, time: Duration) -> Result<Place, CallError> {
        let begun = Instant::now();
        let both = async {
            let place = Arc::clone(&self.places).acquire_owned().await?;
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
    pub(crate) async fn place(&self) -> Result<Place, CallError> {
        self.place_or_kept(|| None::<(Slots, ())>)
            .await
            .map(|(place, _)| place)
    }

    /// A place, with an instance that `kept` still has, or with slots for a fresh one.
    pub(crate) async fn place_or_kept<K>(
        &self,
        kept: impl Fn() -> Option<(Slots, K)>,
    ) -> Result<(Place, Option<K>), CallError> {
        if self.places.is_closed() {
            return Err(CallError::Stopped);
        }
        if self.gate.is_closed() {
            return self.wait(None, kept).await;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.wait(None, kept).await;
        };
        if let Some((slots, kept)) = kept() {
            return Ok((self.placed(place, slots, Duration::ZERO), Some(kept)));
        }
        match self.pool.try_take(self.slots) {
            Some(slots) => Ok((self.placed(place, slots, Duration::ZERO), None)),
            None => self.wait(Some(place), kept).await,
        }
    }

    /// A place for a call that nobody waits for: a pause may last as long as it likes.
    pub(crate) async fn place_after_pause(&self) -> Result<Place, CallError> {
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
        &self,
        place: Option<OwnedSemaphorePermit>,
        kept: impl Fn() -> Option<(Slots, K)>,
    ) -> Result<(Place, Option<K>), CallError> {
        let _queued = self.queue()?;
        let begun = Instant::now();
        let deadline = (begun + self.queue_time.duration()).into();
        let all = async {
            self.opened().await?;
            let stopped = |AcquireError { .. }| CallError::Stopped;
            let place = match place {
                Some(place) => place,
                None => {
                    let place = Arc::clone(&self.places).acquire_owned().await;
                    place.map_err(stopped)?
                }
            };
            if let Some((slots, kept)) = kept() {
                return Ok((place, Some(kept), slots));
            }
            let slots = self.pool.take(self.slots).await.map_err(stopped)?;
            // In this order: dropped, an instance goes before its slots do.
            Ok((place, None, slots))
        };
        match timeout_at(deadline, all).await {
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

    fn placed(&self, place: OwnedSemaphorePermit, slots: Slots, queued: Duration) -> Place {
        self.in_flight.count.fetch_add(1, Ordering::SeqCst);
        Place {
            in_flight: Arc::clone(&self.in_flight),
            queued,
            slots: Some(slots),
            _place: place,
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
