//! How a call can end badly: breaches of limits, traps, refusals. Knows nothing of how calls run.

use std::time::Duration;

use types::{ByteSize, ComponentKind, Millis};

use crate::bounds::{REASON_BYTES_MAX, WASM_STACK_BYTES};
use crate::frame::WasmFrame;
use crate::lifecycle::StateError;

/// A limit that an instance ran into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Linear memory; the guest saw its growth fail.
    #[error("memory limit of {limit} reached: {asked} asked for; raise limits.memory or use less")]
    Memory {
        /// `limits.memory`.
        limit: ByteSize,
        /// What all memories together would have taken.
        asked: ByteSize,
    },
    /// Table elements; the guest saw its growth fail.
    #[error(
        "table limit of {limit} elements reached: {asked} asked for; raise limits.table_elements"
    )]
    Tables {
        /// `limits.table_elements`.
        limit: u32,
        /// What all tables together would have taken.
        asked: u64,
    },
    /// Wall time of one call; the instance was stopped.
    #[error("wall time limit of {limit} per call reached: stopped; raise limits.wall_time")]
    WallTime {
        /// `limits.wall_time`, or less for a trial instantiation.
        limit: Millis,
    },
    /// Fuel of one call; the instance was stopped.
    #[error("fuel limit of {limit} per call reached: stopped; raise limits.fuel")]
    Fuel {
        /// `limits.fuel`.
        limit: u64,
    },
    /// Output above the log rate; the instance runs on.
    #[error("log limit of {limit} per second reached: output was dropped; raise limits.log_rate")]
    LogRate {
        /// `limits.log_rate`.
        limit: ByteSize,
    },
    /// Outgoing connections and sockets; the guest got `connection-limit-reached` or
    /// `new-socket-limit`.
    #[error(
        "limit of {limit} outgoing connections reached: one more was refused; raise limits.outbound_connections"
    )]
    OutboundConnections {
        /// `limits.outbound_connections`.
        limit: u16,
    },
    /// What a store of the workload holds; the write was refused, the guest saw its error.
    #[error(
        "{store} quota of {limit} reached: {asked} asked for; raise capabilities.{store} or delete something"
    )]
    Quota {
        /// The field of the manifest.
        store: &'static str,
        /// The quota.
        limit: ByteSize,
        /// What the store would have held.
        asked: ByteSize,
    },
    /// Recursion; the instance was stopped.
    #[error("stack limit of {limit} reached: endless or too deep recursion, stopped")]
    StackOverflow {
        /// [`WASM_STACK_BYTES`].
        limit: ByteSize,
    },
}

impl Breach {
    pub(crate) const STACK: Self = Self::StackOverflow {
        limit: ByteSize::bytes(WASM_STACK_BYTES as u64),
    };
}

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A limit ended it, or made the guest give up.
    #[error("{0}")]
    Breach(Breach),
    /// The guest trapped.
    #[error("trap: {name}{}", within(backtrace))]
    Trap {
        /// What wasmtime calls it.
        name: String,
        /// Innermost frame first.
        backtrace: Vec<WasmFrame>,
    },
    /// The guest exited where only commands may.
    #[error("the guest exited with status {0}")]
    Exit(u8),
    /// All places are taken and the queue is full.
    #[error(
        "{queued} calls wait already, the most that limits.requests_queued allows: try again in {}s",
        retry_after.as_secs()
    )]
    QueueFull {
        /// How many wait.
        queued: u16,
        /// When a new attempt makes sense.
        retry_after: Duration,
    },
    /// No place became free in time.
    #[error("waited {waited} for a free place, the most that limits.queue_time allows")]
    QueueTimeout {
        /// `limits.queue_time`.
        waited: Millis,
        /// When a new attempt makes sense.
        retry_after: Duration,
    },
    /// The replica is paused and was not resumed in time.
    #[error("the replica is paused: waited {waited}, the most that limits.queue_time allows")]
    Paused {
        /// `limits.queue_time`.
        waited: Millis,
        /// When a new attempt makes sense.
        retry_after: Duration,
    },
    /// The replica is draining or stopped.
    #[error("the replica is stopped")]
    Stopped,
    /// The guest returned without having set a response.
    #[error("the guest returned without setting a response")]
    NoResponse,
    /// The guest answered with an error instead of a response, or did not handle a message.
    #[error("the guest answered with the error {code}")]
    GuestError {
        /// The error of `wasi:http` or `wasi:messaging`.
        code: String,
    },
    /// The request cannot be shown to a guest.
    #[error("the request cannot be passed on: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// This call does not fit the component.
    #[error("this is a {found} component: the call needs {needed}")]
    WrongKind {
        /// What it is.
        found: ComponentKind,
        /// What the call needs.
        needed: ComponentKind,
    },
    /// A stateful library's state could not be restored or kept: the call is undone.
    #[error("{0}")]
    State(Box<StateError>),
    /// The host could not carry the call out.
    #[error("the call failed in the host: {reason}")]
    Host {
        /// The first error of the chain and its causes.
        reason: String,
    },
}

fn within(backtrace: &[WasmFrame]) -> String {
    backtrace
        .first()
        .map_or_else(String::new, |frame| format!(" (in {frame})"))
}

/// At most [`REASON_BYTES_MAX`] of `text`.
pub(crate) fn clipped(text: &str) -> String {
    match text
        .char_indices()
        .find(|(at, c)| at + c.len_utf8() > REASON_BYTES_MAX)
    {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
