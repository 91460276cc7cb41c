//! Runs components: engines, limits, calls, host interfaces. Knows no network fabric, no ledger
//! and no admin interface; a guest reaches those through traits that the node implements.

mod admission;
mod background;
mod bounds;
mod call;
mod capability;
mod checkpoint;
mod code_cache;
mod command;
mod compile;
mod consensus;
mod cpu;
mod cpu_share;
mod debug_info;
mod deterministic;
mod engine;
mod errors;
mod first_poll;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod host;
mod http_0_2;
mod http_0_3;
mod http_call;
mod http_response;
mod imports;
mod inspect;
mod invoke;
mod kept;
mod lifecycle;
mod limiter;
mod log;
mod memory;
mod message;
mod meter;
mod network;
mod observer;
mod pace;
mod pool;
mod progress;
mod replica;
mod runtime;
mod services;
mod shown;
mod start_error;
mod ticker;
mod volume;
mod wit_text;
mod worker;

pub use bounds::*;
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointMark, Checkpoints, ReplicaState};
pub use code_cache::{CodeCache, CodeStore, CompileStats};
pub use command::ExitStatus;
pub use compile::{CompileError, Compiled};
pub use consensus::{
    Beacon, Consensus, ConsensusError, ProvenRecord, RecordEntry, RecordReading, RecordWish,
    Submitted,
};
pub use cpu::{Cpu, CpuBudget, CpuCall, CpuCallError, CpuOutcome, CpuUsage};
pub use cpu_share::{CpuShare, CpuUsed};
pub use engine::{Profile, deterministic_engine};
pub use errors::{Breach, CallError};
pub use frame::{SourceLocation, WasmFrame};
pub use http_response::{ResponseBody, ResponseBodyError};
pub use imports::{ImportRefusal, Offer, offered_interfaces};
pub use inspect::{
    AssembleError, ExportSignature, ImportName, InspectError, Inspection, assemble_text,
};
pub use invoke::{Invocation, InvokeError, Within};
pub use lifecycle::StateError;
pub use memory::{AssetError, Awaited, Memory, MemoryRegion, MemoryShare, MemoryUsage};
pub use message::{Message, MessageTooLarge};
pub use network::{
    Connecting, Network, NetworkConnection, NetworkError, NetworkLink, NetworkUsage,
};
pub use observer::{CallKind, CallOutcome, CallRecord, Denial, LogStream, Observer, SocketUse};
pub use progress::{CompilePhase, CompileProgress};
pub use replica::{DrainReport, Preopen, Replica, ReplicaConfig, ReplicaId};
pub use runtime::{Runtime, RuntimeConfig, StartRuntimeError};
pub use services::{
    BlobInfo, BlobRead, BlobStore, BlobWrite, KeyValueStore, KeysFrom, NamePage, ObjectName,
    PublishError, Publisher, Secret, Services, StoreError,
};
pub use shown::{ProvenExecution, RequestSpaceError, ShownContent, ShownSpace};
pub use start_error::StartReplicaError;
pub use volume::{
    Volume, VolumeAwaited, VolumeError, VolumeLayout, VolumeRepaired, VolumeShare, VolumeUsage,
    Volumes,
};
