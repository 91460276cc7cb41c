//! Which pieces there are, where, and what of the disk is dying. Knows no bytes: what is written and
//! flushed is the store's business.
//!
//! Units of a record that is superseded come back in three steps, each with a flush between: the
//! record that supersedes it is durable, its header is overwritten with zeros, the zeros are durable.
//! So whatever has a header is whole, and a loss of power brings nothing back to life.

use std::collections::BTreeMap;

use super::record::{HEADER_BYTES, Secret};
use super::room::{Extent, Room};
use crate::volume::{BlockKey, Listed, Version};

/// What space is counted in.
pub(super) const UNIT_BYTES: u64 = 512;
/// Least units of a record: so its place in memory, some 100 bytes, is a small part of it.
pub(super) const RECORD_UNITS_MIN: u64 = 8;

/// Room that is left for rewriting what is there, in pieces: those of one operation on a volume, and its
/// ends.
const REWRITTEN_PIECES: u32 = 17;
/// It is at most this part of all.
const REWRITING_PART: u32 = 4;

/// What room is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A block that was not there: leaves room to rewrite those that are.
    Block,
    /// A block that is there: leaves room for a removal.
    Rewriting,
    /// A removal.
    Removal,
}

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) sequence: u64,
    pub(super) at: u32,
    pub(super) bytes: u32,
}

/// The pieces of a block: the one that was written last, and the one that stays beside it.
#[derive(Debug, Clone, Copy)]
struct Kept {
    last: Place,
    beside: Option<Place>,
}

/// The pieces of a store.
#[derive(Debug)]
pub(super) struct Pieces {
    secret: Secret,
    units: u32,
    room: Room,
    kept: BTreeMap<BlockKey, Kept>,
    count: usize,
    /// Tags of the last pieces of all blocks, added bit by bit: two sets of records differ in it.
    tags: [u8; 16],
    /// Records whose end is not durable yet.
    dropped: Vec<Extent>,
    /// Records of removed files: needed until the headers of their pieces are durably zero.
    removals: Vec<Extent>,
    /// Records with zeros for headers, perhaps not durable.
    zeroed: Vec<Extent>,
}

/// Units of a record with so much content.
pub(super) fn units_of(content_bytes: usize) -> u32 {
    let bytes = (HEADER_BYTES as u64).saturating_add(content_bytes as u64);
    let units = bytes.div_ceil(UNIT_BYTES).max(RECORD_UNITS_MIN);
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// What a piece of so many bytes takes of a member's lease.
#[must_use]
pub fn stored_bytes(piece_bytes: usize) -> u64 {
    u64::from(units_of(piece_bytes)) * UNIT_BYTES
}

impl Place {
    fn extent(&self) -> Extent {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let units = units_of(bytes);
        Extent { at: self.at, units }
    }
}

impl Kept {
    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let mut places = [self.beside, Some(self.last)];
        places.sort_by_key(|place| place.map(|place| place.version));
        places.into_iter().flatten()
    }
}

impl Pieces {
    pub(super) fn new(units: u32, secret: Secret) -> Self {
        Self {
            secret,
            units,
            room: Room::new(units),
            kept: BTreeMap::new(),
            count: 0,
            tags: [0; 16],
            dropped: Vec::new(),
            removals: Vec::new(),
            zeroed: Vec::new(),
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn tags(&self) -> [u8; 16] {
        self.tags
    }

    pub(super) fn used_bytes(&self) -> u64 {
        u64::from(self.units - self.room.free_units()) * UNIT_BYTES
    }

    /// Room for a record, if there is any now, and some is left as `purpose` wants it.
    pub(super) fn take(&mut self, units: u32, purpose: Purpose) -> Option<Extent> {
        let extent = self.room.take(units)?;
        let left = match purpose {
            Purpose::Removal => true,
            Purpose::Rewriting => self.room.longest() >= units_of(0),
            Purpose::Block => {
                let rewritten = units.saturating_mul(REWRITTEN_PIECES);
                self.room.free_units() >= rewritten.min(self.units / REWRITING_PART)
            }
        };
        if left {
            return Some(extent);
        }
        self.room.give(extent);
        None
    }

    /// Takes the room of a record that was found; whether it was free.
    pub(super) fn claim(&mut self, extent: Extent) -> bool {
        self.room.claim(extent)
    }

    /// Gives back room that no record took.
    pub(super) fn give(&mut self, extent: Extent) {
        self.room.give(extent);
    }

    /// The piece of a version, or of the greatest.
    pub(super) fn find(&self, key: &BlockKey, version: Option<Version>) -> Option<Place> {
        let places = self.kept.get(key)?.places();
        let wanted = |place: &Place| version.is_none_or(|version| place.version == version);
        places.filter(wanted).last()
    }

    /// The versions of a block, ascending.
    pub(super) fn versions(&self, key: &BlockKey) -> Vec<Version> {
        let kept = self.kept.get(key).into_iter();
        kept.flat_map(Kept::places)
            .map(|place| place.version)
            .collect()
    }

    /// Blocks after one, or from the first on.
    pub(super) fn list(&self, after: Option<BlockKey>, most: usize) -> Vec<Listed> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = after.map_or(Unbounded, Excluded);
        let found = self.kept.range((after, Unbounded)).take(most);
        let listed = found.map(|(key, kept)| Listed {
            key: *key,
            versions: kept.places().map(|place| place.version).collect(),
        });
        listed.collect()
    }

    /// Takes a piece that was written. Of those before, the record `keep` stays.
    pub(super) fn install(&mut self, key: BlockKey, place: Place, keep: Option<u64>) {
        let mut beside = None;
        if let Some(before) = self.kept.remove(&key) {
            self.tag(&before.last);
            for old in before.places() {
                if Some(old.sequence) == keep && old.version != place.version {
                    beside = Some(old);
                } else {
                    self.drop_place(&old);
                }
            }
        }
        self.tag(&place);
        self.count += 1;
        let last = place;
        self.kept.insert(key, Kept { last, beside });
    }

    /// Takes a removal that was written at `extent`.
    pub(super) fn remove(&mut self, file: u64, extent: Extent) {
        let all = BlockKey { file, block: 0 }..=BlockKey {
            file,
            block: u64::MAX,
        };
        let gone: Vec<_> = self.kept.range(all).map(|(key, _)| *key).collect();
        for key in gone {
            if let Some(kept) = self.kept.remove(&key) {
                self.tag(&kept.last);
                kept.places().for_each(|place| self.drop_place(&place));
            }
        }
        self.removals.push(extent);
    }

    /// Forgets what is kept beside this version of a block, if that is there. What is lost with the power
    /// may come back, below a version that is durable.
    pub(super) fn settle(&mut self, key: &BlockKey, version: Version) {
        let Some(kept) = self.kept.get_mut(key) else {
            return;
        };
        let settled = kept.beside.filter(|_| kept.last.version == version);
        if let Some(old) = settled.filter(|old| old.version < version) {
            kept.beside = None;
            self.drop_place(&old);
        }
    }

    /// Takes a record that does not count.
    pub(super) fn discard(&mut self, extent: Extent) {
        self.dropped.push(extent);
    }

    fn drop_place(&mut self, place: &Place) {
        self.count -= 1;
        self.dropped.push(place.extent());
    }

    /// Adds the tag of a piece, or takes it away.
    fn tag(&mut self, place: &Place) {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&place.sequence.to_le_bytes());
        hasher.update(&place.at.to_le_bytes());
        let tag = *hasher.finalize().as_bytes();
        for (sum, byte) in self.tags.iter_mut().zip(tag) {
            *sum ^= byte;
        }
    }

    /// Whether a flush gives units back, sooner or later.
    pub(super) const fn is_settled(&self) -> bool {
        self.dropped.is_empty() && self.removals.is_empty() && self.zeroed.is_empty()
    }

    /// Takes a flush of all that was written. Returns the records whose headers are to be zero now.
    pub(super) fn flushed(&mut self) -> Vec<Extent> {
        for extent in std::mem::take(&mut self.zeroed) {
            self.room.give(extent);
        }
        let dying = std::mem::replace(&mut self.dropped, std::mem::take(&mut self.removals));
        self.zeroed.clone_from(&dying);
        dying
    }
}
