//! Engine profiles: how code is compiled and where instances live. Knows no workload.

use std::num::NonZeroUsize;

use types::{ComponentSpec, Digest, Limits};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

use crate::bounds::{
    ASYNC_STACK_BYTES, BACKTRACE_FRAMES_MAX, CORE_INSTANCES_PER_COMPONENT_MAX, KEEP_RESIDENT_BYTES,
    MEMORIES_PER_COMPONENT_MAX, TABLES_PER_COMPONENT_MAX, TABLES_PER_SLOT, WARM_SLOTS_MAX,
    WASM_STACK_BYTES,
};
use crate::capability;
use crate::deterministic;
use crate::host::Host;
use crate::inspect::Inspection;
use crate::runtime::RuntimeConfig;

/// How a component is compiled, so that only those pay for a feature that use it: counting fuel
/// slows all code, one form of NaN slows float code several times, and component-model concurrency
/// makes every call three times slower, also for guests of WASI 0.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Epochs only.
    Fast,
    /// Epochs and fuel.
    Metered,
    /// Epochs and component-model concurrency: WASI 0.3 beside 0.2.
    Async,
    /// Epochs, component-model concurrency and fuel.
    AsyncMetered,
    /// Epochs and fuel, one form of NaN, one meaning of relaxed SIMD, virtual clocks: the same
    /// component, input and seed give the same bytes and the same fuel. WASI 0.2 only.
    Deterministic,
}

impl Profile {
    /// The profile that this component needs.
    #[must_use]
    pub const fn of(spec: &ComponentSpec, inspection: &Inspection) -> Self {
        if spec.deterministic_seed.is_some() {
            return Self::Deterministic;
        }
        match (inspection.concurrent, spec.limits.fuel) {
            (false, None) => Self::Fast,
            (false, Some(_)) => Self::Metered,
            (true, None) => Self::Async,
            (true, Some(_)) => Self::AsyncMetered,
        }
    }

    const fn counts_fuel(self) -> bool {
        matches!(
            self,
            Self::Metered | Self::AsyncMetered | Self::Deterministic
        )
    }

    const fn concurrent(self) -> bool {
        matches!(self, Self::Async | Self::AsyncMetered)
    }
}

/// The engine's release: what fuel costs may change with each.
const RELEASE: &str = "wasmtime 48.0.8";

/// Names what result, fuel and memory of a deterministic guest depend on beside the guest: the
/// engine's release and settings, and what stands for chance and time. The same on every machine,
/// whatever its processor.
#[must_use]
pub fn deterministic_engine() -> Digest {
    let settings =
        format!("{RELEASE}; stack {WASM_STACK_BYTES}; nan canonical; simd deterministic; ");
    Digest::of(&[settings.as_bytes(), deterministic::DOMAIN].concat())
}

/// An engine and everything that its guests can be linked to.
pub(crate) struct ProfiledEngine {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Host>,
}

impl ProfiledEngine {
    pub(crate) fn new(config: &RuntimeConfig, profile: Profile) -> wasmtime::Result<Self> {
        let engine = Engine::new(&engine_config(config, profile))?;
        let mut linker = Linker::new(&engine);
        capability::link(&mut linker, profile.concurrent())?;
        if profile == Profile::Deterministic {
            capability::link_virtual_clocks(&mut linker)?;
        }
        Ok(Self { engine, linker })
    }
}

/// The configuration of one profile.
fn engine_config(config: &RuntimeConfig, profile: Profile) -> Config {
    let mut engine = Config::new();
    engine
        .strategy(Strategy::Cranelift)
        .parallel_compilation(true)
        .wasm_component_model(true)
        // Both: the first is what calls pay for, the second what code may use.
        .concurrency_support(profile.concurrent())
        .wasm_component_model_async(profile.concurrent())
        .epoch_interruption(true)
        .consume_fuel(profile.counts_fuel())
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES)
        .memory_init_cow(true)
        // Lines where a component has them. `debug_info` bounds what that takes.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    if profile == Profile::Deterministic {
        // Threads are refused when a component is inspected. The stack above is fixed, so that
        // recursion ends at the same depth.
        engine
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true);
    }
    engine
}

fn pool(config: &RuntimeConfig) -> PoolingAllocationConfig {
    let slots = config.instances_max;
    let memory_max = usize::try_from(config.memory_max.as_u64()).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_COMPONENT_MAX)
        .total_memories(slots)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(slots)
        .max_memory_size(memory_max)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_memories_per_module(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .max_tables_per_module(TABLES_PER_COMPONENT_MAX)
        .table_elements(Limits::TABLE_ELEMENTS_MAX as usize)
        .max_unused_warm_slots(WARM_SLOTS_MAX);
    // Without the scan, keeping pages would mean clearing all of them after every instance.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(KEEP_RESIDENT_BYTES / 16);
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_one_that_is_linked() {
        let (name, version) = RELEASE.split_once(' ').unwrap();
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&locked), "the engine is not {RELEASE}");
    }
}
