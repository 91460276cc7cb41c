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

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use types::{Amount, Digest, LeaseId, RegionRight, RegionScope};
use zeroize::Zeroizing;

use crate::region_op::{
    OPERATION_BYTES_MAX, RegionDone, RegionError, RegionOp, RegionUsage, SWAP_BYTES_MAX,
};
use crate::tenants::{OpenTenantError, Tenant, Tenants};
use crate::tenure::{Grant, NotRevoked, Tenure, Unusable};
use crate::term::LeaseTerm;

/// Bytes that come into memory together: few are wasted, and large regions have short lists.
const PAGE_BYTES: u64 = 64 << 10;

/// The regions of this node.
pub type Regions = Tenants<Region>;

/// Memory of one lease.
#[derive(Debug)]
pub struct Region {
    lease: LeaseId,
    bytes: u64,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    tenure: Tenure,
    pages: BTreeMap<u64, Zeroizing<Vec<u8>>>,
    operations: u64,
}

/// A region as one capability lets it be used. Clones are the same.
#[derive(Debug, Clone)]
pub struct RegionAccess {
    region: Arc<Region>,
    grant: Grant,
}

impl Tenants<Region> {
    /// The region of `lease`, made if it is asked for the first time. All of this node's regions
    /// together stay within `limit`, which is what the ledger lets be leased of its memory.
    ///
    /// # Errors
    /// [`OpenTenantError`].
    pub fn open(
        &self,
        lease: LeaseId,
        bytes: Amount,
        limit: Amount,
        term: LeaseTerm,
        now_ms: u64,
    ) -> Result<Arc<Region>, OpenTenantError> {
        self.open_with(lease, (bytes, limit), term, now_ms, || Region {
            lease,
            bytes: bytes.0,
            content: Mutex::new(Content {
                tenure: Tenure::new(term),
                pages: BTreeMap::new(),
                operations: 0,
            }),
        })
    }
}

impl Tenant for Region {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn with_tenure<T>(&self, act: impl FnOnce(&mut Tenure) -> T) -> T {
        act(&mut self.content().tenure)
    }

    fn end(&self) -> bool {
        let mut content = self.content();
        content.pages.clear();
        content.tenure.end()
    }
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
        let grant = Grant {
            scope,
            ids,
            is_root,
        };
        Self { region, grant }
    }

    /// The region.
    #[must_use]
    pub const fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// What is allowed.
    #[must_use]
    pub const fn scope(&self) -> &RegionScope {
        &self.grant.scope
    }

    /// Does one operation at `now_ms` of the monotonic clock.
    ///
    /// # Errors
    /// [`RegionError`]; then nothing was done.
    pub fn apply(&self, operation: RegionOp, now_ms: u64) -> Result<RegionDone, RegionError> {
        let mut content = self.region.content();
        let usable = self.grant.check(&content.tenure, now_ms);
        usable.map_err(|unusable| match unusable {
            Unusable::Ended => RegionError::Ended,
            Unusable::Expired => RegionError::Expired,
            Unusable::Revoked => RegionError::Revoked,
        })?;
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
                left_ms: content.tenure.term.left_ms(now_ms),
            })),
            RegionOp::Revoke { capability } => self.revoke(&mut content, capability),
        }
    }

    fn check_bytes(
        &self,
        right: RegionRight,
        offset: u64,
        bytes: u64,
        bytes_max: u64,
    ) -> Result<(), RegionError> {
        if !self.grant.scope.rights.has(right) {
            return Err(RegionError::NotAllowed { right });
        }
        if bytes > bytes_max {
            return Err(RegionError::TooLong { bytes, bytes_max });
        }
        let until = self.grant.scope.until.min(self.region.bytes);
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= until);
        if self.grant.scope.covers(offset, bytes) && inside {
            return Ok(());
        }
        let from = self.grant.scope.from;
        Err(RegionError::OutOfRange {
            offset,
            bytes,
            from,
            until,
        })
    }

    fn revoke(&self, content: &mut Content, id: Digest) -> Result<RegionDone, RegionError> {
        let revoked = self.grant.revoke(&mut content.tenure, id);
        revoked.map_err(|error| match error {
            NotRevoked::NotOwner => RegionError::NotOwner,
            NotRevoked::RevokesItself => RegionError::RevokesItself,
            NotRevoked::TooMany => RegionError::TooManyRevoked,
        })?;
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
