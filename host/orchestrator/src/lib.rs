//! What has to happen on this node so that it matches the ledger, where requests go, and what this
//! node says of others.
//! Pure: time and events come in, effects go out. Knows no socket, no guest, no disk.

mod backoff;
mod breaker;
mod effect;
mod holder;
mod lifecycle;
mod mesh;
mod reconciler;
mod replica;
mod routes;
mod witness;

pub use backoff::Backoff;
pub use breaker::{
    Breaker, BreakerState, CALLS_MIN, OPENS_AT_PERCENT, PAUSE_MS_MAX, PAUSE_MS_MIN, TRIAL_MS_MAX,
    TRIALS, WINDOW_MS,
};
pub use effect::{Effect, Event, ReplicaKey};
pub use holder::Holder;
pub use lifecycle::{IllegalStep, Lifecycle, Step, Then};
pub use mesh::Mesh;
pub use reconciler::Reconciler;
pub use replica::Observed;
pub use routes::{RouteTable, Target};
pub use witness::{Seen, Sights, Witness};
