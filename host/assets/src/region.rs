//! Regions: memory of this node that leases are for, byte by byte. Knows no guest and no other node;
//! who may do what with one was decided by whoever made the [`RegionAccess`].
//!
//! A region belongs to one lease and has as many bytes as that is for. Each operation holds the
//! region's lock from its first byte to its last, so operations take effect one after the other, and
//! one that fails had none. Bytes are zero until they are written, and take memory from then on.
//!
//! A region ends once: when its lease is over by [`LeaseTerm`], when the ledger has the lease no more,
//! or when it is given back. Its bytes are wiped then, and whatever is asked of it is answered with
//! [`RegionError::Ended`]. As long as the ledger names the lease it does not come again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use types::{Amount, Digest, LeaseId, RegionRight, RegionScope};
use zeroize::Zeroizing;

use crate::region_op::{
    OPERATION_BYTES_MAX, RegionDone, RegionError, RegionOp, RegionUsage, SWAP_BYTES_MAX,
};
use crate::term::LeaseTerm;

/// Most regions of one node: as many as leases that its assets may have (`ledger`'s bound).
pub const REGIONS_MAX: usize = 4_096;
/// Most capabilities of one region that are revoked one by one. Who gave out more ends the lease.
pub const REVOKED_MAX: usize = 1_024;
/// Bytes that come into memory together: few are wasted, and large regions have short lists.
const PAGE_BYTES: u64 = 64 << 10;

/// The regions of this node.
#[derive(Debug, Default)]
pub struct Regions {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    live: BTreeMap<LeaseId, Arc<Region>>,
    /// Those that ended while the ledger names their leases.
    ended: BTreeSet<LeaseId>,
}

/// Memory of one lease.
#[derive(Debug)]
pub struct Region {
    lease: LeaseId,
    bytes: u64,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    term: LeaseTerm,
    pages: BTreeMap<u64, Zeroizing<Vec<u8>>>,
    revoked: BTreeSet<Digest>,
    operations: u64,
    ended: bool,
}

/// A region as one capability lets it be used. Clones are the same.
#[derive(Debug, Clone)]
pub struct RegionAccess {
    region: Arc<Region>,
    scope: RegionScope,
    /// The capability, and those that it was made of.
    ids: Arc<[Digest]>,
    /// Whether it may revoke what was made of it.
    is_root: bool,
}

/// A region that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRegionError {
    /// The lease is over, or its region ended before.
    #[error("{} is over", .0.short())]
    Over(LeaseId),
    /// More than the asset has left here.
    #[error("{bytes} bytes were leased and {free} of the asset are free on this node")]
    Exhausted {
        /// What the lease is for.
        bytes: u64,
        /// What no region has.
        free: u64,
    },
    /// As many as there may be.
    #[error("this node has {REGIONS_MAX} regions, the most at once")]
    TooMany,
}

impl Regions {
    /// The region of `lease`, made if it is asked for the first time. All of this node's regions
    /// together stay within `limit`, which is what the ledger lets be leased of its memory.
    ///
    /// # Errors
    /// [`OpenRegionError`].
    pub fn open(
        &self,
        lease: LeaseId,
        bytes: Amount,
        limit: Amount,
        term: LeaseTerm,
        now_ms: u64,
    ) -> Result<Arc<Region>, OpenRegionError> {
        let mut held = self.held();
        if held.ended.contains(&lease) || term.is_over(now_ms) {
            return Err(OpenRegionError::Over(lease));
        }
        if let Some(region) = held.live.get(&lease) {
            return Ok(Arc::clone(region));
        }
        if held.live.len() >= REGIONS_MAX {
            return Err(OpenRegionError::TooMany);
        }
        let free = limit.0.saturating_sub(held.bytes());
        if bytes.0 > free {
            let bytes = bytes.0;
            return Err(OpenRegionError::Exhausted { bytes, free });
        }
        let region = Arc::new(Region {
            lease,
            bytes: bytes.0,
            content: Mutex::new(Content {
                term,
                pages: BTreeMap::new(),
                revoked: BTreeSet::new(),
                operations: 0,
                ended: false,
            }),
        });
        held.live.insert(lease, Arc::clone(&region));
        Ok(region)
    }

    /// Bytes that the regions of this node have together.
    #[must_use]
    pub fn bytes(&self) -> Amount {
        Amount(self.held().bytes())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held().live.len()
    }

    /// Ends the region of a lease that was given back; whether there was one.
    pub fn end(&self, lease: &LeaseId) -> bool {
        let mut held = self.held();
        held.ended.insert(*lease);
        let ended = held.live.remove(lease);
        drop(held);
        ended.is_some_and(|region| region.end())
    }

    /// Takes a block that was applied at `now_ms`. `expires` is when a lease ends by the ledger,
    /// none if it has no such lease. Returns the leases whose regions ended.
    pub fn follow(
        &self,
        block_time_ms: u64,
        now_ms: u64,
        expires: impl Fn(&LeaseId) -> Option<u64>,
    ) -> Vec<LeaseId> {
        let mut held = self.held();
        held.ended.retain(|lease| expires(lease).is_some());
        let mut over = BTreeSet::new();
        for (lease, region) in &held.live {
            let mut content = region.content();
            // Before the block: what it renews may have been over when it came.
            let lives = expires(lease)
                .is_some_and(|expires_ms| content.term.renew(expires_ms, now_ms).is_ok());
            content.term.note_block(block_time_ms, now_ms);
            if !lives || content.term.is_over(now_ms) {
                over.insert(*lease);
            }
        }
        let ended = held.take(over);
        for lease in ended.keys().filter(|lease| expires(lease).is_some()) {
            held.ended.insert(*lease);
        }
        drop(held);
        wiped(ended)
    }

    /// Ends the regions whose leases are over by this node's clock; returns which.
    pub fn end_over(&self, now_ms: u64) -> Vec<LeaseId> {
        let mut held = self.held();
        let over = held
            .live
            .iter()
            .filter(|(_, region)| region.is_over(now_ms));
        let over: BTreeSet<LeaseId> = over.map(|(lease, _)| *lease).collect();
        let ended = held.take(over);
        held.ended.extend(ended.keys());
        drop(held);
        wiped(ended)
    }

    /// Whether a capability for the region of `lease` was revoked.
    #[must_use]
    pub fn is_revoked(&self, lease: &LeaseId, capability: &Digest) -> bool {
        let region = self.held().live.get(lease).cloned();
        region.is_some_and(|region| region.content().revoked.contains(capability))
    }

    /// When the next region is over, if no block comes.
    #[must_use]
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let held = self.held();
        let timeouts = held
            .live
            .values()
            .map(|region| region.content().term.next_timeout_ms());
        timeouts.min()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn bytes(&self) -> u64 {
        let bytes = self.live.values().map(|region| region.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    fn take(&mut self, leases: BTreeSet<LeaseId>) -> BTreeMap<LeaseId, Arc<Region>> {
        let taken = leases
            .into_iter()
            .filter_map(|lease| self.live.remove_entry(&lease));
        taken.collect()
    }
}

fn wiped(ended: BTreeMap<LeaseId, Arc<Region>>) -> Vec<LeaseId> {
    let wiped = ended.into_iter().filter(|(_, region)| region.end());
    wiped.map(|(lease, _)| lease).collect()
}

impl Region {
    /// The lease that it belongs to.
    #[must_use]
    pub const fn lease(&self) -> &LeaseId {
        &self.lease
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.content().term.is_over(now_ms)
    }

    /// Wipes it; whether it had not ended before.
    fn end(&self) -> bool {
        let mut content = self.content();
        content.pages.clear();
        !std::mem::replace(&mut content.ended, true)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // An operation changes bytes only where nothing can fail any more.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegionAccess {
    /// Access to `region` within `scope`, by a capability and those that it was made of. The
    /// `is_root` of a region may revoke the others.
    #[must_use]
    pub const fn new(
        region: Arc<Region>,
        scope: RegionScope,
        ids: Arc<[Digest]>,
        is_root: bool,
    ) -> Self {
        Self {
            region,
            scope,
            ids,
            is_root,
        }
    }

    /// The region.
    #[must_use]
    pub const fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// What is allowed.
    #[must_use]
    pub const fn scope(&self) -> &RegionScope {
        &self.scope
    }

    /// Does one operation at `now_ms` of the monotonic clock.
    ///
    /// # Errors
    /// [`RegionError`]; then nothing was done.
    pub fn apply(&self, operation: RegionOp, now_ms: u64) -> Result<RegionDone, RegionError> {
        let mut content = self.region.content();
        self.check(&content, now_ms)?;
        content.operations = content.operations.saturating_add(1);
        match operation {
            RegionOp::Read { offset, bytes } => {
                self.check_bytes(RegionRight::Read, offset, bytes.into(), OPERATION_BYTES_MAX)?;
                Ok(RegionDone::Read(content.read(offset, bytes.into())))
            }
            RegionOp::Write { offset, bytes } => {
                let count = bytes.len() as u64;
                self.check_bytes(RegionRight::Write, offset, count, OPERATION_BYTES_MAX)?;
                content.write(offset, &bytes)?;
                Ok(RegionDone::Written)
            }
            RegionOp::Swap {
                offset,
                expected,
                new,
            } => {
                let count = expected.len() as u64;
                if expected.is_empty() || expected.len() != new.len() {
                    let (expected, new) = (count, new.len() as u64);
                    return Err(RegionError::SwapLengths { expected, new });
                }
                self.check_bytes(RegionRight::Swap, offset, count, SWAP_BYTES_MAX)?;
                let found = content.read(offset, count);
                if found != expected {
                    return Ok(RegionDone::Found(found));
                }
                content.write(offset, &new)?;
                Ok(RegionDone::Swapped)
            }
            RegionOp::Usage => Ok(RegionDone::Usage(RegionUsage {
                bytes: self.region.bytes,
                resident_bytes: content.pages.len() as u64 * PAGE_BYTES,
                operations: content.operations,
                left_ms: content.term.left_ms(now_ms),
            })),
            RegionOp::Revoke { capability } => self.revoke(&mut content, capability),
        }
    }

    fn check(&self, content: &Content, now_ms: u64) -> Result<(), RegionError> {
        if content.ended || content.term.is_over(now_ms) {
            return Err(RegionError::Ended);
        }
        if self.ids.iter().any(|id| content.revoked.contains(id)) {
            return Err(RegionError::Revoked);
        }
        if content.term.may_be_at(self.scope.expires_ms, now_ms) {
            return Err(RegionError::Expired);
        }
        Ok(())
    }

    fn check_bytes(
        &self,
        right: RegionRight,
        offset: u64,
        bytes: u64,
        bytes_max: u64,
    ) -> Result<(), RegionError> {
        if !self.scope.rights.has(right) {
            return Err(RegionError::NotAllowed { right });
        }
        if bytes > bytes_max {
            return Err(RegionError::TooLong { bytes, bytes_max });
        }
        let until = self.scope.until.min(self.region.bytes);
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= until);
        if self.scope.covers(offset, bytes) && inside {
            return Ok(());
        }
        let from = self.scope.from;
        Err(RegionError::OutOfRange {
            offset,
            bytes,
            from,
            until,
        })
    }

    fn revoke(&self, content: &mut Content, id: Digest) -> Result<RegionDone, RegionError> {
        if !self.is_root {
            return Err(RegionError::NotOwner);
        }
        if self.ids.contains(&id) {
            return Err(RegionError::RevokesItself);
        }
        if content.revoked.len() >= REVOKED_MAX && !content.revoked.contains(&id) {
            return Err(RegionError::TooManyRevoked);
        }
        content.revoked.insert(id);
        Ok(RegionDone::Revoked)
    }
}

/// The pieces of `bytes` bytes from `offset` on, page by page: which page, where in it, how many.
fn pieces(offset: u64, bytes: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(bytes);
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let within = at % PAGE_BYTES;
        let count = (PAGE_BYTES - within).min(end - at);
        let page = at / PAGE_BYTES;
        at += count;
        // Both are at most a page.
        let within = usize::try_from(within).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Some((page, within, count))
    })
}

impl Content {
    /// Bytes that were checked to be within the region.
    fn read(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let mut read = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        for (page, within, count) in pieces(offset, bytes) {
            let found = self.pages.get(&page);
            match found.and_then(|page| page.get(within..within + count)) {
                Some(piece) => read.extend_from_slice(piece),
                // Never written.
                None => read.resize(read.len() + count, 0),
            }
        }
        read
    }

    /// Writes bytes that were checked to be within the region: all of them or none.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), RegionError> {
        let count = bytes.len() as u64;
        for (page, _, _) in pieces(offset, count) {
            if let std::collections::btree_map::Entry::Vacant(place) = self.pages.entry(page) {
                place.insert(empty_page()?);
            }
        }
        let mut rest = bytes;
        for (page, within, count) in pieces(offset, count) {
            let (piece, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = after;
            let page = self.pages.get_mut(&page);
            if let Some(place) = page.and_then(|page| page.get_mut(within..within + count)) {
                place.copy_from_slice(piece);
            }
        }
        Ok(())
    }
}

fn empty_page() -> Result<Zeroizing<Vec<u8>>, RegionError> {
    let bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let mut page = Vec::new();
    page.try_reserve_exact(bytes)
        .map_err(|_| RegionError::NoMemory)?;
    page.resize(bytes, 0);
    Ok(Zeroizing::new(page))
}
