//! The address book: where members were reached, kept between starts. Losing it costs a ticket or a
//! flag, never trust: whoever answers is judged as ever.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use types::NodeId;

use crate::data_dir::write_durably;

/// Members that are remembered; more are found through these.
const PEERS_MAX: usize = 64;
/// Addresses of one member that are remembered.
const ADDRESSES_MAX: usize = 8;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// Where a ticket said that members are; used while nobody else is known.
    #[serde(default)]
    entrances: Vec<SocketAddr>,
    /// Addresses of members, the best first.
    #[serde(default)]
    peers: BTreeMap<NodeId, Vec<SocketAddr>>,
    /// What an operator allows to be sent to peers, bytes per second.
    #[serde(default)]
    caps: BTreeMap<NodeId, u64>,
}

/// The book and its file.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    content: Content,
}

impl Book {
    /// Reads the book; a missing or damaged one is empty.
    pub(crate) fn open(path: PathBuf) -> Self {
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(
                    "{} is damaged ({error}): peers are forgotten",
                    path.display()
                );
                Content::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!("cannot read {}: {error}", path.display());
                }
                Content::default()
            }
        };
        Self { path, content }
    }

    pub(crate) fn entrances(&self) -> &[SocketAddr] {
        &self.content.entrances
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = (&NodeId, &Vec<SocketAddr>)> {
        self.content.peers.iter()
    }

    /// Remembers where a ticket said that members are.
    pub(crate) fn enter(&mut self, entrances: &[SocketAddr]) {
        self.change(|content| content.entrances = entrances.to_vec());
    }

    /// Remembers that `peer` answers at `address`, now the best of its addresses.
    pub(crate) fn note(&mut self, peer: NodeId, address: SocketAddr) {
        self.change(|content| {
            let full = content.peers.len() >= PEERS_MAX;
            if full && !content.peers.contains_key(&peer) {
                return;
            }
            let addresses = content.peers.entry(peer).or_default();
            addresses.retain(|known| *known != address);
            addresses.insert(0, address);
            addresses.truncate(ADDRESSES_MAX);
        });
    }

    pub(crate) fn caps(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.content.caps.iter().map(|(peer, rate)| (*peer, *rate))
    }

    /// Remembers a cap, or that there is none.
    pub(crate) fn cap(&mut self, peer: NodeId, bytes_per_s: Option<u64>) {
        self.change(|content| match bytes_per_s {
            // An operator of this very node sets them; the bound is against accidents.
            Some(rate) if content.caps.len() < PEERS_MAX || content.caps.contains_key(&peer) => {
                content.caps.insert(peer, rate);
            }
            Some(_) => {}
            None => {
                content.caps.remove(&peer);
            }
        });
    }

    /// Forgets a node that is no member any more.
    pub(crate) fn forget(&mut self, peer: &NodeId) {
        self.change(|content| {
            content.peers.remove(peer);
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut Content)) {
        let before = self.content.clone();
        change(&mut self.content);
        if self.content == before {
            return;
        }
        let text = serde_json::to_vec_pretty(&self.content);
        let written = text
            .map_err(|error| error.to_string())
            .and_then(|text| write_durably(&self.path, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!("the address book is not kept: {error}");
        }
    }
}

/// Reads a book's bytes, then what it would write of them, which must be the same.
pub(crate) fn read_again(bytes: &[u8]) {
    let Ok(content) = serde_json::from_slice::<Content>(bytes) else {
        return;
    };
    let written = serde_json::to_vec_pretty(&content).unwrap_or_default();
    let again = serde_json::from_slice(&written).ok();
    assert_eq!(
        again,
        Some(content),
        "a book reads differently than it was written"
    );
}

#[cfg(test)]
mod tests {
    use types::PublicKey;

    use super::*;

    #[test]
    fn the_book_is_kept_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut book = Book::open(path.clone());
        book.enter(&[address(1)]);
        for peer in 0..100 {
            let peer = PublicKey::from_bytes([peer; 32]);
            for port in [10, 11, 10] {
                book.note(peer, address(port));
            }
        }
        for port in 0..100 {
            book.note(PublicKey::from_bytes([1; 32]), address(port));
        }
        book.forget(&PublicKey::from_bytes([2; 32]));
        let again = Book::open(path.clone());
        assert_eq!(again.content, book.content);
        assert_eq!(again.peers().count(), PEERS_MAX - 1);
        assert_eq!(again.entrances(), [address(1)]);
        let first = again.peers().next().unwrap();
        assert_eq!(first.1.as_slice(), [address(10), address(11)]);
        fs::write(&path, "{").unwrap();
        assert_eq!(Book::open(path).peers().count(), 0);
    }
}
