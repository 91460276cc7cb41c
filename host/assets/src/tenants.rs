//! What a node keeps for leases of one type of assets, each until its lease is over. Knows not what is
//! kept, nor who may use it.
//!
//! A tenant ends once: when its lease is over by [`LeaseTerm`], when the ledger has the lease no more,
//! or when it is given back. As long as the ledger names the lease it does not come again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use types::{Amount, Digest, LeaseId};

use crate::tenure::Tenure;
use crate::term::LeaseTerm;

/// Most tenants of one type: as many as leases that a node's assets may have (`ledger`'s bound).
pub const TENANTS_MAX: usize = 4_096;

/// What is kept for one lease.
pub trait Tenant {
    /// What of the asset it is.
    fn bytes(&self) -> u64;
    /// Looks at its time, or changes it.
    fn with_tenure<T>(&self, act: impl FnOnce(&mut Tenure) -> T) -> T;
    /// Ends it and wipes what it kept; whether it had not ended before.
    fn end(&self) -> bool;
}

/// What this node keeps for leases.
#[derive(Debug)]
pub struct Tenants<T> {
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    live: BTreeMap<LeaseId, Arc<T>>,
    /// Those that ended while the ledger names their leases.
    ended: BTreeSet<LeaseId>,
}

/// What is not kept for a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenTenantError {
    /// The lease is over, or what was kept for it ended before.
    #[error("{} is over", .0.short())]
    Over(LeaseId),
    /// More than the asset has left here.
    #[error("{bytes} bytes were leased and {free} of the asset are free on this node")]
    Exhausted {
        /// What the lease is for.
        bytes: u64,
        /// What is kept for no lease.
        free: u64,
    },
    /// As many as there may be.
    #[error("this node serves {TENANTS_MAX} leases of this type, the most at once")]
    TooMany,
}

impl<T> Default for Tenants<T> {
    fn default() -> Self {
        Self {
            held: Mutex::new(Held {
                live: BTreeMap::new(),
                ended: BTreeSet::new(),
            }),
        }
    }
}

impl<T: Tenant> Tenants<T> {
    /// What is kept for `lease`, by `make` if it is asked for the first time. All together stay within
    /// `limit`, which is what the ledger lets be leased of the asset.
    pub(crate) fn open_with(
        &self,
        lease: LeaseId,
        (bytes, limit): (Amount, Amount),
        term: LeaseTerm,
        now_ms: u64,
        make: impl FnOnce() -> T,
    ) -> Result<Arc<T>, OpenTenantError> {
        let mut held = self.held();
        if held.ended.contains(&lease) || term.is_over(now_ms) {
            return Err(OpenTenantError::Over(lease));
        }
        if let Some(tenant) = held.live.get(&lease) {
            return Ok(Arc::clone(tenant));
        }
        if held.live.len() >= TENANTS_MAX {
            return Err(OpenTenantError::TooMany);
        }
        let free = limit.0.saturating_sub(held.bytes());
        if bytes.0 > free {
            let bytes = bytes.0;
            return Err(OpenTenantError::Exhausted { bytes, free });
        }
        let tenant = Arc::new(make());
        held.live.insert(lease, Arc::clone(&tenant));
        Ok(tenant)
    }

    /// Bytes of all together.
    #[must_use]
    pub fn bytes(&self) -> Amount {
        Amount(self.held().bytes())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held().live.len()
    }

    /// Ends what is kept for a lease that was given back; whether there was something.
    pub fn end(&self, lease: &LeaseId) -> bool {
        let mut held = self.held();
        held.ended.insert(*lease);
        let ended = held.live.remove(lease);
        drop(held);
        ended.is_some_and(|tenant| tenant.end())
    }

    /// Takes a block that was applied at `now_ms`. `expires` is when a lease ends by the ledger,
    /// none if it has no such lease. Returns the leases whose tenants ended.
    pub fn follow(
        &self,
        block_time_ms: u64,
        now_ms: u64,
        expires: impl Fn(&LeaseId) -> Option<u64>,
    ) -> Vec<LeaseId> {
        let mut held = self.held();
        held.ended.retain(|lease| expires(lease).is_some());
        let mut over = BTreeSet::new();
        for (lease, tenant) in &held.live {
            let goes_on = tenant.with_tenure(|tenure| {
                // Before the block: what it renews may have been over when it came.
                let lives = expires(lease)
                    .is_some_and(|expires_ms| tenure.term.renew(expires_ms, now_ms).is_ok());
                tenure.term.note_block(block_time_ms, now_ms);
                lives && !tenure.is_over(now_ms)
            });
            if !goes_on {
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

    /// Ends what is kept for leases that are over by this node's clock; returns which.
    pub fn end_over(&self, now_ms: u64) -> Vec<LeaseId> {
        let mut held = self.held();
        let is_over = |tenant: &T| tenant.with_tenure(|tenure| tenure.is_over(now_ms));
        let over = held.live.iter().filter(|(_, tenant)| is_over(tenant));
        let over: BTreeSet<LeaseId> = over.map(|(lease, _)| *lease).collect();
        let ended = held.take(over);
        held.ended.extend(ended.keys());
        drop(held);
        wiped(ended)
    }

    /// Whether a capability for what is kept for `lease` was revoked.
    #[must_use]
    pub fn is_revoked(&self, lease: &LeaseId, capability: &Digest) -> bool {
        let tenant = self.held().live.get(lease).cloned();
        tenant
            .is_some_and(|tenant| tenant.with_tenure(|tenure| tenure.revoked.contains(capability)))
    }

    /// When the next one is over, if no block comes.
    #[must_use]
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let held = self.held();
        let timeouts = held.live.values();
        let timeout = |tenant: &Arc<T>| tenant.with_tenure(|tenure| tenure.term.next_timeout_ms());
        timeouts.map(timeout).min()
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Tenant> Held<T> {
    fn bytes(&self) -> u64 {
        let bytes = self.live.values().map(|tenant| tenant.bytes());
        bytes.fold(0, u64::saturating_add)
    }

    fn take(&mut self, leases: BTreeSet<LeaseId>) -> BTreeMap<LeaseId, Arc<T>> {
        let taken = leases
            .into_iter()
            .filter_map(|lease| self.live.remove_entry(&lease));
        taken.collect()
    }
}

fn wiped<T: Tenant>(ended: BTreeMap<LeaseId, Arc<T>>) -> Vec<LeaseId> {
    let wiped = ended.into_iter().filter(|(_, tenant)| tenant.end());
    wiped.map(|(lease, _)| lease).collect()
}
