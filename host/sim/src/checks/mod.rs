//! What must hold whatever happens, one file each.

mod agreement;
mod blame;
mod bounds;
mod durable;
mod heights;
mod innocent;
mod liveness;
mod once;
mod roots;
mod running;
mod watch;

pub(crate) use watch::{Check, Watch};
