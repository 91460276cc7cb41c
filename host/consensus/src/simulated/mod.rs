//! A node under a seeded clock, with a disk of its own: for `host/sim` only. Not an interface.

mod blob;
mod disk;
mod forge;
mod machine;
mod node;
mod world;

pub use crate::engine::EngineRuntime;
pub use disk::Disk;
pub use forge::{Forged, Forger};
pub use machine::Machine;
pub use node::{NodeConfig, Powered};
pub use world::{SimWorld, World, run};
