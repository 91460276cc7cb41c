//! A node under a seeded clock, with a disk of its own, and what liars do: for `host/sim` and for
//! tests only. Not an interface.

mod blob;
mod dice;
mod disk;
mod forge;
mod interception;
mod machine;
mod node;
mod world;

pub use crate::engine::EngineRuntime;
pub use dice::Dice;
pub use disk::Disk;
pub use forge::Forger;
pub use interception::intercepted;
pub use machine::Machine;
pub use node::{NodeConfig, Plug, Powered};
pub use world::{SimWorld, Task, World, run};
