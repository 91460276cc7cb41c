//! The six kinds of assets, each with its measuring, its account and what enforces it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use types::{Amount, AssetFacts, AssetType, ContainerFacts, FactText, Name};

use crate::adapter::{Adapter, EnforceError, Enforcement, MeasureError};
use crate::bucket::TokenBucket;
use crate::capacity::{Capacity, Reservation};
use crate::cpu::measure_cpu;
use crate::gpu::measure_gpus;
use crate::memory::{measure_memory, memory_reading};
use crate::network::{SessionReading, measure_network};
use crate::quota_directory::QuotaDirectory;
use crate::storage::{measure_storage, room};
use crate::system::System;

/// The processors of a machine.
#[derive(Debug)]
pub struct CpuAdapter {
    system: System,
    capacity: Capacity,
}

/// The working memory of a machine.
#[derive(Debug)]
pub struct MemoryAdapter {
    system: System,
    capacity: Capacity,
}

/// Room in a directory.
#[derive(Debug)]
pub struct StorageAdapter {
    directory: PathBuf,
    capacity: Capacity,
    enforced: AtomicU64,
}

/// Transport to the nodes that this one has sessions with.
#[derive(Debug)]
pub struct NetworkAdapter {
    capacity: Capacity,
    sessions: Mutex<Vec<SessionReading>>,
}

/// One graphics processor.
#[derive(Debug)]
pub struct GpuAdapter {
    library: OsString,
    uuid: FactText,
    capacity: Capacity,
}

/// The instances of a component that live here.
#[derive(Debug)]
pub struct ContainerAdapter {
    workload: Name,
    component: Name,
    instances: AtomicU32,
    capacity: Capacity,
}

impl CpuAdapter {
    /// The processors of `system`, of which `total` may be given away.
    #[must_use]
    pub fn new(system: System, total: Amount) -> Self {
        let capacity = Capacity::new(total);
        Self { system, capacity }
    }
}

impl Adapter for CpuAdapter {
    fn asset_type(&self) -> AssetType {
        AssetType::Cpu
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        measure_cpu(&self.system).map(AssetFacts::Cpu)
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn enforce(&self, _: &Reservation) -> Result<Enforcement, EnforceError> {
        unsupported(
            AssetType::Cpu,
            "the runtime's cpu share of each instance does it",
        )
    }
}

impl MemoryAdapter {
    /// The memory of `system`, of which `total` may be given away.
    #[must_use]
    pub fn new(system: System, total: Amount) -> Self {
        let capacity = Capacity::new(total);
        Self { system, capacity }
    }
}

impl Adapter for MemoryAdapter {
    fn asset_type(&self) -> AssetType {
        AssetType::Memory
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        measure_memory(&self.system).map(AssetFacts::Memory)
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn enforce(&self, _: &Reservation) -> Result<Enforcement, EnforceError> {
        unsupported(
            AssetType::Memory,
            "the runtime's memory limit of each instance does it",
        )
    }

    fn ceiling(&self) -> Result<Option<Amount>, MeasureError> {
        let reading = memory_reading(&self.system)?;
        Ok(Some(Amount(reading.ceiling_bytes)))
    }
}

impl StorageAdapter {
    /// The room of `directory`, of which `total` may be given away.
    #[must_use]
    pub fn new(directory: PathBuf, total: Amount) -> Self {
        Self {
            directory,
            capacity: Capacity::new(total),
            enforced: AtomicU64::new(0),
        }
    }
}

impl Adapter for StorageAdapter {
    fn asset_type(&self) -> AssetType {
        AssetType::Storage
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        Ok(AssetFacts::Storage(measure_storage(&self.directory)?))
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// A directory of its own, below this one, for as much as was reserved. Whoever ends the
    /// reservation removes it. It must not have existed: what an earlier process left there would
    /// be another holder's.
    fn enforce(&self, reservation: &Reservation) -> Result<Enforcement, EnforceError> {
        owned(self, reservation)?;
        let number = self.enforced.fetch_add(1, Ordering::Relaxed);
        let name = format!("lease-{}-{number}", std::process::id());
        let path = self.directory.join(name);
        let directory = QuotaDirectory::create(&path, reservation.amount().0)?;
        Ok(Enforcement::Directory(directory))
    }

    fn ceiling(&self) -> Result<Option<Amount>, MeasureError> {
        Ok(Some(Amount(room(&self.directory)?.total_bytes)))
    }
}

impl NetworkAdapter {
    /// Transport of which `total` may be given away. Nothing is known of it before
    /// [`Self::observe`].
    #[must_use]
    pub fn new(total: Amount) -> Self {
        Self {
            capacity: Capacity::new(total),
            sessions: Mutex::default(),
        }
    }

    /// Replaces what sessions showed.
    pub fn observe(&self, sessions: Vec<SessionReading>) {
        let mut held = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        *held = sessions;
    }
}

impl Adapter for NetworkAdapter {
    fn asset_type(&self) -> AssetType {
        AssetType::Network
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        let held = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        measure_network(&held).map(AssetFacts::Network)
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn enforce(&self, reservation: &Reservation) -> Result<Enforcement, EnforceError> {
        owned(self, reservation)?;
        let bucket = TokenBucket::new(reservation.amount().0, Instant::now());
        Ok(Enforcement::Rate(bucket))
    }
}

impl GpuAdapter {
    /// The device `uuid` as `library` knows it, of which `total` may be given away.
    #[must_use]
    pub fn new(library: OsString, uuid: FactText, total: Amount) -> Self {
        Self {
            library,
            uuid,
            capacity: Capacity::new(total),
        }
    }
}

impl Adapter for GpuAdapter {
    fn asset_type(&self) -> AssetType {
        AssetType::Gpu
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        let mut found = measure_gpus(&self.library)?.into_iter();
        let device = found.find(|device| device.uuid == self.uuid);
        device
            .map(AssetFacts::Gpu)
            .ok_or_else(|| MeasureError::Absent {
                why: format!("the driver knows no device {}", self.uuid),
            })
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn enforce(&self, _: &Reservation) -> Result<Enforcement, EnforceError> {
        unsupported(
            AssetType::Gpu,
            "nothing can divide a device between holders",
        )
    }
}

impl ContainerAdapter {
    /// The instances of `component` of `workload`, of which `total` may be given away. None live
    /// before [`Self::observe`].
    #[must_use]
    pub fn new(workload: Name, component: Name, total: Amount) -> Self {
        Self {
            workload,
            component,
            instances: AtomicU32::new(0),
            capacity: Capacity::new(total),
        }
    }

    /// Says how many live.
    pub fn observe(&self, instances: u32) {
        self.instances.store(instances, Ordering::Relaxed);
    }
}

impl Adapter for ContainerAdapter {
    fn asset_type(&self) -> AssetType {
        AssetType::Container
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        Ok(AssetFacts::Container(ContainerFacts {
            workload: self.workload.clone(),
            component: self.component.clone(),
            instances: self.instances.load(Ordering::Relaxed),
        }))
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn enforce(&self, _: &Reservation) -> Result<Enforcement, EnforceError> {
        unsupported(
            AssetType::Container,
            "the orchestrator starts what is placed",
        )
    }
}

fn owned(adapter: &dyn Adapter, reservation: &Reservation) -> Result<(), EnforceError> {
    let asset_type = adapter.asset_type();
    match adapter.capacity().owns(reservation) {
        true => Ok(()),
        false => Err(EnforceError::Foreign { asset_type }),
    }
}

fn unsupported(asset_type: AssetType, by: &'static str) -> Result<Enforcement, EnforceError> {
    Err(EnforceError::Unsupported { asset_type, by })
}
