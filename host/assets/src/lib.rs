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
mod link;
mod link_op;
mod memory;
mod network;
mod quota_directory;
mod region;
mod region_op;
mod remote;
mod storage;
mod system;
mod tenancy;
mod tenants;
mod tenure;
mod term;
pub mod volume;

pub use adapter::{Adapter, EnforceError, Enforcement, HealthError, MeasureError, Usage};
pub use adapters::{
    ContainerAdapter, CpuAdapter, GpuAdapter, MemoryAdapter, NetworkAdapter, StorageAdapter,
};
pub use bucket::{TakeError, TokenBucket};
pub use capacity::{Capacity, ReleaseError, Reservation, ReserveError};
pub use cpu::{CALIBRATION_RUNS, CALIBRATION_UNIT_STEPS, calibrate, measure_cpu};
pub use gpu::{GPUS_MAX, NVML, measure_gpus};
pub use health::{Health, Tolerances};
pub use link::{CONNECTIONS_PER_LINK_MAX, Link, LinkUse, Way};
pub use link_op::{HOST_BYTES_MAX, LinkAnswer, LinkDone, LinkError, LinkOp};
pub use memory::{MemoryReading, measure_memory, memory_reading};
pub use network::{SessionReading, measure_network};
pub use quota_directory::{OpenQuotaError, QuotaDirectory, WriteQuotaError};
pub use region::{Region, RegionAccess, Regions};
pub use region_op::{
    OPERATION_BYTES_MAX, RegionDone, RegionError, RegionOp, RegionUsage, SWAP_BYTES_MAX,
};
pub use remote::{
    Answer, AnswerOf, AskError, AskRegionError, CAPABILITY_BYTES_MAX, DecodeRegionFrameError,
    FRAME_BYTES_MAX, Hello, IN_FLIGHT_MAX, MemberAnswer, MemberProtocol, MemberRequest,
    OpenRemoteError, Opened, Protocol, Refusal, RegionProtocol, Remote, RemoteMember, RemoteRegion,
    ServeRegionError, Welcome, answer_link, ask_link, decode_answer, decode_hello,
    decode_link_answer, decode_link_request, decode_member_answer, decode_member_request,
    decode_request, decode_welcome, encode_region_frame, read_hello, read_link_request,
    refuse_stream, serve_access, serve_member, serve_operations, serve_region,
};
pub use storage::{MeasureStorageError, Room, TEST_BYTES_MAX, measure_storage, room};
pub use system::{System, SystemFileError};
pub use tenancy::{BeginTenancyError, TENANCIES_MAX, Tenancies, Tenancy};
pub use tenants::{OpenTenantError, TENANTS_MAX, Tenant, Tenants};
pub use tenure::{REVOKED_MAX, Tenure};
pub use term::{CLOCK_DRIFT_PPM_MAX, CLOCK_SKEW_MS_MAX, LeaseTerm, LedgerClock, RenewTermError};
