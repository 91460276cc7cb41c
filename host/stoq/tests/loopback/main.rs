//! Endpoints against each other over loopback, with certificates and an authority of their own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise and prints what it saw, helpers of tests included"
)]

mod dialling;
mod flood;
mod harness;
mod raw;
mod relay;
mod relayed;
mod resuming;
mod standing;
mod streams;
mod survival;
