//! The `nexus` binary as people use it: arguments in, text and exit codes out, real nodes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and says what it skips, helpers of tests included"
)]

mod changes;
mod components;
mod deploying;
mod developing;
mod harness;
mod help;
mod invoking;
mod lifetime;
mod manifests;
mod pausing;
mod rollback;
mod secrets;
mod usage;
