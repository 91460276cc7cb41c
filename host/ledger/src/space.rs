//! Space: what the host of an asset has committed to keep, and the challenges by which anybody finds
//! out whether it does. Knows no disk; how an answer is judged is the proofs' own.
//!
//! A challenge asks for chunks that the digest of its own block draws, so nobody knows them before. Its
//! host answers, or the challenge is settled against it: the asset is marked, grants and renews no lease,
//! and its host forfeits its bond. A later challenge that is answered takes the mark away.

use proofs::{Commitment, Content, SignedAnswer, drawn_commitment};
use serde::{Deserialize, Serialize};
use types::{AssetId, Digest, NodeId};

use crate::record::Record;

/// Contents that the host of one asset keeps at most: the list of them is one entry.
pub const KEPT_MAX: usize = 64;
/// Blocks after a challenge in which an answer counts whatever the clocks say: a leader alone can set
/// ledger time ahead by one block.
pub const ANSWER_BLOCKS: u64 = 8;
/// Ledger time after a challenge in which an answer counts however many blocks there are: a node under
/// load reads 33 chunks and submits a transaction within it.
pub const ANSWER_MS: u64 = 10_000;
/// Ledger time from one challenge of an asset to the next: each costs its host reads and a transaction.
pub const CHALLENGE_PAUSE_MS: u64 = 10_000;

/// Whether an asset is where it is said to be. New operations are appended: the order is part of the
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpaceOperation {
    /// Asks the host of an asset for chunks of what it keeps. By anybody with a role.
    Challenge {
        /// Which one.
        asset: AssetId,
    },
    /// Answers the challenge that is open. By anybody: the host signs the answer itself.
    Answer {
        /// Which one.
        asset: AssetId,
        /// What the host shows.
        answer: Box<SignedAnswer>,
    },
    /// Settles a challenge that was not answered in time. By anybody.
    Settle {
        /// Which one.
        asset: AssetId,
    },
}

/// One content that a host keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptContent {
    /// Its BLAKE3 digest: of an artifact, the artifact's.
    pub root: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A challenge that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenChallenge {
    /// Height of the block that carries it; the digest of that block draws the chunks.
    pub height: u64,
    /// Ledger time of that block, Unix milliseconds.
    pub time_ms: u64,
}

impl OpenChallenge {
    /// Last height at which an answer counts, in a block of this height and time.
    #[must_use]
    pub const fn deadline(&self, height: u64, time_ms: u64) -> u64 {
        let by_height = self.height.saturating_add(ANSWER_BLOCKS);
        let in_time = time_ms <= self.time_ms.saturating_add(ANSWER_MS);
        if in_time && height > by_height {
            height
        } else {
            by_height
        }
    }

    /// Whether no answer counts any more.
    #[must_use]
    pub const fn is_overdue(&self, height: u64, time_ms: u64) -> bool {
        height > self.deadline(height, time_ms)
    }
}

/// What is known of the space of one asset; none while nothing is kept and nobody asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRecord {
    /// What its host keeps, in the order of the commitments; at most [`KEPT_MAX`].
    pub kept: Vec<KeptContent>,
    /// The challenge that is open.
    pub open: Option<OpenChallenge>,
    /// Height of the last answer that counted.
    pub proven_at: Option<u64>,
    /// Height at which a challenge was settled against it, unless it answered since.
    pub failed_at: Option<u64>,
    /// Ledger time from which on it may be challenged again, Unix milliseconds.
    pub next_challenge_ms: u64,
}

impl SpaceRecord {
    /// Which commitment `beacon` asks about: one of what is kept, longer ones more often, or that the
    /// host is there at all.
    #[must_use]
    pub fn commitment(&self, beacon: &Digest, host: NodeId, asset: &AssetId) -> Commitment {
        let of = |kept: &KeptContent| Commitment {
            node: host,
            asset: *asset.digest(),
            content: Content::Kept,
            root: kept.root,
            bytes: kept.bytes,
        };
        let kept: Vec<_> = self.kept.iter().map(of).collect();
        drawn_commitment(beacon, &kept)
            .copied()
            .unwrap_or_else(|| Commitment::presence(host, *asset.digest()))
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Record for SpaceRecord {}
