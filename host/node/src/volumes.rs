//! Volumes as guests of this node use them: leased from several nodes, kept beyond their guests, repaired.
//! What a member keeps is `assets`' business; by whom it may be asked is `memory`'s, with all leases.

mod errors;
mod guest;
mod handle;
pub(crate) mod kept;
mod mending;
mod reach;
mod size;
mod volume;

pub(crate) use guest::of;
