//! The world that simulated nodes live in: one seeded clock, scheduler and source of numbers.
//! Never knows what happens in it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonware_runtime::{Handle, Runner as _, deterministic};

use crate::engine::EngineRuntime;

/// What the clock shows at the beginning, Unix milliseconds.
const START_MS: u64 = 1_800_000_000_000;
/// How far the clock moves while tasks are ready to run.
const CYCLE: Duration = Duration::from_millis(1);

/// The world with the runtime that it always has. Generic, so that the engine is compiled for it
/// where it is simulated and nowhere else.
pub type SimWorld = World<deterministic::Context>;

/// A clock, a scheduler and a source of numbers. All follow from the seed.
pub struct World<E> {
    pub(crate) context: E,
    dice: Mutex<E>,
}

/// Runs a world to the end of `story`, on this thread. A task that panics ends alone.
pub fn run<F, Fut, T>(seed: u64, story: F) -> T
where
    F: FnOnce(SimWorld) -> Fut,
    Fut: Future<Output = T>,
{
    let config = deterministic::Config::new()
        .with_seed(seed)
        .with_cycle(CYCLE)
        .with_start_time(UNIX_EPOCH + Duration::from_millis(START_MS))
        .with_catch_panics(true);
    deterministic::Runner::new(config).start(|context| story(World::new(context)))
}

impl World<deterministic::Context> {
    /// A digest of everything that happened: the same seed gives the same.
    #[must_use]
    pub fn audit(&self) -> String {
        self.context.auditor().state()
    }
}

impl<E: EngineRuntime> World<E> {
    fn new(context: E) -> Self {
        let dice = Mutex::new(context.child("dice"));
        Self { context, dice }
    }

    /// Another handle on the same world.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.context.child("again"))
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let now: SystemTime = self.context.current();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.context.sleep(duration).await;
    }

    /// The next number.
    #[must_use]
    pub fn roll(&self) -> u64 {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.next_u64()
    }

    /// Runs `task` beside the others; dropping what it returns does not end it.
    pub fn spawn<F, Fut>(&self, task: F) -> Task
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let context = self.context.child("task");
        Task(context.spawn(move |context| task(Self::new(context))))
    }
}

impl<E> fmt::Debug for World<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// Something that runs in a world.
pub struct Task(Handle<()>);

impl Task {
    /// Ends it where it stands.
    pub fn end(&self) {
        self.0.abort();
    }
}
