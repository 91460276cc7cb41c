//! Which of the blocks that peers announced the engine is to fetch. Never fetches.

use std::time::{Duration, Instant};

use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::types::Round;
use types::NodeId;

use crate::block::Digest;

/// Announced blocks that the engine is asked to fetch at once. Each covers all below it, so
/// while they are missing, later announcements only replace each other.
const WANTED_BLOCKS_MAX: usize = 16;
/// How long a block may stay wanted before another announcement takes its place.
const WANTED_FOR: Duration = Duration::from_secs(20);

/// A certificate that holds, and the height that a peer claims for it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) peer: NodeId,
    pub(crate) height: u64,
    pub(crate) certificate: Finalization<Scheme, Digest>,
}

/// Which announced blocks the engine is to fetch.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) newest: Option<Claim>,
    /// Latest round that the engine was told of.
    told: Round,
    /// Claims whose block is not here yet, and since when they are open.
    pub(crate) open: Vec<(Claim, Instant)>,
}

impl Wanted {
    /// Takes a claim whose certificate holds.
    pub(crate) fn offer(&mut self, claim: Claim, now: Instant) {
        let round = claim.certificate.round();
        let newer = |newest: &Claim| newest.certificate.round() < round;
        if self.newest.as_ref().is_none_or(newer) {
            self.newest = Some(claim.clone());
        }
        // One of each peer: an older one was overtaken.
        let same = |open: &Claim| open.peer == claim.peer && open.certificate.round() == round;
        if self.open.len() < WANTED_BLOCKS_MAX && !self.open.iter().any(|(open, _)| same(open)) {
            self.open.push((claim, now));
        }
    }

    /// The certificate to tell the engine of, if a new one is due.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Claim> {
        self.open
            .retain(|(_, since)| now.duration_since(*since) < WANTED_FOR);
        let newest = self.newest.as_ref()?;
        let round = newest.certificate.round();
        let listed = |(open, _): &(Claim, Instant)| open.certificate.round() == round;
        if round <= self.told {
            return None;
        }
        if !self.open.iter().any(listed) {
            if self.open.len() >= WANTED_BLOCKS_MAX {
                return None;
            }
            self.open.push((newest.clone(), now));
        }
        self.told = round;
        Some(newest.clone())
    }

    pub(crate) fn open_claims(&self) -> Vec<Claim> {
        self.open.iter().map(|(claim, _)| claim.clone()).collect()
    }

    pub(crate) fn settle(&mut self, claim: &Claim) {
        self.open.retain(|(open, _)| {
            open.peer != claim.peer || open.certificate.round() != claim.certificate.round()
        });
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}
