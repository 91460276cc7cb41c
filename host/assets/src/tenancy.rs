//! Tenancies: what leases of this node are used through, each from its first use to the end of its
//! lease. Knows not what that is; who may use one was decided before.
//!
//! A tenancy ends once: when its lease is over by [`LeaseTerm`], when the ledger has the lease no more,
//! or when it is given back. Whoever uses it hears of that. As long as the ledger names the lease it
//! does not come again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use types::{Amount, LeaseId};

use crate::term::LeaseTerm;

/// Most tenancies of one kind: as many as leases that a node's assets may have (`ledger`'s bound).
pub const TENANCIES_MAX: usize = 4_096;

/// The tenancies of one kind of leases.
#[derive(Debug)]
pub struct Tenancies<T> {
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    live: BTreeMap<LeaseId, Arc<Tenancy<T>>>,
    /// Those that ended while the ledger names their leases.
    ended: BTreeSet<LeaseId>,
}

/// What one lease is used through.
#[derive(Debug)]
pub struct Tenancy<T> {
    lease: LeaseId,
    amount: Amount,
    term: Mutex<LeaseTerm>,
    ended: watch::Sender<bool>,
    used: T,
}

/// A tenancy that does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeginTenancyError {
    /// The lease is over, or its tenancy ended before.
    #[error("{} is over", .0.short())]
    Over(LeaseId),
    /// More than the asset has left here.
    #[error("{amount} were leased and {free} of the asset are free on this node", amount = .amount.0, free = .free.0)]
    Exhausted {
        /// What the lease is for.
        amount: Amount,
        /// What no tenancy has.
        free: Amount,
    },
    /// As many as there may be.
    #[error("this node has {TENANCIES_MAX} tenancies, the most at once")]
    TooMany,
}

impl<T> Default for Tenancies<T> {
    fn default() -> Self {
        let (live, ended) = (BTreeMap::new(), BTreeSet::new());
        let held = Mutex::new(Held { live, ended });
        Self { held }
    }
}

impl<T> Tenancies<T> {
    /// The tenancy of `lease`; the first time it is made with what `used` gives. All together stay
    /// within `limit`, which is what the ledger lets be leased.
    ///
    /// # Errors
    /// [`BeginTenancyError`].
    pub fn open(
        &self,
        lease: LeaseId,
        (amount, limit): (Amount, Amount),
        term: LeaseTerm,
        now_ms: u64,
        used: impl FnOnce() -> T,
    ) -> Result<Arc<Tenancy<T>>, BeginTenancyError> {
        let mut held = self.held();
        if held.ended.contains(&lease) || term.is_over(now_ms) {
            return Err(BeginTenancyError::Over(lease));
        }
        if let Some(tenancy) = held.live.get(&lease) {
            return Ok(Arc::clone(tenancy));
        }
        if held.live.len() >= TENANCIES_MAX {
            return Err(BeginTenancyError::TooMany);
        }
        let taken = held.live.values().map(|tenancy| tenancy.amount.0);
        let taken = taken.fold(0, u64::saturating_add);
        let free = Amount(limit.0.saturating_sub(taken));
        if amount > free {
            return Err(BeginTenancyError::Exhausted { amount, free });
        }
        let tenancy = Arc::new(Tenancy {
            lease,
            amount,
            term: Mutex::new(term),
            ended: watch::Sender::new(false),
            used: used(),
        });
        held.live.insert(lease, Arc::clone(&tenancy));
        Ok(tenancy)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held().live.len()
    }

    /// Ends the tenancy of a lease that was given back; whether there was one.
    pub fn end(&self, lease: &LeaseId) -> bool {
        let mut held = self.held();
        held.ended.insert(*lease);
        let ended = held.live.remove(lease);
        drop(held);
        ended.is_some_and(|tenancy| tenancy.end())
    }

    /// Takes a block that was applied at `now_ms`. `expires` is when a lease ends by the ledger,
    /// none if it has no such lease. Returns the leases whose tenancies ended.
    pub fn follow(
        &self,
        block_time_ms: u64,
        now_ms: u64,
        expires: impl Fn(&LeaseId) -> Option<u64>,
    ) -> Vec<LeaseId> {
        let mut held = self.held();
        held.ended.retain(|lease| expires(lease).is_some());
        let mut over = Vec::new();
        for (lease, tenancy) in &held.live {
            let mut term = tenancy.term();
            // Before the block: what it renews may have been over when it came.
            let lives =
                expires(lease).is_some_and(|expires_ms| term.renew(expires_ms, now_ms).is_ok());
            term.note_block(block_time_ms, now_ms);
            if !lives || term.is_over(now_ms) {
                over.push(*lease);
            }
        }
        held.take(&over, |lease| expires(lease).is_some())
    }

    /// Ends the tenancies whose leases are over by this node's clock; returns which.
    pub fn end_over(&self, now_ms: u64) -> Vec<LeaseId> {
        let mut held = self.held();
        let over = held.live.iter();
        let over = over.filter(|(_, tenancy)| tenancy.term().is_over(now_ms));
        let over: Vec<LeaseId> = over.map(|(lease, _)| *lease).collect();
        held.take(&over, |_| true)
    }

    /// When the next tenancy is over, if no block comes.
    #[must_use]
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let held = self.held();
        let timeouts = held.live.values();
        timeouts
            .map(|tenancy| tenancy.term().next_timeout_ms())
            .min()
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    /// Ends these, and remembers those that are `named`.
    fn take(&mut self, over: &[LeaseId], named: impl Fn(&LeaseId) -> bool) -> Vec<LeaseId> {
        let mut ended = Vec::new();
        for lease in over {
            if named(lease) {
                self.ended.insert(*lease);
            }
            if self.live.remove(lease).is_some_and(|tenancy| tenancy.end()) {
                ended.push(*lease);
            }
        }
        ended
    }
}

impl<T> Tenancy<T> {
    /// The lease that it belongs to.
    #[must_use]
    pub const fn lease(&self) -> &LeaseId {
        &self.lease
    }

    /// What was leased.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// What it is used through.
    #[must_use]
    pub const fn used(&self) -> &T {
        &self.used
    }

    /// Whether it ended, or its lease is over at `now_ms`.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        *self.ended.borrow() || self.term().is_over(now_ms)
    }

    /// How long it is certainly live from `now_ms` on, if no block comes.
    #[must_use]
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        match *self.ended.borrow() {
            true => 0,
            false => self.term().left_ms(now_ms),
        }
    }

    /// Waits for its end.
    pub async fn over(&self) {
        // It cannot fail: what sends is here.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Whether it had not ended before.
    fn end(&self) -> bool {
        !self.ended.send_replace(true)
    }

    fn term(&self) -> MutexGuard<'_, LeaseTerm> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use types::Digest;

    use super::*;
    use crate::term::LedgerClock;

    const T: u64 = 1_800_000_000_000;

    fn lease(number: u8) -> LeaseId {
        LeaseId::from_digest(Digest::from_bytes([number; 32]))
    }

    fn term(expires_ms: u64) -> LeaseTerm {
        LeaseTerm::new(T + expires_ms, LedgerClock::new(T, 0))
    }

    fn open(
        tenancies: &Tenancies<u8>,
        number: u8,
        amount: u64,
    ) -> Result<Arc<Tenancy<u8>>, BeginTenancyError> {
        let amounts = (Amount(amount), Amount(100));
        tenancies.open(lease(number), amounts, term(60_000), 0, || number)
    }

    #[test]
    fn a_tenancy_is_one_for_its_lease_and_all_stay_within_the_limit() {
        let tenancies = Tenancies::default();
        let first = open(&tenancies, 1, 60).unwrap();
        assert!(Arc::ptr_eq(&first, &open(&tenancies, 1, 60).unwrap()));
        let free = Amount(40);
        let amount = Amount(41);
        let refused = BeginTenancyError::Exhausted { amount, free };
        assert_eq!(open(&tenancies, 2, 41).unwrap_err(), refused);
        let second = open(&tenancies, 2, 40).unwrap();
        assert_eq!((*second.used(), second.amount()), (2, free));
        assert_eq!(tenancies.count(), 2);
        assert!(tenancies.end(&lease(1)) && !tenancies.end(&lease(1)));
        assert!(open(&tenancies, 3, 60).is_ok());
    }

    #[tokio::test]
    async fn its_end_is_told_and_it_does_not_come_again() {
        let tenancies = Tenancies::default();
        let tenancy = open(&tenancies, 1, 1).unwrap();
        assert!(!tenancy.is_over(0) && tenancy.left_ms(0) > 0);
        let ended = tenancies.follow(T + 1, 1, |_| None);
        assert_eq!(ended, [lease(1)]);
        tenancy.over().await;
        assert!(tenancy.is_over(1));
        assert_eq!(tenancy.left_ms(1), 0);
        // The ledger names it no more: a lease of that name would be another one.
        assert!(open(&tenancies, 1, 1).is_ok());
        tenancies.end(&lease(1));
        assert_eq!(
            open(&tenancies, 1, 1).unwrap_err(),
            BeginTenancyError::Over(lease(1))
        );
    }

    #[test]
    fn it_ends_by_this_nodes_clock_unless_it_was_renewed_before() {
        let tenancies = Tenancies::default();
        let tenancy = open(&tenancies, 1, 1).unwrap();
        let at = tenancies.next_timeout_ms().unwrap();
        assert!(tenancies.end_over(at - 1).is_empty());
        let renewed = |_: &LeaseId| Some(T + 120_000);
        assert!(tenancies.follow(T + 1_000, 1_000, renewed).is_empty());
        assert!(tenancies.end_over(at).is_empty() && !tenancy.is_over(at));
        let at = tenancies.next_timeout_ms().unwrap();
        assert!(tenancy.is_over(at), "also before anybody ends it");
        assert_eq!(tenancies.end_over(at), [lease(1)]);
        // What was over here is not revived by a block that comes late.
        assert!(tenancies.follow(T + 2_000, at, renewed).is_empty());
        assert_eq!(
            open(&tenancies, 1, 1).unwrap_err(),
            BeginTenancyError::Over(lease(1))
        );
    }
}
