//! What is done with hostile bytes: one target per decoder, with seeds that real encoders wrote. Knows
//! no engine; `tests/mutations.rs` drives it on any toolchain, `cargo xtask fuzz` with coverage.

mod target;
mod targets;

pub use target::{Chance, Target};
pub use targets::TARGETS;
