//! Memory and tables of one instance, summed over all that it has. Knows nothing of calls.

use std::sync::Arc;

use types::{ByteSize, Limits};
use wasmtime::ResourceLimiter;

use crate::bounds::{
    CORE_INSTANCES_PER_COMPONENT_MAX, MEMORIES_PER_COMPONENT_MAX, TABLES_PER_COMPONENT_MAX,
};
use crate::errors::Breach;
use crate::meter::Meter;

/// Grants growth while the sum stays within the limit; beyond it the guest gets -1.
pub(crate) struct InstanceLimiter {
    meter: Arc<Meter>,
    memory_bytes: u64,
    memory_bytes_max: u64,
    table_elements: u64,
    table_elements_max: u32,
    /// Whether a growth that only this machine cannot grant ends the call.
    same_everywhere: bool,
}

impl InstanceLimiter {
    pub(crate) fn new(limits: &Limits, same_everywhere: bool, meter: Arc<Meter>) -> Self {
        Self {
            meter,
            memory_bytes: 0,
            memory_bytes_max: limits.memory.as_u64(),
            table_elements: 0,
            table_elements_max: limits.table_elements,
            same_everywhere,
        }
    }

    /// From now on `meter` is told; what the instance has so far still counts.
    pub(crate) fn account_to(&mut self, meter: Arc<Meter>) {
        meter.set_memory(self.memory_bytes);
        self.meter = meter;
    }
}

/// Beyond the guest's own declared maximum the growth fails by itself: nothing to count.
fn beyond(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_some_and(|maximum| desired > maximum)
}

impl ResourceLimiter for InstanceLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current) as u64);
        if total > self.memory_bytes_max {
            self.meter.refuse_growth(Breach::Memory {
                limit: ByteSize::bytes(self.memory_bytes_max),
                asked: ByteSize::bytes(total),
            });
            return Ok(false);
        }
        if beyond(desired, maximum) {
            return Ok(false);
        }
        // Counted even if the system then refuses the pages: too strict beats too lax.
        self.memory_bytes = total;
        self.meter.set_memory(total);
        Ok(true)
    }

    /// The system has no pages left. A guest that saw its growth fail here would give another
    /// result than elsewhere.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if self.same_everywhere {
            Err(error.context("this machine has no memory left"))
        } else {
            Ok(())
        }
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .table_elements
            .saturating_add(desired.saturating_sub(current) as u64);
        if total > u64::from(self.table_elements_max) {
            self.meter.refuse_growth(Breach::Tables {
                limit: self.table_elements_max,
                asked: total,
            });
            return Ok(false);
        }
        if beyond(desired, maximum) {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_PER_COMPONENT_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_COMPONENT_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_COMPONENT_MAX as usize
    }
}
