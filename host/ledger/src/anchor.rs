//! Anchors: digests of recent blocks, so that rules can tell what was signed lately and draw what
//! nobody knew before. Knows no operation.

use serde::{Deserialize, Serialize};
use types::Digest;

use crate::execute::BlockContext;
use crate::key::StateKey;
use crate::record::Record;
use crate::state::{Draft, NotLoaded, StateView};

/// Blocks whose digests the state keeps: as many as a proof of time may look back.
pub const ANCHORS: u64 = proofs::ANCHOR_BLOCKS_MAX;

/// A block that is final since the next one is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorRecord {
    /// Its height.
    pub height: u64,
    /// Its digest.
    pub digest: Digest,
}

impl Record for AnchorRecord {}

/// Writes down the block before this one, in the place of the one that is too old now.
pub(crate) fn keep<V: StateView>(draft: &mut Draft<'_, V>, block: &BlockContext) {
    let height = block.height.saturating_sub(1);
    let digest = block.parent;
    draft.write(StateKey::anchor(height), &AnchorRecord { height, digest });
}

/// The digest of the block at `height`, if it is one of the last [`ANCHORS`].
pub(crate) fn digest_at<V: StateView>(
    draft: &Draft<'_, V>,
    height: u64,
) -> Result<Option<Digest>, NotLoaded> {
    let found: Option<AnchorRecord> = draft.read(&StateKey::anchor(height))?;
    let found = found.filter(|anchor| anchor.height == height);
    Ok(found.map(|anchor| anchor.digest))
}
