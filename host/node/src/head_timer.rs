//! The clock that ends connections whose client sends no request head: registered with the
//! system's timers once per connection, not once per request.
//!
//! hyper makes and drops one sleep per request. A keep-alive connection would register and remove a
//! timer each time, at a cost that a short request feels. Here the sleeps of one connection share
//! one registration: it is only moved when it rings before the time that is wanted then.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use rustix::time::{ClockId, clock_gettime};

/// The timer of one connection.
#[derive(Default)]
pub(crate) struct HeadTimer {
    registered: Arc<Mutex<Option<Registered>>>,
}

struct Registered {
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// Who is woken when it rings.
    waker: Waker,
}

/// One wait, until a deadline.
struct HeadSleep {
    deadline: Instant,
    registered: Arc<Mutex<Option<Registered>>>,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep {
            deadline,
            registered: Arc::clone(&self.registered),
        })
    }

    /// Some milliseconds late, which seconds of patience do not notice; never reads the hardware.
    fn now(&self) -> Instant {
        static BEGAN: LazyLock<(Instant, Duration)> =
            LazyLock::new(|| (Instant::now(), coarse_uptime()));
        let (began, uptime) = *BEGAN;
        began + coarse_uptime().saturating_sub(uptime)
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut registered = self
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Registered { sleep, waker } = registered.get_or_insert_with(|| Registered {
            sleep: Box::pin(tokio::time::sleep_until(deadline)),
            waker: Waker::noop().clone(),
        });
        // Rings soon enough, and for this task: there is nothing to be said to it again.
        let rings = sleep.deadline() <= deadline && waker.will_wake(context.waker());
        if rings && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        waker.clone_from(context.waker());
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

fn coarse_uptime() -> Duration {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    async fn rings(sleep: Pin<Box<dyn Sleep>>) -> bool {
        tokio::time::timeout(Duration::from_secs(30), sleep)
            .await
            .is_ok()
    }

    async fn poll_once(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn a_wait_that_was_dropped_does_not_end_the_next_one() {
        let timer = HeadTimer::default();
        let mut first = timer.sleep(SHORT);
        assert!(!poll_once(&mut first).await);
        drop(first);
        let mut second = timer.sleep(LONG);
        assert!(!poll_once(&mut second).await);
        tokio::time::sleep(SHORT * 3).await;
        assert!(!poll_once(&mut second).await, "rang at the first deadline");
    }

    #[tokio::test]
    async fn waits_end_whether_the_one_before_was_longer_or_shorter() {
        let timer = HeadTimer::default();
        assert!(!poll_once(&mut timer.sleep(LONG)).await);
        assert!(rings(timer.sleep(SHORT)).await);
        assert!(rings(timer.sleep(SHORT)).await);
    }
}
