//! Space, the questions: what a node committed to keep, and which chunks of it a beacon asks for.
//! Answers are judged in `answer.rs`.
//!
//! How likely the [`CHALLENGE_CHUNKS`] drawn chunks of a challenge meet at least one chunk that is gone
//! (a test computes this table):
//!
//! | lost | 1 challenge | 10 challenges | 100 challenges |
//! |---|---|---|---|
//! | 1 % | 27.5 % | 96.0 % | 100.0 % |
//! | 5 % | 80.6 % | 100.0 % | 100.0 % |
//! | 10 % | 96.6 % | 100.0 % | 100.0 % |
//!
//! **What a challenge over content proves**: whoever answered could read those chunks within the
//! deadline. Chunks are drawn for this node, so another node's answer is of no use to it; but a node
//! that fetches the chunks from another in time passes. A beacon from certificates of finality can be
//! biased by a leader that withholds a block, by one choice each time.

use serde::{Deserialize, Serialize};
use types::{Digest, NodeId};

use crate::draw::Draw;
use crate::plot::Plot;
use crate::tree::CHUNK_BYTES;

const DOMAIN: &[u8] = b"hypermesh/proofs/challenge/1\0";
const CHOICE_DOMAIN: &[u8] = b"hypermesh/proofs/commitment/1\0";

/// Chunks that one challenge draws beside the last: with their ways to the root the answer fits a transaction, and ten
/// challenges meet a loss of one part in a hundred.
pub const CHALLENGE_CHUNKS: u16 = 32;
/// Largest commitment: 16 TiB, whose chunks have 34 hashes on their way to the root. Larger assets are
/// several.
pub const COMMITTED_BYTES_MAX: u64 = 16 << 40;

/// What is kept. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The node's [`Plot`](crate::Plot) for the asset: room that holds nothing else yet.
    Filler,
    /// An artifact, a volume: bytes that somebody needs.
    Kept,
}

/// Data that one node must keep for one asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Who keeps it.
    pub node: NodeId,
    /// For which asset.
    pub asset: Digest,
    /// What it is.
    pub content: Content,
    /// Its BLAKE3 digest, which is the root of its tree.
    pub root: Digest,
    /// Its length.
    pub bytes: u64,
}

impl Commitment {
    /// What every asset is committed to before it keeps anything: the first chunk of its plot. An
    /// answer costs nothing and shows only that its node is there and answers for the asset.
    #[must_use]
    pub fn presence(node: NodeId, asset: Digest) -> Self {
        let first = Plot::new(&node, &asset).first_chunk();
        Self {
            node,
            asset,
            content: Content::Filler,
            root: Digest::of(&first),
            bytes: CHUNK_BYTES,
        }
    }

    /// Whether it can be challenged: not empty and within the bound.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.bytes > 0 && self.bytes <= COMMITTED_BYTES_MAX
    }
}

/// The one of a node's `commitments` that `beacon` asks about, each as likely as it is long, so that
/// every kept byte is as likely to be asked for; none of none.
#[must_use]
pub fn drawn_commitment<'a>(
    beacon: &Digest,
    commitments: &'a [Commitment],
) -> Option<&'a Commitment> {
    let first = commitments.first()?;
    let parts: &[&[u8]] = &[
        beacon.as_bytes(),
        first.node.as_bytes(),
        first.asset.as_bytes(),
    ];
    let total = commitments
        .iter()
        .fold(0, |sum: u64, one| sum.saturating_add(one.bytes));
    let drawn = Draw::new(CHOICE_DOMAIN, parts).distinct(1, total);
    let mut place = drawn.first().copied().unwrap_or_default();
    let met = commitments.iter().find(|one| {
        let is_met = place < one.bytes;
        place = place.saturating_sub(one.bytes);
        is_met
    });
    met.or(Some(first))
}

/// Which chunks a node must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    height: u64,
    commitment: Commitment,
    chunks: Vec<u64>,
}

impl Challenge {
    /// What `beacon`, final at `height`, asks the committed node for: [`CHALLENGE_CHUNKS`] different
    /// chunks, or all if there are fewer, and always the last chunk. Only a tree of exactly the
    /// committed length has a last chunk there, so nobody claims more than there is.
    #[must_use]
    pub fn draw(beacon: &Digest, height: u64, commitment: &Commitment) -> Self {
        let is_filler = [u8::from(commitment.content == Content::Filler)];
        let parts: &[&[u8]] = &[
            beacon.as_bytes(),
            &height.to_le_bytes(),
            commitment.node.as_bytes(),
            commitment.asset.as_bytes(),
            &is_filler,
            commitment.root.as_bytes(),
            &commitment.bytes.to_le_bytes(),
        ];
        let count = commitment.bytes.div_ceil(CHUNK_BYTES);
        let last = count.saturating_sub(1);
        let mut drawn = Draw::new(DOMAIN, parts).distinct(u64::from(CHALLENGE_CHUNKS), last);
        drawn.insert(last);
        Self {
            height,
            commitment: *commitment,
            chunks: drawn.into_iter().collect(),
        }
    }

    /// The height of its beacon.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// What it is about.
    #[must_use]
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The numbers of the chunks, ascending.
    #[must_use]
    pub fn chunks(&self) -> &[u64] {
        &self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How likely `challenges` challenges meet a loss of `lost`, a share between 0 and 1, spread over many
    /// chunks.
    fn catch_probability(lost: f64, challenges: u16) -> f64 {
        let missed = (1.0 - lost).powi(i32::from(CHALLENGE_CHUNKS));
        1.0 - missed.powi(i32::from(challenges))
    }

    fn commitment(node: u8) -> Commitment {
        Commitment {
            node: NodeId::from_bytes([node; 32]),
            asset: Digest::of(b"asset"),
            content: Content::Kept,
            root: Digest::of(b"root"),
            bytes: 1 << 40,
        }
    }

    #[test]
    fn table_of_the_documentation_is_computed() {
        let percent = |lost, times| format!("{:.1}", 100.0 * catch_probability(lost, times));
        let row = |lost| [1, 10, 100].map(|times| percent(lost, times));
        assert_eq!(row(0.01), ["27.5", "96.0", "100.0"]);
        assert_eq!(row(0.05), ["80.6", "100.0", "100.0"]);
        assert_eq!(row(0.10), ["96.6", "100.0", "100.0"]);
    }

    #[test]
    fn drawn_chunks_meet_a_loss_as_often_as_computed() {
        // The first 5 % are gone.
        let commitment = commitment(1);
        let lost = commitment.bytes / CHUNK_BYTES / 20;
        let met = (0..2_000).filter(|height| {
            let challenge = Challenge::draw(&Digest::of(b"beacon"), *height, &commitment);
            challenge.chunks().iter().any(|chunk| *chunk < lost)
        });
        // 80.6 % of 2,000 are 1,613, with a deviation of 18.
        let met = met.count();
        assert!((1_520..1_700).contains(&met), "{met}");
    }

    #[test]
    fn longer_commitments_are_asked_about_more_often() {
        let of = |bytes| Commitment {
            bytes,
            ..commitment(1)
        };
        let kept = [of(1_000), of(3_000)];
        let met = (0..1_000_u64).filter(|round| {
            let beacon = Digest::of(&round.to_le_bytes());
            drawn_commitment(&beacon, &kept).is_some_and(|drawn| drawn.bytes == 3_000)
        });
        // 750, with a deviation of 14.
        let met = met.count();
        assert!((690..810).contains(&met), "{met}");
        assert_eq!(drawn_commitment(&Digest::of(b"beacon"), &[]), None);
    }

    #[test]
    fn every_beacon_height_and_node_asks_for_other_chunks() {
        let beacon = Digest::of(b"beacon");
        let first = Challenge::draw(&beacon, 9, &commitment(1));
        assert_eq!(first.chunks().len(), usize::from(CHALLENGE_CHUNKS) + 1);
        for other in [
            Challenge::draw(&Digest::of(b"other"), 9, &commitment(1)),
            Challenge::draw(&beacon, 10, &commitment(1)),
            Challenge::draw(&beacon, 9, &commitment(2)),
        ] {
            assert_ne!(first.chunks(), other.chunks());
        }
    }
}
