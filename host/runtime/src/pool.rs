//! The slots of a node's pool, over all engines together, and who gives one up when none is free.
//! Knows no replica's limits and no call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Slots that one instance holds as long as it lives.
pub(crate) type Slots = OwnedSemaphorePermit;

/// Something that holds slots without need: instances kept for a next request.
pub(crate) trait Yielding: Send + Sync {
    /// Drops one instance, if there is one.
    fn give_way(&self) -> bool;
}

/// The slots of all engines of a node.
///
/// A kept instance holds its slots, but nobody waits for it: whoever finds no free slot first makes
/// kept instances give way, and while anybody waits none is kept. So keeping never costs a
/// neighbour more than the time to drop an instance.
pub(crate) struct Pool {
    slots: Arc<Semaphore>,
    size: u32,
    waiting: AtomicUsize,
    yielding: Mutex<Vec<Weak<dyn Yielding>>>,
}

impl Pool {
    pub(crate) fn new(size: u32) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(usize::MAX))),
            size,
            waiting: AtomicUsize::new(0),
            yielding: Mutex::new(Vec::new()),
        }
    }

    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn free(&self) -> usize {
        self.slots.available_permits()
    }

    /// Has `holder` asked for slots when none is free.
    pub(crate) fn register(&self, holder: Weak<dyn Yielding>) {
        let mut yielding = self.yielding.lock().unwrap_or_else(PoisonError::into_inner);
        yielding.retain(|holder| holder.strong_count() > 0);
        yielding.push(holder);
    }

    /// Whether somebody waits for a slot now: nothing is kept then.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Free slots, without waiting and without asking anybody.
    pub(crate) fn try_take(&self, count: u32) -> Option<Slots> {
        Arc::clone(&self.slots).try_acquire_many_owned(count).ok()
    }

    /// Waits for slots; kept instances give way.
    pub(crate) async fn take(&self, count: u32) -> Result<Slots, AcquireError> {
        // Counted first: what is kept from now on is given up by its keeper.
        let _waiting = Waiting::begin(&self.waiting);
        self.reclaim(count);
        Arc::clone(&self.slots).acquire_many_owned(count).await
    }

    fn reclaim(&self, count: u32) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if self.free() >= count {
            return;
        }
        let holders: Vec<_> = {
            let yielding = self.yielding.lock().unwrap_or_else(PoisonError::into_inner);
            yielding.iter().filter_map(Weak::upgrade).collect()
        };
        // One of each in turn, so that not one replica alone pays for all.
        while self.free() < count {
            let gave = holders.iter().filter(|holder| holder.give_way()).count();
            if gave == 0 {
                return;
            }
        }
    }
}

/// One who waits for slots.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
