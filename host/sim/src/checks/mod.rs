//! What must hold whatever happens, one file each.

mod absence;
mod agreement;
mod blame;
mod bounds;
mod durable;
mod heights;
mod innocent;
mod liveness;
mod no_overcommit;
mod once;
mod one_holder;
mod roots;
mod running;
#[cfg(test)]
mod small_ledger;
mod watch;

pub(crate) use watch::{Check, Watch};
