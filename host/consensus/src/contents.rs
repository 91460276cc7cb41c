//! What a block carries, for those who read it: its transactions. Judges nothing but their form.

use commonware_codec::{Copying, DecodeExt as _};
use ledger::{DecodeTransactionError, SignedTransaction};
use types::{Digest, FabricId};

use crate::block::Block;

/// Bytes of a block that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadTransactionsError {
    /// They are none.
    #[error("the bytes are no block: {reason}")]
    Block {
        /// What the codec says.
        reason: String,
    },
    /// A transaction in it is none of this fabric.
    #[error("transaction {index} of the block cannot be read: {source}")]
    Transaction {
        /// Its place in the block.
        index: usize,
        /// What is wrong.
        source: DecodeTransactionError,
    },
}

/// The transactions of a block of this fabric, in order, their signatures checked.
///
/// # Errors
/// [`ReadTransactionsError`]
pub fn read_transactions(
    fabric: &FabricId,
    block: &[u8],
) -> Result<Vec<SignedTransaction>, ReadTransactionsError> {
    let block = decoded(block)?;
    let each = block.transactions.iter().enumerate();
    let read = each.map(|(index, bytes)| {
        SignedTransaction::decode(fabric, bytes)
            .map_err(|source| ReadTransactionsError::Transaction { index, source })
    });
    read.collect()
}

/// Whether a block carries the transaction with this id. Cheaper than reading them: it checks no
/// signatures.
///
/// # Errors
/// [`ReadTransactionsError::Block`]
pub fn carries_transaction(block: &[u8], id: &Digest) -> Result<bool, ReadTransactionsError> {
    let block = decoded(block)?;
    let mut each = block.transactions.iter();
    Ok(each.any(|bytes| Digest::of(bytes) == *id))
}

fn decoded(block: &[u8]) -> Result<Block, ReadTransactionsError> {
    Block::decode(Copying(block)).map_err(|error| ReadTransactionsError::Block {
        reason: error.to_string(),
    })
}
