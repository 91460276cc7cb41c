//! What is measured, compared with what the system's own tools and files say, and with made-up systems.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and says what it skips, helpers of tests included"
)]

mod fake;
mod hostile;
mod leases;
mod real;
mod small_disk;
