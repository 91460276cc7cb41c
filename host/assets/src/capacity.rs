//! How much of one asset is given away: exact accounts, no matter how what was taken comes back.
//! Knows amounts only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use types::Amount;

/// What there is of one asset, and what of it is reserved. Clones are the same account.
#[derive(Debug, Clone)]
pub struct Capacity {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    total: Amount,
    reserved: Mutex<Amount>,
}

/// A part of a capacity that nobody else has. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping a reservation gives it back"]
pub struct Reservation {
    account: Arc<Account>,
    amount: Amount,
}

/// A reservation that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Of nothing.
    #[error("a reservation of nothing: ask for at least 1")]
    Nothing,
    /// Beyond what is free.
    #[error("{} was asked for and {} of {} is free", .wanted.0, .free.0, .total.0)]
    Exhausted {
        /// What was asked for.
        wanted: Amount,
        /// What nobody has.
        free: Amount,
        /// What there is.
        total: Amount,
    },
}

/// A reservation that was given back to the wrong place; it was returned to the right one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this reservation is of another asset")]
pub struct ReleaseError;

impl Capacity {
    /// An account of `total`, all of it free.
    #[must_use]
    pub fn new(total: Amount) -> Self {
        let reserved = Mutex::new(Amount::ZERO);
        Self {
            account: Arc::new(Account { total, reserved }),
        }
    }

    /// What there is.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.account.total
    }

    /// What is reserved.
    #[must_use]
    pub fn reserved(&self) -> Amount {
        *self.account.reserved()
    }

    /// What nobody has.
    #[must_use]
    pub fn free(&self) -> Amount {
        let rest = self.total().checked_sub(self.reserved());
        rest.unwrap_or(Amount::ZERO)
    }

    /// Takes `amount`, all of it or nothing.
    ///
    /// # Errors
    /// [`ReserveError`] if that is nothing, or more than is free.
    pub fn reserve(&self, amount: Amount) -> Result<Reservation, ReserveError> {
        if amount == Amount::ZERO {
            return Err(ReserveError::Nothing);
        }
        let total = self.total();
        let mut reserved = self.account.reserved();
        let sum = reserved.checked_add(amount).filter(|sum| *sum <= total);
        let Some(sum) = sum else {
            let free = total.checked_sub(*reserved).unwrap_or(Amount::ZERO);
            return Err(ReserveError::Exhausted {
                wanted: amount,
                free,
                total,
            });
        };
        *reserved = sum;
        Ok(Reservation {
            account: Arc::clone(&self.account),
            amount,
        })
    }

    /// Whether `reservation` is of this account.
    #[must_use]
    pub fn owns(&self, reservation: &Reservation) -> bool {
        Arc::ptr_eq(&self.account, &reservation.account)
    }
}

impl Account {
    fn reserved(&self) -> MutexGuard<'_, Amount> {
        // Each change is one assignment, so a panic elsewhere leaves a whole number behind.
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// How much it is.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        self.amount
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.account.reserved();
        let rest = reserved.checked_sub(self.amount);
        debug_assert!(rest.is_some(), "more was given back than was taken");
        *reserved = rest.unwrap_or(Amount::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Reserve(u64),
        Drop(usize),
        Panic(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..60_u64).prop_map(Step::Reserve),
            (u64::MAX - 3..=u64::MAX).prop_map(Step::Reserve),
            any::<usize>().prop_map(Step::Drop),
            any::<usize>().prop_map(Step::Panic),
        ]
    }

    fn crash(_held: Reservation) {
        std::panic::resume_unwind(Box::new("a crash"));
    }

    proptest! {
        #[test]
        fn accounts_are_exact_after_every_step(
            total in 0..200_u64,
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let capacity = Capacity::new(Amount(total));
            let mut held: Vec<Reservation> = Vec::new();
            for step in steps {
                let before: u64 = held.iter().map(|one| one.amount().0).sum();
                match step {
                    Step::Reserve(amount) => match capacity.reserve(Amount(amount)) {
                        Ok(reservation) => {
                            prop_assert!(amount > 0 && amount <= total - before);
                            held.push(reservation);
                        }
                        Err(ReserveError::Nothing) => prop_assert_eq!(amount, 0),
                        Err(ReserveError::Exhausted { free, .. }) => {
                            prop_assert_eq!(free, Amount(total - before));
                            prop_assert!(amount > total - before);
                        }
                    },
                    Step::Drop(at) if !held.is_empty() => {
                        drop(held.swap_remove(at % held.len()));
                    }
                    // Whoever holds one may panic: what it had comes back, and the account lives.
                    Step::Panic(at) if !held.is_empty() => {
                        let reservation = held.swap_remove(at % held.len());
                        let crash = AssertUnwindSafe(|| crash(reservation));
                        let ended = std::panic::catch_unwind(crash);
                        prop_assert!(ended.is_err());
                    }
                    Step::Drop(_) | Step::Panic(_) => {}
                }
                let sum: u64 = held.iter().map(|one| one.amount().0).sum();
                prop_assert_eq!(capacity.reserved(), Amount(sum));
                prop_assert_eq!(capacity.free(), Amount(total - sum));
                prop_assert!(sum <= total);
            }
            drop(held);
            prop_assert_eq!(capacity.reserved(), Amount::ZERO);
            prop_assert_eq!(capacity.free(), Amount(total));
        }
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let capacity = Capacity::new(Amount(10));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let taken = capacity.reserve(Amount(3));
                        assert!(capacity.reserved() <= capacity.total());
                        drop(taken);
                    }
                });
            }
        });
        assert_eq!(capacity.reserved(), Amount::ZERO);
    }
}
