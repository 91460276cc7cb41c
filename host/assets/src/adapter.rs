//! What every kind of asset can do: be measured, reserved, kept to what was reserved, compared with
//! what was registered. Knows no kind in particular.

use std::io;

use types::{Amount, AssetFacts, AssetType, FactTextError};

use crate::bucket::TokenBucket;
use crate::capacity::{Capacity, ReleaseError, Reservation, ReserveError};
use crate::health::{Health, Tolerances, judge};
use crate::quota_directory::{OpenQuotaError, QuotaDirectory};
use crate::storage::MeasureStorageError;
use crate::system::SystemFileError;

/// One asset of this machine.
pub trait Adapter: Send + Sync {
    /// What kind of asset it is.
    fn asset_type(&self) -> AssetType;

    /// Measures it now. This may take a second and block.
    ///
    /// # Errors
    /// [`MeasureError`] if it is not there or the system does not say.
    fn measure(&self) -> Result<AssetFacts, MeasureError>;

    /// The account of what is given away.
    fn capacity(&self) -> &Capacity;

    /// What holds a holder to its reservation, where this crate has it.
    ///
    /// # Errors
    /// [`EnforceError`] if something else enforces this kind of asset, nothing can, or it failed.
    fn enforce(&self, reservation: &Reservation) -> Result<Enforcement, EnforceError>;

    /// What there could be at most if nobody used any, where that is known.
    ///
    /// # Errors
    /// [`MeasureError`] if the system does not say.
    fn ceiling(&self) -> Result<Option<Amount>, MeasureError> {
        Ok(None)
    }

    /// Takes `amount`, all of it or nothing, until what is returned is dropped or released.
    ///
    /// # Errors
    /// [`ReserveError`] if that is nothing, or more than is free.
    fn reserve(&self, amount: Amount) -> Result<Reservation, ReserveError> {
        self.capacity().reserve(amount)
    }

    /// Gives back what was taken, as dropping it does, and says whether it was of this asset.
    ///
    /// # Errors
    /// [`ReleaseError`] if it was of another one, to which it went.
    fn release(&self, reservation: Reservation) -> Result<(), ReleaseError> {
        let owned = self.capacity().owns(&reservation);
        drop(reservation);
        if owned { Ok(()) } else { Err(ReleaseError) }
    }

    /// What is given away, of what there is.
    fn usage(&self) -> Usage {
        Usage {
            reserved: self.capacity().reserved(),
            total: self.capacity().total(),
        }
    }

    /// Measures again and compares with what was `registered`.
    ///
    /// # Errors
    /// [`HealthError`] if it cannot be measured for another reason than that it is gone.
    fn health(
        &self,
        registered: &AssetFacts,
        tolerances: &Tolerances,
    ) -> Result<Health, HealthError> {
        let of = self.asset_type();
        let found = match self.measure() {
            Ok(found) => found,
            Err(MeasureError::Absent { why }) if registered.asset_type() == of => {
                return Ok(Health::Gone { why });
            }
            Err(error) => return Err(error.into()),
        };
        let ceiling = self.ceiling()?;
        let reserved = self.capacity().reserved();
        let registered_type = registered.asset_type();
        judge(registered, &found, reserved, ceiling, tolerances).ok_or(HealthError::OtherType {
            registered: registered_type,
            of,
        })
    }
}

/// How much of an asset is given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What is reserved.
    pub reserved: Amount,
    /// What there is.
    pub total: Amount,
}

/// What holds a holder to its reservation.
#[derive(Debug)]
pub enum Enforcement {
    /// Files go here, and no more than fit.
    Directory(QuotaDirectory),
    /// Bytes are sent only as this lets them.
    Rate(TokenBucket),
}

/// An asset that was not measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// This machine has none.
    #[error("absent: {why}")]
    Absent {
        /// How that is known.
        why: String,
    },
    /// A file of the kernel says something else than it should.
    #[error(transparent)]
    System(#[from] SystemFileError),
    /// The system did not say which processors may be used.
    #[error("cannot ask which processors may be used: {0}")]
    Affinity(#[source] io::Error),
    /// A device has a name that cannot be registered.
    #[error("a device has a name that cannot be registered: {0}")]
    Named(#[from] FactTextError),
    /// A disk was not measured.
    #[error(transparent)]
    Storage(#[from] MeasureStorageError),
}

/// A reservation that nothing here holds anybody to.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// Not in this crate.
    #[error("{asset_type} is not enforced here: {by}")]
    Unsupported {
        /// The kind of asset.
        asset_type: AssetType,
        /// Who does, if anybody.
        by: &'static str,
    },
    /// The reservation is of another asset.
    #[error("the reservation is of another asset than this {asset_type}")]
    Foreign {
        /// The kind of this asset.
        asset_type: AssetType,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] OpenQuotaError),
}

/// An asset whose health is unknown.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// What was registered is of another type.
    #[error("{registered} was registered, and this is {of}")]
    OtherType {
        /// What was registered.
        registered: AssetType,
        /// What this asset is.
        of: AssetType,
    },
}
