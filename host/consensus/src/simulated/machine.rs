//! The runtime of one simulated node: the world's, with a disk and a wrong clock of its own. Never
//! schedules anything itself.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use commonware_runtime::signal::Signal;
use commonware_runtime::telemetry::metrics::{Metric, Registered};
use commonware_runtime::{
    BlobVersion, Clock, Error, Handle, Metrics, Name, Spawner, Storage, Supervisor,
};
use rand_core::{CryptoRng, TryCryptoRng, TryRng};

use super::blob::SimBlob;
use super::disk::Disk;

/// What of a node outlives its process: its disk, and how wrong its clock is.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Which node it is.
    pub number: usize,
    /// Its disk.
    pub disk: Disk,
    skew_ms: Arc<AtomicI64>,
}

impl Machine {
    /// A machine with an empty disk and a good clock.
    #[must_use]
    pub fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            disk: Disk::new(seed),
            skew_ms: Arc::default(),
        }
    }

    /// Sets its clock that far ahead of the world's, milliseconds; behind if negative.
    pub fn set_clock(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// What its clock shows when the world's shows `now_ms`, Unix milliseconds.
    #[must_use]
    pub fn shown_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }

    /// The same machine with its power on, for one process.
    pub(crate) fn powered(&self) -> Self {
        Self {
            disk: self.disk.powered(),
            ..self.clone()
        }
    }

    fn local(&self, time: SystemTime) -> SystemTime {
        self.shift(time, self.skew_ms.load(Ordering::Relaxed))
    }

    fn of_the_world(&self, time: SystemTime) -> SystemTime {
        self.shift(time, -self.skew_ms.load(Ordering::Relaxed))
    }

    fn shift(&self, time: SystemTime, by_ms: i64) -> SystemTime {
        let by = Duration::from_millis(by_ms.unsigned_abs());
        let shifted = if by_ms < 0 {
            time.checked_sub(by)
        } else {
            time.checked_add(by)
        };
        shifted.unwrap_or(time)
    }
}

/// A context whose disk and clock are those of a machine.
pub(crate) struct OnMachine<E> {
    inner: E,
    machine: Machine,
}

impl<E> OnMachine<E> {
    pub(crate) const fn new(inner: E, machine: Machine) -> Self {
        Self { inner, machine }
    }

    fn with<F>(self, change: impl FnOnce(E) -> F) -> OnMachine<F> {
        OnMachine {
            inner: change(self.inner),
            machine: self.machine,
        }
    }
}

impl<E: Clock> governor::clock::Clock for OnMachine<E> {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl<E: Clock> governor::clock::ReasonablyRealtime for OnMachine<E> {}

impl<E: Clock> Clock for OnMachine<E> {
    fn current(&self) -> SystemTime {
        self.machine.local(self.inner.current())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.inner.sleep(duration)
    }

    fn sleep_until(
        &self,
        deadline: SystemTime,
    ) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.inner.sleep_until(self.machine.of_the_world(deadline))
    }
}

impl<E: Supervisor> Supervisor for OnMachine<E> {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self::new(self.inner.child(label), self.machine.clone())
    }

    fn with_attribute(self, key: &'static str, value: impl std::fmt::Display) -> Self {
        self.with(|inner| inner.with_attribute(key, value))
    }
}

impl<E: Spawner> Spawner for OnMachine<E> {
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
        let Self { inner, machine } = self;
        inner.spawn(move |inner| task(Self::new(inner, machine)))
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> Signal {
        self.inner.stopped()
    }
}

impl<E: Metrics> Metrics for OnMachine<E> {
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

impl<E: Clock + Spawner + Send + Sync + 'static> Storage for OnMachine<E> {
    type Blob = SimBlob<E>;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(Self::Blob, u64, BlobVersion), Error> {
        let disk = &self.machine.disk;
        let found = disk.exists(partition, name).map(BlobVersion::new);
        let version = found.unwrap_or(*versions.end());
        if !versions.contains(&version) {
            return Err(Error::BlobVersionMismatch {
                expected: versions,
                found: version,
            });
        }
        let file = disk.open(partition, name, version.get());
        let size = file.lock().live.len() as u64;
        let name = (partition.to_owned(), format!("{name:02x?}"));
        let blob = SimBlob::new(self.inner.child("file"), disk.clone(), file, name);
        Ok((blob, size, version))
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        if self.machine.disk.remove(partition, name) {
            return Ok(());
        }
        Err(match name {
            Some(name) => Error::BlobMissing(partition.to_owned(), format!("{name:02x?}")),
            None => Error::PartitionMissing(partition.to_owned()),
        })
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        let names = self.machine.disk.scan(partition);
        names.ok_or_else(|| Error::PartitionMissing(partition.to_owned()))
    }
}

impl<E: CryptoRng> TryRng for OnMachine<E> {
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

impl<E: CryptoRng> TryCryptoRng for OnMachine<E> {}
