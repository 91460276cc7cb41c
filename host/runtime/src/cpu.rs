//! What a node does for guests that have others run on leased processors: the traits that it implements,
//! and what crosses them. Knows no lease, no signature and no network.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::memory::{AssetError, Awaited};

/// Leased processors as one replica may use them.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Cpu: fmt::Debug + Send + Sync + 'static {
    /// Leases thousandths of a core and makes a budget of them, whose last handle ends the lease. If
    /// nobody waits any more, the implementation ends what it began.
    fn allocate(&self, millicores: u32, term_ms: u64) -> Awaited<Arc<dyn CpuBudget>>;
}

/// A budget, as one guest has it. Dropping it gives back what it is answerable for.
pub trait CpuBudget: fmt::Debug + Send + Sync + 'static {
    /// Has a call run. Dropping the future stops it.
    fn run(&self, call: CpuCall) -> BoxFuture<'static, Result<CpuOutcome, CpuCallError>>;
    /// What it was used for, and how long it lasts.
    fn usage(&self) -> Awaited<CpuUsage>;
    /// Has its lease last so long from now on.
    fn renew(&self, term_ms: u64) -> Awaited<()>;
}

/// A call of a deployed component. The texts are a guest's, and checked by nobody yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuCall {
    /// Of this workload.
    pub workload: String,
    /// This component.
    pub component: String,
    /// Its function.
    pub function: String,
    /// In WAVE.
    pub arguments: Vec<String>,
    /// Fuel that it may use.
    pub fuel_max: u64,
    /// How long it may take, milliseconds.
    pub wall_ms_max: u64,
}

/// What a call gave and took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuOutcome {
    /// In WAVE.
    pub output: String,
    /// Fuel that it used.
    pub fuel: u64,
    /// Cpu time that it used, microseconds.
    pub cpu_us: u64,
    /// Most memory at once.
    pub memory_peak_bytes: u64,
    /// The bytes of its signed receipt.
    pub receipt: Vec<u8>,
}

/// What a budget was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuUsage {
    /// What was leased.
    pub millicores: u32,
    /// Calls that were begun.
    pub calls: u64,
    /// Cpu time of all calls, microseconds.
    pub cpu_us: u64,
    /// Fuel of the calls that ended.
    pub fuel: u64,
    /// How long its lease is certainly live, milliseconds.
    pub left_ms: u64,
}

/// A call that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuCallError {
    /// It was not made.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// What was called trapped, or reached a limit.
    #[error("{0}")]
    Failed(String),
}
