//! What one replica may lease of one type of assets, how often it may ask, and what it has. Knows not
//! what a lease is used for.

use std::sync::{Arc, Mutex, PoisonError};

use assets::{Capacity, Reservation, ReserveError};
use futures::FutureExt as _;
use runtime::{AssetError, Awaited};
use types::{Amount, AssetPolicy, AssetType, NodeId};

use super::leasing::{self, HeldLease, Wish};
use crate::shared::Shared;

/// Shortest lease that a guest may ask for: what clocks may differ by is a fifth of it.
const TERM_MS_MIN: u64 = 10_000;

/// Leases that one replica may ask for, or renew, in a window: each costs transactions, which every
/// node keeps, and the turn of other guests.
const LEASES_PER_WINDOW_MAX: u32 = 16;
/// Length of a window.
const WINDOW_MS: u64 = 10_000;

/// How much a replica may have at once, what of it is taken, and how often it asked lately.
pub(crate) struct Asking {
    asset_type: AssetType,
    granted: Capacity,
    asked: Mutex<Window>,
}

/// A lease of a guest, and what it takes of the grant. Dropped with it, the lease first.
pub(crate) struct Held {
    pub(crate) lease: HeldLease,
    reserved: Mutex<Option<Reservation>>,
    asking: Arc<Asking>,
}

/// How much one likes to lease of a node; none for not at all. Lower is better.
pub(crate) type Rank = Arc<dyn Fn(&NodeId) -> Option<usize> + Send + Sync>;

/// How many leases were asked for lately.
#[derive(Debug, Default)]
struct Window {
    began_ms: u64,
    leases: u32,
}

impl Window {
    /// Counts one more at `now_ms`, if there is room for it.
    const fn take(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.began_ms) >= WINDOW_MS {
            self.began_ms = now_ms;
            self.leases = 0;
        }
        if self.leases >= LEASES_PER_WINDOW_MAX {
            return false;
        }
        self.leases += 1;
        true
    }
}

impl Asking {
    /// Nothing is taken of what the manifest grants.
    pub(crate) fn new(asset_type: AssetType, granted: Amount) -> Self {
        Self {
            asset_type,
            granted: Capacity::new(granted),
            asked: Mutex::default(),
        }
    }

    /// Leases so much for so long, of this node's own if that has room. If nobody waits any more, a
    /// lease that comes is given back.
    pub(crate) fn lease(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        amount: Amount,
        term_ms: u64,
    ) -> Awaited<Arc<Held>> {
        let node = shared.node;
        let rank = move |host: &NodeId| Some(usize::from(*host != node));
        self.lease_of(shared, amount, term_ms, Arc::new(rank))
    }

    /// As [`Asking::lease`], of the node that is reached and that `rank` likes best.
    pub(crate) fn lease_of(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        amount: Amount,
        term_ms: u64,
        rank: Rank,
    ) -> Awaited<Arc<Held>> {
        let wish = Wish {
            asset_type: self.asset_type,
            amount,
            term_ms,
        };
        let reserved = self.reserve(wish, shared.now_ms());
        let (shared, asking) = (Arc::clone(shared), Arc::clone(self));
        async move {
            let reserved = reserved?;
            let leased = tokio::spawn(async move {
                let reaches = |node: &NodeId| {
                    let peers = shared.peers.get();
                    *node == shared.node || peers.is_some_and(|peers| peers.reaches(node))
                };
                let rank = |node: &NodeId| rank(node).filter(|_| reaches(node));
                let lease = leasing::lease(&shared, wish, rank).await?;
                Ok(Arc::new(Held {
                    lease,
                    reserved: Mutex::new(Some(reserved)),
                    asking,
                }))
            });
            leased.await.map_err(unavailable)?
        }
        .boxed()
    }

    /// Takes so much of what is granted, if there is so much: of a lease that is there already, or to see.
    pub(crate) fn take(&self, amount: Amount) -> Result<Reservation, AssetError> {
        let reserved = self.granted.reserve(amount);
        reserved.map_err(|error| match error {
            ReserveError::Nothing => AssetError::Invalid(error.to_string()),
            ReserveError::Exhausted { .. } => {
                let text = format!(
                    "of the {} that the manifest grants, {error}",
                    self.asset_type
                );
                AssetError::Quota(text)
            }
        })
    }

    /// Takes what a lease needs of what is granted, at `now_ms`.
    fn reserve(&self, wish: Wish, now_ms: u64) -> Result<Reservation, AssetError> {
        check_term(wish.term_ms)?;
        let reserved = self.take(wish.amount)?;
        self.count(now_ms)?;
        Ok(reserved)
    }

    /// Counts a renewal that is asked for at `now_ms`.
    fn renewal(&self, term_ms: u64, now_ms: u64) -> Result<(), AssetError> {
        check_term(term_ms)?;
        self.count(now_ms)
    }

    /// Counts a transaction that is asked for at `now_ms`.
    fn count(&self, now_ms: u64) -> Result<(), AssetError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.take(now_ms) {
            return Ok(());
        }
        let text = format!(
            "{LEASES_PER_WINDOW_MAX} leases or renewals were asked for within {WINDOW_MS} ms, the most"
        );
        Err(AssetError::Busy(text))
    }
}

impl Held {
    /// Has the lease outlive this. What it takes of the grant is for the caller to keep.
    pub(crate) fn keep(&self) -> Option<Reservation> {
        self.lease.keep();
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.take()
    }

    /// Has the lease last so long from now on.
    pub(crate) fn renew(self: &Arc<Self>, term_ms: u64) -> Awaited<()> {
        let counted = self.asking.renewal(term_ms, self.lease.now_ms());
        let held = Arc::clone(self);
        async move {
            counted?;
            // Goes on if the guest ends meanwhile: its turn to sign is not lost in the middle.
            let renewed = tokio::spawn(async move { held.lease.renew(term_ms).await });
            renewed.await.map_err(unavailable)?
        }
        .boxed()
    }
}

fn unavailable(error: impl std::fmt::Display) -> AssetError {
    AssetError::Unavailable(error.to_string())
}

/// Refuses terms that no guest's lease has.
fn check_term(term_ms: u64) -> Result<(), AssetError> {
    let terms = TERM_MS_MIN..=AssetPolicy::TERM_MS_MAX;
    if terms.contains(&term_ms) {
        return Ok(());
    }
    let (min, max) = (terms.start(), terms.end());
    let text = format!("a lease lasts {min} to {max} ms, not {term_ms}");
    Err(AssetError::Invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_asked_for_no_faster_than_their_windows_allow() {
        let mut window = Window::default();
        let taken = |window: &mut Window, now_ms| (0..100).filter(|_| window.take(now_ms)).count();
        let most = usize::try_from(LEASES_PER_WINDOW_MAX).unwrap();
        assert_eq!(taken(&mut window, 20_000), most);
        assert_eq!(taken(&mut window, 20_000 + WINDOW_MS - 1), 0);
        assert_eq!(taken(&mut window, 20_000 + WINDOW_MS), most);
        // A clock that stands still or goes back gives nothing.
        assert_eq!(taken(&mut window, 0), 0);
    }

    #[test]
    fn renewals_count_as_leases_and_have_the_same_terms() {
        let asking = Asking::new(AssetType::Memory, Amount(100));
        let wish = |amount, term_ms| Wish {
            asset_type: AssetType::Memory,
            amount: Amount(amount),
            term_ms,
        };
        let short = asking.renewal(TERM_MS_MIN - 1, 0);
        assert!(matches!(short, Err(AssetError::Invalid(_))), "{short:?}");
        let held = asking.reserve(wish(60, TERM_MS_MIN), 0).unwrap();
        let over = asking.reserve(wish(41, TERM_MS_MIN), 0);
        assert!(matches!(over, Err(AssetError::Quota(_))), "{over:?}");
        for _ in 1..LEASES_PER_WINDOW_MAX {
            asking.renewal(TERM_MS_MIN, 0).unwrap();
        }
        drop(held);
        let often = asking.reserve(wish(60, TERM_MS_MIN), 0);
        assert!(matches!(often, Err(AssetError::Busy(_))), "{often:?}");
        let often = asking.renewal(TERM_MS_MIN, 0);
        assert!(matches!(often, Err(AssetError::Busy(_))), "{often:?}");
    }
}
