//! Artifacts between nodes: what one asks of which peer, and what it answers. Knows neither what
//! artifacts are for nor who is a peer.

mod asking;
mod bounds;
mod driver;
mod fetch;
mod fetch_types;
mod frames;
mod over_stoq;
mod serve;
mod wire;

pub use bounds::*;
pub use driver::{FetchArtifactError, FetchReport, Observer, Sources, fetch};
pub use fetch::Fetch;
pub use fetch_types::{AskId, Effect, Event, NoSourceError, Pace, Patience, PeerFailure, Start};
pub use frames::{ReadFrameError, read_frame, write_frame};
pub use over_stoq::{ARTIFACT_VERSION, Sessions, serve_sessions};
pub use serve::{ServeError, Served, Server};
pub use wire::{DecodeError, GroupSpan, Have, Message, Refusal, Request, SliceHead, Wanted};
