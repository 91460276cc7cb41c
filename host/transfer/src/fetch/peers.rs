//! What a fetch remembers of a peer and of a request in flight.

use std::time::Duration;

use storage::GroupSet;
use types::NodeId;

use crate::bounds::ASKS_PER_PEER_MAX;
use crate::fetch_types::{Pace, PeerFailure};

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) pace: Pace,
    /// The size that it claims.
    pub(super) claimed: Option<u64>,
    /// What it has as far as is known; none: it was not heard yet and may have everything.
    pub(super) has: Option<GroupSet>,
    /// Times in a row that it failed to answer.
    pub(super) strikes: u32,
    /// Times in a row that it was busy.
    pub(super) busy: u32,
    /// Times in a row that it was asked in vain whether it got more.
    pub(super) polls: u32,
    /// Whether the pause before the next such question is over.
    pub(super) poll_next: bool,
    /// It is not asked before.
    pub(super) not_before: Option<Duration>,
    /// Why it is asked no more.
    pub(super) failure: Option<PeerFailure>,
}

impl Peer {
    pub(super) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            claimed: None,
            has: None,
            strikes: 0,
            busy: 0,
            polls: 0,
            poll_next: false,
            not_before: None,
            failure: None,
        }
    }

    /// Whether it may be asked now.
    pub(super) const fn is_ready(&self) -> bool {
        self.failure.is_none() && self.not_before.is_none()
    }

    pub(super) fn asks_max(&self) -> usize {
        let asks = self.pace.asks.get().min(ASKS_PER_PEER_MAX);
        usize::try_from(asks).unwrap_or(1)
    }

    /// What it has of an artifact of `total` groups.
    pub(super) fn has_of(&mut self, total: u64) -> &mut GroupSet {
        self.has.get_or_insert_with(|| GroupSet::from(0..total))
    }

    /// It answered something of use.
    pub(super) const fn delivered(&mut self) {
        self.strikes = 0;
        self.busy = 0;
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The last group and with it the size.
    Size,
    /// Groups.
    Groups,
    /// Only what it has.
    Poll,
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) peer: NodeId,
    pub(super) purpose: Purpose,
    /// What it still owes.
    pub(super) left: GroupSet,
    /// What its stream will still bring, even if it came from elsewhere meanwhile.
    pub(super) coming: GroupSet,
    pub(super) asked_at: Duration,
    /// When something came last.
    pub(super) heard_at: Duration,
}
