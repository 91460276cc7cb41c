//! What one replica may lease of one type of assets, and how often it may ask. Leases nothing.

use std::sync::{Mutex, PoisonError};

use assets::{Capacity, Reservation, ReserveError};
use runtime::AssetError;
use types::{Amount, AssetPolicy, AssetType};

use super::leasing::Wish;

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

    /// Takes what a lease needs of what is granted, at `now_ms`.
    ///
    /// # Errors
    /// [`AssetError::Invalid`], [`AssetError::Quota`] and [`AssetError::Busy`].
    pub(crate) fn reserve(&self, wish: Wish, now_ms: u64) -> Result<Reservation, AssetError> {
        check_term(wish.term_ms)?;
        let reserved = self.granted.reserve(wish.amount);
        let reserved = reserved.map_err(|error| match error {
            ReserveError::Nothing => AssetError::Invalid(error.to_string()),
            ReserveError::Exhausted { .. } => {
                let text = format!(
                    "of the {} that the manifest grants, {error}",
                    self.asset_type
                );
                AssetError::Quota(text)
            }
        })?;
        self.count(now_ms)?;
        Ok(reserved)
    }

    /// Counts a transaction that is asked for at `now_ms`.
    fn count(&self, now_ms: u64) -> Result<(), AssetError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.take(now_ms) {
            return Ok(());
        }
        let text = format!(
            "{LEASES_PER_WINDOW_MAX} leases were asked for within {WINDOW_MS} ms, the most"
        );
        Err(AssetError::Busy(text))
    }
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
}
