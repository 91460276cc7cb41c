//! What a machine has, measured, and what of it is given away. Knows no ledger, no guest and no
//! socket: who may have what is decided elsewhere.

mod adapter;
mod adapters;
mod bucket;
mod capacity;
mod cgroup;
mod cpu;
mod gpu;
mod health;
mod memory;
mod network;
mod quota_directory;
mod storage;
mod system;
mod term;

pub use adapter::{Adapter, EnforceError, Enforcement, HealthError, MeasureError, Usage};
pub use adapters::{
    ContainerAdapter, CpuAdapter, GpuAdapter, MemoryAdapter, NetworkAdapter, StorageAdapter,
};
pub use bucket::{TakeError, TokenBucket};
pub use capacity::{Capacity, ReleaseError, Reservation, ReserveError};
pub use cpu::{CALIBRATION_RUNS, CALIBRATION_UNIT_STEPS, calibrate, measure_cpu};
pub use gpu::{GPUS_MAX, NVML, measure_gpus};
pub use health::{Health, Tolerances};
pub use memory::{MemoryReading, measure_memory, memory_reading};
pub use network::{SessionReading, measure_network};
pub use quota_directory::{OpenQuotaError, QuotaDirectory, WriteQuotaError};
pub use storage::{MeasureStorageError, Room, TEST_BYTES_MAX, measure_storage, room};
pub use system::{System, SystemFileError};
pub use term::{CLOCK_DRIFT_PPM_MAX, CLOCK_SKEW_MS_MAX, LeaseTerm, LedgerClock, RenewTermError};
