//! What goes into a fetch and what comes out of it, as values.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use storage::GroupSet;
use types::{Digest, NodeId};

use crate::wire::{Refusal, Wanted};

/// One request to one peer. Never used twice by one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(crate) u64);

/// What a peer, or the way to it, bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Requests in flight at once.
    pub asks: NonZeroU32,
    /// Groups of 16 KiB per request.
    pub groups: NonZeroU32,
}

impl Default for Pace {
    /// Two requests of 4 MiB: what a way of 1 Gb/s and a few milliseconds needs.
    fn default() -> Self {
        Self {
            asks: NonZeroU32::MIN.saturating_add(1),
            groups: NonZeroU32::MIN.saturating_add(255),
        }
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Without a slice for so long, a request goes to others.
    pub silence: Duration,
    /// After so long, a peer with nothing else to do is asked for what another still owes.
    pub hedge_after: Duration,
    /// Between two questions whether a peer got more meanwhile, or is less busy.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            hedge_after: Duration::from_secs(2),
            pause: Duration::from_millis(500),
        }
    }
}

/// Where a fetch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Nothing is known but the digest.
    Unknown,
    /// Part of the artifact is here, its size is proven.
    Partial {
        /// The proven size.
        bytes: u64,
        /// The groups that are here.
        held: GroupSet,
    },
}

/// What happened. Events about requests that ended or were cancelled change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passed.
    Tick,
    /// One more who may have it.
    PeerFound {
        /// Who.
        peer: NodeId,
        /// What it bears.
        pace: Pace,
    },
    /// A peer bears more or less from now on.
    Paced {
        /// Who.
        peer: NodeId,
        /// What it bears.
        pace: Pace,
    },
    /// It answered what it has.
    Has {
        /// On which request.
        ask: AskId,
        /// The size that it claims.
        bytes: u64,
        /// The groups that it claims.
        held: GroupSet,
    },
    /// A slice came, belongs to the artifact and is stored. The first one proves the size.
    Stored {
        /// On which request.
        ask: AskId,
        /// What.
        groups: Range<u64>,
        /// The size that it was checked for.
        bytes: u64,
    },
    /// A slice came that does not belong to the artifact.
    Bad {
        /// On which request.
        ask: AskId,
        /// What it claimed to be.
        groups: Range<u64>,
    },
    /// It does not have these.
    Lacks {
        /// On which request.
        ask: AskId,
        /// What.
        groups: GroupSet,
    },
    /// It refused.
    Refused {
        /// On which request.
        ask: AskId,
        /// Why.
        refusal: Refusal,
    },
    /// The answer ended in order.
    Ended {
        /// Which request.
        ask: AskId,
    },
    /// The way to the peer broke.
    Broke {
        /// Which request.
        ask: AskId,
        /// How.
        reason: String,
    },
    /// What came is against the protocol.
    Violated {
        /// Which request.
        ask: AskId,
        /// How.
        reason: String,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a peer.
    Ask {
        /// The name of the request.
        ask: AskId,
        /// Whom.
        peer: NodeId,
        /// For what.
        wanted: Wanted,
    },
    /// Give a request up.
    Cancel {
        /// Which.
        ask: AskId,
    },
    /// A peer is asked no more; say so.
    Dropped {
        /// Who.
        peer: NodeId,
        /// Why.
        failure: PeerFailure,
    },
    /// Everything is here.
    Whole,
    /// Nobody is left to ask.
    Failed(NoSourceError),
}

/// Why a peer is asked no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// It sent what does not belong to the artifact.
    #[error("it sent a bad slice of groups {groups:?}")]
    BadSlice {
        /// What it claimed to be.
        groups: Range<u64>,
    },
    /// It claimed another size than was proven.
    #[error("it claimed {claimed} bytes, proven are {proven}")]
    WrongSize {
        /// What it claimed.
        claimed: u64,
        /// What another peer proved.
        proven: u64,
    },
    /// It broke the protocol.
    #[error("it broke the protocol: {0}")]
    Violated(String),
    /// It was silent too often.
    #[error("it was silent for {0:?}, {max} times", max = crate::bounds::STRIKES_MAX)]
    Silent(Duration),
    /// It could not be reached too often.
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("{0}")]
    Refused(Refusal),
    /// It does not have what is missing, and did not get it.
    #[error("it does not have the {groups} groups that are missing")]
    Lacks {
        /// How many are missing.
        groups: u64,
    },
}

/// Nobody is left who could send the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no peer is left to fetch {digest} from: {}", listed(.peers))]
pub struct NoSourceError {
    /// What was fetched.
    pub digest: Digest,
    /// How many groups are missing; none if the size is not even known.
    pub missing: Option<u64>,
    /// Everybody who was asked, and why no more.
    pub peers: Vec<(NodeId, PeerFailure)>,
}

fn listed(peers: &[(NodeId, PeerFailure)]) -> String {
    if peers.is_empty() {
        return "no peer was named".to_owned();
    }
    let lines = peers
        .iter()
        .map(|(peer, failure)| format!("{}: {failure}", peer.short()));
    lines.collect::<Vec<_>>().join("; ")
}
