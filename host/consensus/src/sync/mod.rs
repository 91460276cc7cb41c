//! State from peers, for a node that is too far behind to execute everything that it missed. Only
//! puts the parts together.
//!
//! Peers are not trusted. A node that hears of blocks far above its own asks for the ends of epochs
//! ([`standing`]), which it proves from the genesis on; the last one is the block to begin from.
//! Each part of its state comes with a proof ([`parts`]); blocks above it move the state on while
//! it is fetched. All of it goes to files of its own, next to the old ones, which count until the
//! new state is whole, leads to the root that the validators signed, and is on disk.

mod asking;
mod behind;
pub(crate) mod messages;
mod parts;
mod run;
mod serving;
pub(crate) mod standing;

pub(crate) use asking::Asking;
pub(crate) use behind::Behind;
pub(crate) use parts::{Fetching, StatePeers};
pub(crate) use serving::Serving;
pub(crate) use standing::Standing;
