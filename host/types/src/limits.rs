//! What one instance may use at most. Enforced by the runtime, admitted by the ledger.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Millis};

/// The bounds of one instance. Every field has a default, so nothing runs unbounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory, summed over all memories of the instance.
    pub memory: ByteSize,
    /// Table elements, summed over all tables of the instance.
    pub table_elements: u32,
    /// Wall time of one call: one request, one invocation, one run of a command.
    /// For a command that should run for ever, set it as long as the run may last.
    pub wall_time: Millis,
    /// Share of one core, in percent: above it the instance is put to sleep until it is even again.
    pub cpu_percent: u8,
    /// Instructions per call, as wasmtime counts fuel; none means no budget, and no cost of counting.
    pub fuel: Option<NonZeroU64>,
    /// Calls that run at once, each in an instance of its own.
    pub requests_in_flight: u16,
    /// Calls that wait for one of those places; more are refused at once.
    pub requests_queued: u16,
    /// How long a call waits for a place before it is refused.
    pub queue_time: Millis,
    /// Standard output and error, bytes per second (bursts of one second's worth); more is dropped
    /// and counted.
    pub log_rate: ByteSize,
    /// Outgoing connections open at once.
    pub outbound_connections: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(64),
            table_elements: 20_000,
            wall_time: Millis::seconds(30),
            cpu_percent: 100,
            fuel: None,
            requests_in_flight: 32,
            requests_queued: 1_000,
            queue_time: Millis::seconds(5),
            log_rate: ByteSize::kib(64),
            outbound_connections: 8,
        }
    }
}

/// A limit outside what any node can enforce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits.{field} is {value}: allowed is {allowed}")]
pub struct LimitsError {
    /// The field's name as manifests write it.
    pub field: &'static str,
    /// What it says.
    pub value: String,
    /// What it may say.
    pub allowed: &'static str,
}

impl Limits {
    /// Largest memory of one instance: what 32-bit linear memory can address.
    pub const MEMORY_MAX: ByteSize = ByteSize::mib(4096);
    /// Most table elements of one instance: bounds what a pool has to reserve.
    pub const TABLE_ELEMENTS_MAX: u32 = 100_000;
    /// Longest call; commands that run for ever are restarted by policy, not by an endless limit.
    pub const WALL_TIME_MAX: Millis = Millis::seconds(366 * 24 * 3600);
    /// Most calls of one replica at once.
    pub const REQUESTS_IN_FLIGHT_MAX: u16 = 1_000;

    /// Checks every bound.
    ///
    /// # Errors
    /// [`LimitsError`] names the first field that is out of range, with its range.
    pub fn check(&self) -> Result<(), LimitsError> {
        let memory = self.memory.as_u64();
        let wall = self.wall_time.as_u64();
        let checks: [(bool, &'static str, String, &'static str); 9] = [
            (
                (65_536..=Self::MEMORY_MAX.as_u64()).contains(&memory),
                "memory",
                self.memory.to_string(),
                "64KiB to 4GiB",
            ),
            (
                self.table_elements <= Self::TABLE_ELEMENTS_MAX,
                "table_elements",
                self.table_elements.to_string(),
                "0 to 100000",
            ),
            (
                (1..=Self::WALL_TIME_MAX.as_u64()).contains(&wall),
                "wall_time",
                self.wall_time.to_string(),
                "1ms to 8784h",
            ),
            (
                (1..=100).contains(&self.cpu_percent),
                "cpu_percent",
                self.cpu_percent.to_string(),
                "1 to 100",
            ),
            (
                (1..=Self::REQUESTS_IN_FLIGHT_MAX).contains(&self.requests_in_flight),
                "requests_in_flight",
                self.requests_in_flight.to_string(),
                "1 to 1000",
            ),
            (
                self.requests_queued <= 10_000,
                "requests_queued",
                self.requests_queued.to_string(),
                "0 to 10000",
            ),
            (
                self.queue_time.as_u64() <= 60_000,
                "queue_time",
                self.queue_time.to_string(),
                "0ms to 60s",
            ),
            (
                (1_024..=1 << 30).contains(&self.log_rate.as_u64()),
                "log_rate",
                self.log_rate.to_string(),
                "1KiB to 1GiB (per second)",
            ),
            (
                self.outbound_connections <= 1_000,
                "outbound_connections",
                self.outbound_connections.to_string(),
                "0 to 1000",
            ),
        ];
        match checks.into_iter().find(|(within, ..)| !within) {
            None => Ok(()),
            Some((_, field, value, allowed)) => Err(LimitsError {
                field,
                value,
                allowed,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_own_bounds() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_limit_out_of_range_is_named_with_its_range() {
        let error = Limits {
            cpu_percent: 0,
            ..Limits::default()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "limits.cpu_percent is 0: allowed is 1 to 100"
        );
    }
}
