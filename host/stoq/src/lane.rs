//! What all sending halves of a session share: whether anything had to wait, and the cap.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::link::lock;
use crate::proto::{Bucket, Grant};

/// The sending side of one session.
#[derive(Debug)]
pub(crate) struct Lane {
    began: Instant,
    /// Something had to wait for the path since the last look.
    pressed: AtomicBool,
    /// Saves the lock where there is no cap, which is nearly everywhere.
    is_capped: AtomicBool,
    bucket: Mutex<Option<Bucket>>,
}

impl Lane {
    pub(crate) fn new(cap_bytes_per_second: Option<u64>) -> Self {
        let lane = Self {
            began: Instant::now(),
            pressed: AtomicBool::new(false),
            is_capped: AtomicBool::new(false),
            bucket: Mutex::default(),
        };
        lane.set_cap(cap_bytes_per_second);
        lane
    }

    pub(crate) fn set_cap(&self, bytes_per_second: Option<u64>) {
        let bucket = bytes_per_second.map(|rate| Bucket::new(rate, self.began.elapsed()));
        self.is_capped.store(bucket.is_some(), Ordering::Release);
        *lock(&self.bucket) = bucket;
    }

    pub(crate) fn cap(&self) -> Option<u64> {
        lock(&self.bucket).as_ref().map(Bucket::bytes_per_second)
    }

    /// Remembers that the path took no more.
    pub(crate) fn press(&self) {
        self.pressed.store(true, Ordering::Relaxed);
    }

    /// Whether anything had to wait since the last call.
    pub(crate) fn was_pressed(&self) -> bool {
        self.pressed.swap(false, Ordering::Relaxed)
    }

    /// How many of `wanted` bytes may go now, or how long to wait.
    pub(crate) fn grant(&self, wanted: usize, urgent: bool) -> Grant {
        if !self.is_capped.load(Ordering::Acquire) {
            return Grant::Bytes(wanted);
        }
        let now = self.began.elapsed();
        lock(&self.bucket)
            .as_mut()
            .map_or(Grant::Bytes(wanted), |bucket| {
                if urgent {
                    bucket.take_urgent(wanted, now)
                } else {
                    bucket.take(wanted, now)
                }
            })
    }

    /// Returns what was granted and not sent.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes > 0
            && self.is_capped.load(Ordering::Acquire)
            && let Some(bucket) = lock(&self.bucket).as_mut()
        {
            bucket.give_back(bytes);
        }
    }
}

/// Waits for a grant of up to `wanted` bytes; `timer` is kept between polls.
pub(crate) fn poll_grant(
    lane: &Lane,
    wanted: usize,
    urgent: bool,
    timer: &mut Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    context: &mut Context<'_>,
) -> Poll<usize> {
    loop {
        if let Some(waiting) = timer {
            if waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            *timer = None;
        }
        match lane.grant(wanted, urgent) {
            Grant::Bytes(bytes) => return Poll::Ready(bytes),
            Grant::After(pause) => {
                // Timers have a resolution of a millisecond.
                let pause = pause.max(Duration::from_millis(1));
                *timer = Some(Box::pin(tokio::time::sleep(pause)));
            }
        }
    }
}
