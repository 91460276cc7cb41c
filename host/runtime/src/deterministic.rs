//! What a deterministic guest takes for chance and time: random numbers drawn from the seed and
//! the call's input, and clocks that only the guest itself moves. Knows no interface.
//!
//! Every call begins at the same instant. A reading of a clock moves both clocks on by
//! [`READING_NANOS`]; a wait moves them to its end at once. So time is a function of what the
//! guest did, and a loop that waits for a clock to pass ends.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use types::Digest;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// How far one reading moves the clocks: two readings are never equal.
const READING_NANOS: u64 = 1_000;

/// The monotonic clock when a call begins: a day, because programs subtract from instants.
const BEGIN_NANOS: u64 = 24 * 3_600 * 1_000_000_000;

/// The wall clock when the monotonic clock shows zero: 2000-01-01T00:00:00Z.
const WALL_SECONDS: u64 = 946_684_800;

/// Changes with every change of what is drawn, so that old and new releases are not mixed up.
pub(crate) const DOMAIN: &[u8] = b"hypermesh deterministic 1";

/// What all calls of a deterministic replica have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Determinism {
    pub(crate) seed: u64,
    pub(crate) artifact: Digest,
}

/// What one call's chance depends on, beside seed and component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// Calls whose effect is in the state that this one begins with; 0 without state.
    pub(crate) sequence: u64,
    /// The export.
    pub(crate) export: &'a str,
    /// Its arguments, as written.
    pub(crate) arguments: &'a [String],
}

impl Input<'_> {
    /// Of what is called without being told anything: trials, commands.
    pub(crate) const NOTHING: Self = Self {
        sequence: 0,
        export: "",
        arguments: &[],
    };
}

/// Chance and time of one call.
#[derive(Debug, Clone)]
pub(crate) struct World {
    entropy: Digest,
    pub(crate) clock: Clock,
}

impl Determinism {
    pub(crate) fn world(&self, input: &Input<'_>) -> World {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.artifact.as_bytes());
        bytes.extend(input.sequence.to_le_bytes());
        let texts = input.arguments.iter().map(String::as_str);
        for text in std::iter::once(input.export).chain(texts) {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        World {
            entropy: Digest::of(&bytes),
            clock: Clock::new(),
        }
    }
}

impl World {
    /// Puts this in place of the machine's randomness and clocks.
    pub(crate) fn configure(&self, builder: &mut WasiCtxBuilder) {
        let mut seed = self.stream(2);
        let seed = u128::from(seed.next_u64()) << 64 | u128::from(seed.next_u64());
        builder
            .secure_random(self.stream(0))
            .insecure_random(self.stream(1))
            .insecure_random_seed(seed)
            .wall_clock(self.clock.clone())
            .monotonic_clock(self.clock.clone());
    }

    fn stream(&self, number: u64) -> ChaCha20Rng {
        let mut random = ChaCha20Rng::from_seed(*self.entropy.as_bytes());
        random.set_stream(number);
        random
    }
}

/// The clocks of one call. Clones show the same time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    shared: Arc<Mutex<Time>>,
}

#[derive(Debug)]
struct Time {
    now_nanos: u64,
    /// Instants that the guest waits for now, and how often.
    awaited: BTreeMap<u64, usize>,
}

impl Clock {
    fn new() -> Self {
        Self {
            shared: Arc::new(Mutex::new(Time {
                now_nanos: BEGIN_NANOS,
                awaited: BTreeMap::new(),
            })),
        }
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds on the monotonic clock.
    pub(crate) fn read(&self) -> u64 {
        let mut time = self.time();
        time.now_nanos = time.now_nanos.saturating_add(READING_NANOS);
        time.now_nanos
    }

    /// Ends when the clock shows `at_nanos`. Whoever waits for several instants at once polls all
    /// of these futures before any of them a second time: then time jumps to the earliest.
    pub(crate) async fn reach(&self, at_nanos: u64) {
        let mut waiting: Option<Waiting<'_>> = None;
        poll_fn(|context| {
            if waiting.is_some() {
                self.time().jump();
            } else if self.read() < at_nanos {
                waiting = Some(Waiting::begin(self, at_nanos));
            }
            if self.time().now_nanos >= at_nanos {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Time {
    fn jump(&mut self) {
        if let Some((earliest, _)) = self.awaited.first_key_value() {
            self.now_nanos = self.now_nanos.max(*earliest);
        }
    }
}

/// One instant that is waited for.
struct Waiting<'a> {
    clock: &'a Clock,
    at_nanos: u64,
}

impl<'a> Waiting<'a> {
    fn begin(clock: &'a Clock, at_nanos: u64) -> Self {
        *clock.time().awaited.entry(at_nanos).or_default() += 1;
        Self { clock, at_nanos }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut time = self.clock.time();
        if let Some(count) = time.awaited.get_mut(&self.at_nanos) {
            *count -= 1;
            if *count == 0 {
                time.awaited.remove(&self.at_nanos);
            }
        }
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        READING_NANOS
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(READING_NANOS)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(WALL_SECONDS) + Duration::from_nanos(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(seed: u64, artifact: &[u8], sequence: u64, arguments: &[&str]) -> World {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let artifact = Digest::of(artifact);
        Determinism { seed, artifact }.world(&Input {
            sequence,
            export: "run",
            arguments: &arguments,
        })
    }

    #[test]
    fn chance_depends_on_everything_that_is_told_and_on_nothing_else() {
        let draw = |world: World| {
            let mut streams = [world.stream(0), world.stream(1), world.stream(2)];
            streams
                .each_mut()
                .map(rand_chacha::rand_core::Rng::next_u64)
        };
        let base = || draw(world(1, b"a", 0, &["x", "y"]));
        assert_eq!(base(), base());
        let [secure, insecure, seed] = base();
        assert!(secure != insecure && insecure != seed && secure != seed);
        for other in [
            world(2, b"a", 0, &["x", "y"]),
            world(1, b"b", 0, &["x", "y"]),
            world(1, b"a", 1, &["x", "y"]),
            world(1, b"a", 0, &["xy"]),
            world(1, b"a", 0, &["x", "z"]),
        ] {
            assert_ne!(base(), draw(other));
        }
    }

    #[tokio::test]
    async fn waits_end_at_once_and_in_the_order_of_their_instants() {
        let clock = Clock::new();
        let begun = clock.read();
        let (soon, late) = (begun + 3_600_000_000_000, begun + 7_200_000_000_000);
        tokio::select! {
            biased;
            () = clock.reach(late) => panic!("the later instant came first"),
            () = clock.reach(soon) => {}
        }
        assert_eq!(clock.read(), soon + READING_NANOS);
        clock.reach(u64::MAX).await;
        assert_eq!(clock.read(), u64::MAX);
    }

    #[test]
    fn asking_whether_an_instant_has_come_moves_time() {
        use futures::FutureExt as _;
        let clock = Clock::new();
        let at = clock.read() + 10 * READING_NANOS;
        let asked = (0..100).position(|_| clock.reach(at).now_or_never().is_some());
        assert_eq!(asked, Some(9));
        assert!(clock.time().awaited.is_empty());
    }
}
