//! How much is leased for a volume, and how many members a node may have. Pure.

use assets::volume::{BLOCK_BYTES, Layout, SEAL_BYTES, STEP_BYTES, stored_bytes};

/// Blocks that are there twice while they are rewritten, before a flush: one operation and its neighbours.
const REWRITTEN_BLOCKS: u64 = 20;
/// Of so many blocks, one is for the names and places of files.
const BLOCKS_PER_TABLE: u64 = 64;
/// Blocks that a volume has for its files, however small it is.
const TABLE_BLOCKS_MIN: u64 = 4;

/// What one member takes for one block.
fn piece_bytes(layout: Layout) -> u64 {
    let piece = BLOCK_BYTES.div_ceil(layout.data());
    stored_bytes(piece.next_multiple_of(STEP_BYTES) + SEAL_BYTES)
}

/// What is leased at each member for a volume that can hold so many bytes.
pub(super) fn member_bytes(layout: Layout, bytes: u64) -> u64 {
    let blocks = bytes.div_ceil(BLOCK_BYTES as u64);
    let tables = blocks.div_ceil(BLOCKS_PER_TABLE).max(TABLE_BLOCKS_MIN);
    let blocks = blocks
        .saturating_add(tables)
        .saturating_add(REWRITTEN_BLOCKS);
    blocks.saturating_mul(piece_bytes(layout))
}

/// What a volume can hold whose members each have so much.
pub(super) fn volume_bytes(layout: Layout, member_bytes: u64) -> u64 {
    let blocks = member_bytes / piece_bytes(layout);
    let rest = blocks.saturating_sub(REWRITTEN_BLOCKS);
    let tables = rest.div_ceil(BLOCKS_PER_TABLE + 1).max(TABLE_BLOCKS_MIN);
    rest.saturating_sub(tables)
        .saturating_mul(BLOCK_BYTES as u64)
}

/// The most members that one node may have: without it a volume is still read and written.
pub(super) fn members_per_node(layout: Layout) -> usize {
    layout.total().saturating_sub(layout.quorum()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_leased_is_enough_for_what_was_asked_and_not_much_more() {
        let replicated = Layout::replicated(3).unwrap();
        for layout in [Layout::SINGLE, replicated, Layout::SHARDED] {
            for bytes in [1, 65_536, 1 << 20, 1 << 30, 1 << 40] {
                let member = member_bytes(layout, bytes);
                let holds = volume_bytes(layout, member);
                assert!(holds >= bytes, "{layout:?} {bytes}: {holds}");
                assert!(
                    holds <= bytes + (bytes >> 5) + (1 << 17),
                    "{layout:?} {bytes}: {holds}"
                );
            }
        }
        // A gigabyte, with 3 % for tables, headers and rewriting.
        assert!(member_bytes(Layout::SINGLE, 1 << 30) < (1 << 30) + (1 << 30) / 30);
        let whole = 14 * member_bytes(Layout::SHARDED, 1 << 30);
        assert!(whole < (1 << 30) * 8 / 5, "{whole}");
    }

    #[test]
    fn no_node_has_more_members_than_a_volume_can_miss() {
        let counts = |layout| members_per_node(layout);
        assert_eq!(counts(Layout::SINGLE), 1);
        assert_eq!(counts(Layout::replicated(2).unwrap()), 1);
        assert_eq!(counts(Layout::replicated(3).unwrap()), 1);
        assert_eq!(counts(Layout::replicated(5).unwrap()), 2);
        assert_eq!(counts(Layout::SHARDED), 4);
    }
}
