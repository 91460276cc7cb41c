//! The baseline: wasmtime as its documentation says, with the pool and engine settings of ours.

use runtime::{
    ASYNC_STACK_BYTES, CORE_INSTANCES_PER_COMPONENT_MAX, KEEP_RESIDENT_BYTES,
    MEMORIES_PER_COMPONENT_MAX, RuntimeConfig, TABLES_PER_COMPONENT_MAX, TABLES_PER_SLOT,
    WARM_SLOTS_MAX, WASM_STACK_BYTES,
};
use types::Limits;
use wasmtime::component::{Component, InstancePre, Linker, Type, Val};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
    StoreLimits, StoreLimitsBuilder,
};

/// An engine and one component in it.
pub(crate) struct Bare {
    engine: Engine,
    pre: InstancePre<StoreLimits>,
    epochs: bool,
}

impl Bare {
    /// With epochs, deadlines and a limiter; or with nothing at all.
    pub(crate) fn new(bytes: &[u8], epochs: bool) -> Result<Self> {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .concurrency_support(false)
            .epoch_interruption(epochs)
            .max_wasm_stack(WASM_STACK_BYTES)
            .async_stack_size(ASYNC_STACK_BYTES)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let engine = Engine::new(&config)?;
        let component = Component::from_binary(&engine, bytes)?;
        let pre = Linker::new(&engine).instantiate_pre(&component)?;
        Ok(Self {
            engine,
            pre,
            epochs,
        })
    }

    pub(crate) async fn touch(&self) -> Result<Val> {
        self.call("touch", &[Val::U32(1), Val::U32(2)]).await
    }

    /// As [`Self::touch`], with arguments and result as text, which is what `invoke` takes.
    pub(crate) async fn touch_text(&self, args: &[String]) -> Result<String> {
        let args: Vec<Val> = args
            .iter()
            .map(|arg| Val::from_wave(&Type::U32, arg))
            .collect::<Result<_>>()?;
        self.call("touch", &args).await?.to_wave()
    }

    pub(crate) async fn count(&self, iterations: u64) -> Result<Val> {
        self.call("count", &[Val::U64(iterations)]).await
    }

    async fn call(&self, name: &str, args: &[Val]) -> Result<Val> {
        let limits = StoreLimitsBuilder::new().memory_size(64 << 20).build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        if self.epochs {
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
        let instance = self.pre.instantiate_async(&mut store).await?;
        let function = instance
            .get_func(&mut store, name)
            .ok_or_else(|| wasmtime::format_err!("no export `{name}`"))?;
        let mut results = [Val::Bool(false)];
        function.call_async(&mut store, args, &mut results).await?;
        let [result] = results;
        Ok(result)
    }
}

fn pool() -> PoolingAllocationConfig {
    let slots = RuntimeConfig::default().instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_COMPONENT_MAX)
        .total_memories(slots)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(slots)
        .max_memories_per_module(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_module(TABLES_PER_COMPONENT_MAX)
        .table_elements(Limits::TABLE_ELEMENTS_MAX as usize)
        .max_unused_warm_slots(WARM_SLOTS_MAX);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(KEEP_RESIDENT_BYTES / 16);
    }
    pool
}
