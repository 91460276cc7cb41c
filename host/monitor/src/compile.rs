//! What making machine code has cost a node and what its cache has saved. Counts nothing itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The runtime's own sums, read when metrics are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompileSample {
    /// Components whose code came from the cache.
    pub cache_hits: u64,
    /// Components whose code was not in the cache.
    pub cache_misses: u64,
    /// Components whose cached code was refused.
    pub cache_rejected: u64,
    /// Bytes of code that came from the cache.
    pub cache_bytes_loaded: u64,
    /// Components that were compiled.
    pub compiled: u64,
    /// Time that this took.
    pub compile_time: Duration,
    /// Slots of the pool.
    pub instances_max: u64,
    /// Those that are free.
    pub instances_free: u64,
}

#[derive(Debug, Default)]
pub(crate) struct CompileMetrics {
    hits: Counter,
    misses: Counter,
    rejected: Counter,
    bytes_loaded: Counter,
    compiled: Counter,
    time: Counter<f64, AtomicU64>,
    instances_max: Gauge,
    instances_free: Gauge,
}

impl CompileMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "code_cache_hits",
                "Components whose code came from the cache",
                &self.hits,
            ),
            (
                "code_cache_misses",
                "Components whose code was not in the cache",
                &self.misses,
            ),
            (
                "code_cache_rejected",
                "Components whose cached code was refused",
                &self.rejected,
            ),
            (
                "components_compiled",
                "Components that were compiled",
                &self.compiled,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register_with_unit(
            "code_cache_loaded",
            "Code that came from the cache",
            Unit::Bytes,
            self.bytes_loaded.clone(),
        );
        registry.register_with_unit(
            "compile",
            "Time that compiling took",
            Unit::Seconds,
            self.time.clone(),
        );
        registry.register(
            "instances_max",
            "Slots of the instance pool",
            self.instances_max.clone(),
        );
        registry.register(
            "instances_free",
            "Free slots of the instance pool",
            self.instances_free.clone(),
        );
    }

    /// Takes over sums that only grow.
    pub(crate) fn set(&self, sample: &CompileSample) {
        let counters = [
            (&self.hits, sample.cache_hits),
            (&self.misses, sample.cache_misses),
            (&self.rejected, sample.cache_rejected),
            (&self.bytes_loaded, sample.cache_bytes_loaded),
            (&self.compiled, sample.compiled),
        ];
        for (counter, value) in counters {
            counter.inner().store(value, Ordering::Relaxed);
        }
        let seconds = sample.compile_time.as_secs_f64();
        self.time
            .inner()
            .store(seconds.to_bits(), Ordering::Relaxed);
        for (gauge, value) in [
            (&self.instances_max, sample.instances_max),
            (&self.instances_free, sample.instances_free),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}
