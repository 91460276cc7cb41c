//! Instances that one replica keeps from one request to the next. Knows nothing of requests: who
//! gives an instance back says that it may be used again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wasmtime::Store;

use crate::bounds::{KEPT_INSTANCES_MAX, KEPT_TIME_MAX};
use crate::gate::Gate;
use crate::host::Host;
use crate::http_call::Service;
use crate::pool::{Pool, Slots, Yielding};

/// An instance that serves requests, one at a time.
pub(crate) struct Live {
    pub(crate) store: Store<Host>,
    /// Made with the first request, within its limits.
    pub(crate) service: Option<Service>,
    /// Requests that it has answered.
    pub(crate) served: u32,
}

impl Live {
    pub(crate) const fn fresh(store: Store<Host>) -> Self {
        Self {
            store,
            service: None,
            served: 0,
        }
    }
}

/// Whoever takes an instance owns it: no two requests are ever in one.
pub(crate) struct Kept {
    resting: Mutex<Resting>,
    pool: Arc<Pool>,
    /// Closed in a pause, which does not make what rests older.
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Resting {
    /// Longest at rest first; taken from the other end, so that what is not needed grows old.
    instances: VecDeque<Rested>,
    closed: bool,
    /// A task waits for the oldest to expire.
    watched: bool,
}

struct Rested {
    // Goes before its slots do.
    live: Live,
    slots: Slots,
    since: Instant,
    /// How long the replica had been paused by then.
    paused_before: Duration,
}

impl Rested {
    /// When it has rested too long, if there is no pause from now on.
    fn expires(&self, paused: Duration) -> Instant {
        self.since + KEPT_TIME_MAX + paused.saturating_sub(self.paused_before)
    }
}

impl Kept {
    pub(crate) fn new(pool: &Arc<Pool>, gate: &Arc<Gate>) -> Arc<Self> {
        let kept = Arc::new(Self {
            resting: Mutex::default(),
            pool: Arc::clone(pool),
            gate: Arc::clone(gate),
        });
        let weak = Arc::downgrade(&kept);
        pool.register(weak);
        kept
    }

    pub(crate) fn take(&self) -> Option<(Slots, Live)> {
        let rested = self.resting().instances.pop_back()?;
        Some((rested.slots, rested.live))
    }

    /// Keeps an instance, unless there are enough or somebody waits for its slots.
    pub(crate) fn keep(self: &Arc<Self>, live: Live, slots: Slots) {
        let rested = Rested {
            live,
            slots,
            since: Instant::now(),
            paused_before: self.gate.closed_for(),
        };
        let (refused, watch) = {
            let mut resting = self.resting();
            let full = resting.instances.len() >= KEPT_INSTANCES_MAX;
            if full || resting.closed || self.pool.is_wanted() {
                (Some(rested), false)
            } else {
                resting.instances.push_back(rested);
                (None, !std::mem::replace(&mut resting.watched, true))
            }
        };
        drop(refused);
        if watch {
            tokio::spawn(watch_age(Arc::downgrade(self)));
        }
        // Who began to wait in between found nothing to reclaim.
        if self.pool.is_wanted() {
            self.give_way();
        }
    }

    /// Drops everything, now and from now on.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut resting = self.resting();
            resting.closed = true;
            std::mem::take(&mut resting.instances)
        };
        drop(dropped);
    }

    /// Drops what has rested too long at `now`; when the next will have.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let paused = self.gate.closed_for();
        let (expired, next) = {
            let mut resting = self.resting();
            let young = |rested: &Rested| rested.expires(paused) > now;
            let count = resting.instances.iter().position(young);
            let count = count.unwrap_or(resting.instances.len());
            let expired: Vec<_> = resting.instances.drain(..count).collect();
            let next = resting.instances.front();
            // In a pause nothing grows older: it is enough to look now and then.
            let next = next.map(|rested| match self.gate.is_closed() {
                true => now + KEPT_TIME_MAX,
                false => rested.expires(paused),
            });
            resting.watched = next.is_some();
            (expired, next)
        };
        drop(expired);
        next
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Yielding for Kept {
    fn give_way(&self) -> bool {
        let longest = self.resting().instances.pop_front();
        longest.is_some()
    }
}

/// Ends when nothing rests any more; the next instance that is kept starts it again.
async fn watch_age(kept: Weak<Kept>) {
    while let Some(next) = kept.upgrade().and_then(|kept| kept.expire(Instant::now())) {
        sleep_until(next).await;
    }
}
