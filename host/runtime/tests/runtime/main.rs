//! Runs real guests, well-behaved and hostile, through the runtime's public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod background;
mod backtrace;
mod blobs_in_memory;
mod code_cache;
mod command;
mod compile;
mod consensus;
mod consensus_proofs;
mod cpu;
mod deterministic;
mod files;
mod harness;
mod hostile;
mod hostile_blobs;
mod hostile_config;
mod hostile_greed;
mod hostile_logs;
mod hostile_map;
mod http;
mod http_0_3;
mod http_wire;
mod imports;
mod inspect;
mod keyvalue;
mod keyvalue_draft2;
mod library;
mod limits;
mod memory;
mod network;
mod outgoing;
mod outgoing_body;
mod pause;
mod pause_kept;
mod reuse;
mod sockets;
mod start;
mod stateful;
mod volumes;
mod worker;
