//! A real node from outside: killed, starved, streamed through, asked over its socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and prints its seed, helpers of tests included"
)]

mod acme;
mod acme_server;
mod acme_validation;
mod admin_api;
mod agreement;
mod assets;
mod bus;
mod chat_example;
mod code_cache;
mod committee;
#[path = "../cli/components.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the command line, which use the rest"
)]
mod components;
mod cpu_leases;
mod damage;
mod data_directory;
mod determinism;
mod discovery;
mod durability;
mod equivocator;
mod examples;
mod flooded;
mod foreign;
mod four;
mod guest_proofs;
mod guest_records;
mod guests;
#[path = "../cli/harness.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the command line, which use the rest"
)]
mod harness;
mod hostile_stores;
mod https;
mod ingress;
mod joining;
mod ledger;
mod nat;
mod net;
mod network_leases;
mod partition;
mod placing;
mod receipts;
mod sdk_examples;
mod secrets_hidden;
mod shared_memory;
mod shared_memory_example;
mod space;
mod stateful;
mod store_durability;
mod store_examples;
mod store_quota;
mod sync;
mod twins;
mod upgrades;
mod validators;
mod volumes;
