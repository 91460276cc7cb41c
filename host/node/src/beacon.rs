//! Beacons: numbers that nobody knows before a block is final, the same on every node. Knows not
//! what is drawn with them.

use consensus::{QueryError, VerifyFinalizedError, read_block};
use proofs::beacon_of;
use types::Digest;

use crate::shared::Shared;

/// Why there is no beacon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeaconError {
    /// This node has no final block there: not yet, or not any more.
    #[error("there is no final block at height {0} here")]
    NoBlock(u64),
    /// The ledger does not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// What it stored is no block.
    #[error(transparent)]
    Block(#[from] VerifyFinalizedError),
}

/// The beacon of the final block at `height`.
///
/// # Errors
/// [`BeaconError`].
pub(crate) async fn beacon(shared: &Shared, height: u64) -> Result<Digest, BeaconError> {
    Ok(beacon_of(&block_digest(shared, height).await?))
}

/// The digest of the final block at `height`.
///
/// # Errors
/// [`BeaconError`].
pub(crate) async fn block_digest(shared: &Shared, height: u64) -> Result<Digest, BeaconError> {
    let found = shared.ledger.finalized(height).await?;
    let found = found.ok_or(BeaconError::NoBlock(height))?;
    let header = read_block(&shared.genesis, &found.block)?;
    match header.height == height {
        true => Ok(Digest::from_bytes(header.block_digest)),
        false => Err(BeaconError::NoBlock(height)),
    }
}
