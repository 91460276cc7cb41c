//! Calls about the ledger: blocks, transactions, entries, proofs.

use bytes::Bytes;
use http::Method;
use types::Digest;

use crate::client::{Client, ClientError, LineReader, read_whole};
use crate::ledger::{
    BlockContents, BlockList, BlocksQuery, EntryStatus, FinalTransaction, KeyList, LedgerStatus,
    WatchQuery, WatchedBlock,
};

impl Client {
    /// How the node's ledger stands.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn ledger(&self) -> Result<LedgerStatus, ClientError> {
        self.get("/v1/ledger").await
    }

    /// Some blocks in a row.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn blocks(&self, query: &BlocksQuery) -> Result<BlockList, ClientError> {
        let mut path = "/v1/ledger/blocks?".to_owned();
        if let Some(from) = query.from {
            path.push_str(&format!("from={from}&"));
        }
        if let Some(limit) = query.limit {
            path.push_str(&format!("limit={limit}"));
        }
        self.get(&path).await
    }

    /// What is in a block; `block` is its height or its digest.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the node does not have it.
    pub async fn block_contents(&self, block: &str) -> Result<BlockContents, ClientError> {
        let block = encoded(block);
        self.get(&format!("/v1/ledger/contents/{block}")).await
    }

    /// A final transaction.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is in no block that the node looks through.
    pub async fn transaction(&self, id: &Digest) -> Result<FinalTransaction, ClientError> {
        self.get(&format!("/v1/ledger/transactions/{id}")).await
    }

    /// An entry of the state, by its key as text.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is not there.
    pub async fn entry(&self, key: &str) -> Result<EntryStatus, ClientError> {
        self.get(&format!("/v1/ledger/entries?key={}", encoded(key)))
            .await
    }

    /// The keys that begin with `prefix`.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn keys(&self, prefix: &str) -> Result<KeyList, ClientError> {
        self.get(&format!("/v1/ledger/keys?prefix={}", encoded(prefix)))
            .await
    }

    /// Proof of what a key holds, or that it holds nothing: a file that stands by itself.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn entry_proof(&self, key: &str) -> Result<Bytes, ClientError> {
        let path = format!("/v1/ledger/proof?key={}", encoded(key));
        let answer = self.send(Method::GET, &path, "", Bytes::new()).await?;
        read_whole(answer).await
    }

    /// Final blocks as they come.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the node does not have the first one any more.
    pub async fn watch(&self, query: &WatchQuery) -> Result<LineReader<WatchedBlock>, ClientError> {
        let mut path = "/v1/ledger/watch?".to_owned();
        if let Some(from) = query.from {
            path.push_str(&format!("from={from}&"));
        }
        if let Some(prefix) = &query.prefix {
            path.push_str(&format!("prefix={}", encoded(prefix)));
        }
        let answer = self.send(Method::GET, &path, "", Bytes::new()).await?;
        Ok(LineReader::new(answer))
    }
}

/// Text as part of a path or a query: all but what needs no escape (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_way_through_a_query() {
        assert_eq!(encoded("deployment/web"), "deployment%2Fweb");
        assert_eq!(
            encoded("route/*/a b&\\x00é"),
            "route%2F%2A%2Fa%20b%26%5Cx00%C3%A9"
        );
    }
}
