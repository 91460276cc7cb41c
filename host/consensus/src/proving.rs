//! Joins what convinces a stranger to one [`EntryProof`]: an entry, the block whose state it is in,
//! its certificate, the genesis. Verifies nothing.

use std::time::Duration;

use ledger::{Genesis, StateKey};

use crate::entry_proof::EntryProof;
use crate::error::QueryError;
use crate::handle::Ledger;
use crate::proof::read_block;

/// Looks for a block that has both its state and a certificate of its own, and the pause between
/// two. The newest block gets its certificate within a round; only a state that moves between two
/// questions, or a block that became final through a later one, takes more than one look.
const LOOKS_MAX: usize = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

impl Ledger {
    /// Proof of what `key` holds, or that it holds nothing, after a recent final block, for those
    /// who know only the fabric's id; `None` while no block is final, or the newest ones wait for
    /// their certificates.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn entry_proof(
        &self,
        genesis: &Genesis,
        key: &StateKey,
    ) -> Result<Option<EntryProof>, QueryError> {
        for _ in 0..LOOKS_MAX {
            if let Some(proof) = self.entry_proof_now(genesis, key).await? {
                return Ok(Some(proof));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(None)
    }

    async fn entry_proof_now(
        &self,
        genesis: &Genesis,
        key: &StateKey,
    ) -> Result<Option<EntryProof>, QueryError> {
        let Some(entry) = self.prove(key.clone()).await? else {
            return Ok(None);
        };
        // The block at a height is final, so it cannot be another than the one of the entry.
        let Some(found) = self.finalized(entry.height).await? else {
            return Ok(None);
        };
        let mut handovers = self.handovers();
        handovers.retain(|handover| {
            let header = read_block(genesis, &handover.block);
            header.is_ok_and(|header| header.height < entry.height)
        });
        Ok(found.certificate.map(|certificate| EntryProof {
            genesis: genesis.encode(),
            handovers,
            block: found.block,
            certificate,
            key: key.clone(),
            entry: entry.bytes,
        }))
    }
}
