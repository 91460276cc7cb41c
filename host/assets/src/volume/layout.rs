//! Layouts: into how many pieces a block is cut and how many of them make it again. Knows no member.
//!
//! A block is at most 64 KiB. Zeros at its end are not kept: what is left is padded to whole steps, cut
//! into `data` pieces of one length, and completed to `total` by Reed-Solomon. With one piece of data
//! every piece is the whole. So the length of pieces says how long a block is to [`STEP_BYTES`] a piece,
//! and nothing else.

use serde::{Deserialize, Serialize};

/// Bytes of a whole block, also where fewer are kept.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Most members that have a copy each: each more costs a whole copy, and seven outlive three deaths.
pub const REPLICAS_MAX: u8 = 7;
/// Most members of any layout.
pub const SEATS_MAX: usize = 14;
/// The length of pieces is a multiple: what Reed-Solomon works on at once.
pub const STEP_BYTES: usize = 64;

/// How a volume lies on its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Layout {
    data: u8,
    total: u8,
}

/// A layout that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no layout of {data} of {total}: 1 of 1 to {REPLICAS_MAX}, or 10 of 14")]
pub struct LayoutError {
    /// Pieces that make a block.
    pub data: u8,
    /// Pieces of a block.
    pub total: u8,
}

impl TryFrom<(u8, u8)> for Layout {
    type Error = LayoutError;

    fn try_from((data, total): (u8, u8)) -> Result<Self, LayoutError> {
        match (data, total) {
            (1, 1..=REPLICAS_MAX) | (10, 14) => Ok(Self { data, total }),
            _ => Err(LayoutError { data, total }),
        }
    }
}

impl From<Layout> for (u8, u8) {
    fn from(layout: Layout) -> Self {
        (layout.data, layout.total)
    }
}

impl Layout {
    /// One member has all.
    pub const SINGLE: Self = Self { data: 1, total: 1 };
    /// Any ten of fourteen members make every block: four may go, for 1.4 times the bytes.
    pub const SHARDED: Self = Self {
        data: 10,
        total: 14,
    };

    /// Each of `members` has all. With two of them nothing is lost with one, but nothing goes on
    /// either until it is back or replaced; with three all goes on.
    ///
    /// # Errors
    /// [`LayoutError`] if they are none or more than [`REPLICAS_MAX`].
    pub fn replicated(members: u8) -> Result<Self, LayoutError> {
        Self::try_from((1, members))
    }

    /// Pieces that make a block.
    #[must_use]
    pub const fn data(self) -> usize {
        self.data as usize
    }

    /// Pieces of a block, and members.
    #[must_use]
    pub const fn total(self) -> usize {
        self.total as usize
    }

    /// Members that a write must reach: enough to make the block again, and more than half, so that
    /// any two sets of them share one.
    #[must_use]
    pub const fn quorum(self) -> usize {
        let half = self.total() / 2 + 1;
        if self.data() > half {
            self.data()
        } else {
            half
        }
    }

    /// Members that may be away, or behind, while reads and writes go on.
    #[must_use]
    pub const fn away_max(self) -> usize {
        self.total() - self.quorum()
    }

    /// The pieces of a block, one per member; what is beyond [`BLOCK_BYTES`] is not taken.
    pub(super) fn pieces(self, content: &[u8]) -> Vec<Vec<u8>> {
        let content = content.get(..BLOCK_BYTES).unwrap_or(content);
        let bytes = content.iter().rposition(|byte| *byte != 0);
        let kept = content.get(..bytes.map_or(0, |last| last + 1));
        let mut padded = kept.unwrap_or_default().to_vec();
        let piece = padded.len().div_ceil(self.data()).max(1);
        let piece = piece.next_multiple_of(STEP_BYTES);
        padded.resize(piece * self.data(), 0);
        if self.data == 1 {
            return vec![padded; self.total()];
        }
        let mut pieces: Vec<Vec<u8>> = padded.chunks_exact(piece).map(<[u8]>::to_vec).collect();
        let recovery = self.total() - self.data();
        let more = reed_solomon_simd::encode(self.data(), recovery, &pieces);
        pieces.extend(more.expect(SUPPORTED));
        pieces
    }

    /// The block of these pieces, each with its place, zeros at its end left out as it comes; none if
    /// they are too few or do not belong together.
    pub(super) fn block<'a>(
        self,
        pieces: impl IntoIterator<Item = (usize, &'a [u8])>,
    ) -> Option<Vec<u8>> {
        let mut places: Vec<Option<&[u8]>> = vec![None; self.total()];
        for (index, piece) in pieces {
            *places.get_mut(index)? = Some(piece);
        }
        let bytes = places.iter().flatten().next()?.len();
        let fits = bytes > 0 && bytes <= BLOCK_BYTES && bytes.is_multiple_of(STEP_BYTES);
        let alike = places.iter().flatten().all(|piece| piece.len() == bytes);
        if !fits || !alike || places.iter().flatten().count() < self.data() {
            return None;
        }
        let mut block = if self.data == 1 {
            places.into_iter().flatten().next()?.to_vec()
        } else {
            self.joined(&places)?
        };
        block.truncate(BLOCK_BYTES);
        Some(block)
    }

    fn joined(self, places: &[Option<&[u8]>]) -> Option<Vec<u8>> {
        let (data, recovery) = places.split_at_checked(self.data())?;
        if data.iter().all(Option::is_some) {
            return Some(data.iter().flatten().copied().flatten().copied().collect());
        }
        let there = |places: &[Option<&[u8]>]| -> Vec<(usize, Vec<u8>)> {
            let numbered = places.iter().enumerate();
            let there = numbered.filter_map(|(at, piece)| piece.map(|piece| (at, piece.to_vec())));
            // No more than needed: each costs.
            there.take(self.data()).collect()
        };
        let missing = data.iter().filter(|piece| piece.is_none()).count();
        let mut spare = there(recovery);
        spare.truncate(missing);
        let (count, more) = (self.data(), self.total() - self.data());
        let restored = reed_solomon_simd::decode(count, more, there(data), spare).ok()?;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        for (index, piece) in data.iter().enumerate() {
            match piece {
                Some(piece) => block.extend_from_slice(piece),
                None => block.extend_from_slice(restored.get(&index)?),
            }
        }
        Some(block)
    }
}

/// Why the coder cannot refuse: the counts are those of a layout and pieces are multiples of 64 bytes.
const SUPPORTED: &str = "ten of fourteen pieces of a multiple of 64 bytes are supported";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layouts() -> Vec<Layout> {
        let replicated = (1..=REPLICAS_MAX).map(|members| Layout::replicated(members).unwrap());
        replicated.chain([Layout::SHARDED]).collect()
    }

    #[test]
    fn quorums_share_a_member_and_make_a_block() {
        for layout in layouts() {
            assert!(2 * layout.quorum() > layout.total(), "{layout:?}");
            assert!(layout.quorum() >= layout.data(), "{layout:?}");
        }
        assert_eq!(Layout::SHARDED.away_max(), 4);
        assert_eq!(Layout::replicated(3).unwrap().away_max(), 1);
        assert_eq!(Layout::SINGLE.away_max(), 0);
        assert!(Layout::replicated(8).is_err() && Layout::replicated(0).is_err());
        assert!(Layout::try_from((2, 3)).is_err());
    }

    #[test]
    fn zeros_at_the_end_are_not_kept() {
        let mut block = vec![0; BLOCK_BYTES];
        assert_eq!(Layout::SINGLE.pieces(&block), [vec![0; STEP_BYTES]]);
        block[64] = 1;
        assert_eq!(Layout::SINGLE.pieces(&block)[0].len(), 128);
        let pieces = Layout::SHARDED.pieces(&vec![7; BLOCK_BYTES]);
        assert_eq!((pieces.len(), pieces[13].len()), (14, 6_592));
    }

    proptest! {
        #[test]
        fn any_pieces_that_are_enough_make_the_block(
            bytes in 0..=BLOCK_BYTES, order in any::<u64>(), which in 0..8_usize,
        ) {
            let layout = layouts()[which];
            let content: Vec<u8> = (1..=251).cycle().take(bytes).collect();
            let pieces = layout.pieces(&content);
            let mut places: Vec<usize> = (0..layout.total()).collect();
            places.sort_by_key(|at| blake3::hash(&(order, at).0.wrapping_add(*at as u64).to_le_bytes()).as_bytes()[0]);
            let some = |count: usize| {
                let places = places.iter().take(count);
                layout.block(places.map(|at| (*at, pieces[*at].as_slice())))
            };
            let mut block = some(layout.data()).unwrap();
            prop_assert!(block.len() >= bytes && block.len() <= BLOCK_BYTES);
            prop_assert!(block.iter().skip(bytes).all(|byte| *byte == 0));
            block.truncate(bytes);
            prop_assert_eq!(block, content);
            prop_assert_eq!(some(layout.data() - 1), None);
        }
    }
}
