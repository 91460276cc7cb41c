//! The four proofs from outside: what honest nodes make is good, and every way to cheat has its name.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod admission;
mod bytes;
mod executions;
mod orders;
mod shown;
mod space;
mod world;
