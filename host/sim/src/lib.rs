//! Whole fabrics under one seed: the real ledger of every node on simulated clocks, disks and
//! networks, troubles and Byzantine nodes among them, and checkers that watch. Knows nothing of the
//! engine inside, and nothing of real sockets, files or time.

mod checks;
mod client;
mod estate;
mod event;
mod fleet;
mod gossip;
mod holder;
mod network;
mod panics;
mod proving;
mod report;
mod rogue;
mod run;
mod scenario;
mod seeds;
mod tenants;
mod trouble;
mod witness;

pub use holder::Keeping;
pub use network::Traffic;
pub use report::{Failure, Summary};
pub use run::simulate;
pub use scenario::{Scenario, Vice, Weather};
pub use seeds::kept_seeds;
pub use trouble::{Plan, Trouble};
