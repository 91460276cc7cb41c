//! Time as one node sees it: of the system, or of a simulation. Never decides how long anything
//! takes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commonware_runtime::Clock;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// A clock and its timer. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Time {
    /// None for the system's, whose timer is that of tokio.
    simulated: Option<Arc<dyn Source>>,
}

impl Time {
    /// The time of a simulation's runtime.
    pub(crate) fn of(clock: impl Clock) -> Self {
        let (origin, start) = (Instant::now(), clock.current());
        let simulated = Simulated {
            clock,
            origin,
            start,
        };
        Self {
            simulated: Some(Arc::new(simulated)),
        }
    }

    /// Only differences between two instants of the same node mean anything.
    pub(crate) fn now(&self) -> Instant {
        match &self.simulated {
            Some(source) => source.now(),
            None => Instant::now(),
        }
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        match &self.simulated {
            Some(source) => source.sleep(duration).await,
            None => tokio::time::sleep(duration).await,
        }
    }

    pub(crate) async fn sleep_until(&self, deadline: Instant) {
        self.sleep(deadline.saturating_duration_since(self.now()))
            .await;
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.simulated {
            Some(_) => "Time(simulated)",
            None => "Time(system)",
        })
    }
}

trait Source: Send + Sync {
    fn now(&self) -> Instant;
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

struct Simulated<C> {
    clock: C,
    /// What an arbitrary instant is called in the simulation.
    origin: Instant,
    start: std::time::SystemTime,
}

impl<C: Clock> Source for Simulated<C> {
    fn now(&self) -> Instant {
        let passed = self.clock.current().duration_since(self.start);
        // A clock that is set back stands still meanwhile.
        self.origin + passed.unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration).boxed()
    }
}
