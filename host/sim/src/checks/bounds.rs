//! Memory is bounded: what waits in a node stays within its named bounds, and a disk grows with its
//! blocks only.

use consensus::{POOL_BYTES_MAX, POOL_TRANSACTIONS_MAX};

use super::Check;
use crate::event::Event;

/// Bytes of files that an empty ledger may have.
const DISK_BASE_BYTES: usize = 4 << 20;
/// Bytes that a round or block of a few small transactions may add, with its certificates, votes,
/// state and index. Whole pages of a dozen files stay below it.
const DISK_BLOCK_BYTES: usize = 64 << 10;

/// Looks at every look.
#[derive(Debug)]
pub(crate) struct Bounds;

impl Check for Bounds {
    fn name(&self) -> &'static str {
        "bounded memory"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Looked {
            node,
            status,
            disk_bytes,
        } = event
        else {
            return Ok(());
        };
        let pool = status.pool;
        if pool.transactions > POOL_TRANSACTIONS_MAX || pool.bytes > POOL_BYTES_MAX {
            return Err(format!("the pool of node {node} holds {pool:?}"));
        }
        let rounds = usize::try_from(status.height.max(status.view)).unwrap_or(usize::MAX);
        let most = DISK_BASE_BYTES.saturating_add(DISK_BLOCK_BYTES.saturating_mul(rounds));
        if *disk_bytes > most {
            return Err(format!(
                "the disk of node {node} holds {disk_bytes} bytes at height {}, round {}",
                status.height, status.view
            ));
        }
        Ok(())
    }
}
