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

/// Who said that a member is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// A ticket, or the operator who joined this node; the member answered there.
    Ticket,
    /// The member itself, by a signed record.
    Record,
    /// Somebody on the local network.
    Lan,
}

impl Source {
    /// In one word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Record => "record",
            Self::Lan => "lan",
        }
    }
}

/// One address of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub(crate) struct Known {
    pub(crate) address: SocketAddr,
    pub(crate) source: Source,
}

/// An address as files have it: books from before there were sources hold bare ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bare(SocketAddr),
    Sourced { address: SocketAddr, source: Source },
}

impl From<Written> for Known {
    fn from(written: Written) -> Self {
        match written {
            Written::Bare(address) => Self {
                address,
                source: Source::Ticket,
            },
            Written::Sourced { address, source } => Self { address, source },
        }
    }
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// Where a ticket said that members are; used while nobody else is known.
    #[serde(default)]
    entrances: Vec<SocketAddr>,
    /// Addresses of members, the best first.
    #[serde(default)]
    peers: BTreeMap<NodeId, Vec<Known>>,
    /// What an operator allows to be sent to peers, bytes per second.
    #[serde(default)]
    caps: BTreeMap<NodeId, u64>,
}

impl Content {
    /// The addresses of a peer, unless too many peers are remembered.
    fn of(&mut self, peer: NodeId) -> Option<&mut Vec<Known>> {
        let full = self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer);
        (!full).then(|| self.peers.entry(peer).or_default())
    }
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

    pub(crate) fn peers(&self) -> impl Iterator<Item = &NodeId> {
        self.content.peers.keys()
    }

    /// Where a member may be, the best first.
    pub(crate) fn of(&self, peer: &NodeId) -> &[Known] {
        self.content.peers.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Remembers where a ticket said that members are.
    pub(crate) fn enter(&mut self, entrances: &[SocketAddr]) {
        self.change(|content| content.entrances = entrances.to_vec());
    }

    /// Remembers that `peer` answers at `address`, now the best of its addresses.
    pub(crate) fn note(&mut self, peer: NodeId, address: SocketAddr) {
        self.change(|content| {
            let Some(known) = content.of(peer) else {
                return;
            };
            let source = known.iter().find(|known| known.address == address);
            let source = source.map_or(Source::Ticket, |known| known.source);
            known.retain(|known| known.address != address);
            known.insert(0, Known { address, source });
            known.truncate(ADDRESSES_MAX);
        });
    }

    /// Remembers where `source` says that peers are, instead of what it said before. A member's own
    /// word stands above what others said.
    pub(crate) fn learn(&mut self, source: Source, said: &[(NodeId, Vec<SocketAddr>)]) {
        self.change(|content| {
            for (peer, addresses) in said {
                let Some(known) = content.of(*peer) else {
                    continue;
                };
                known.retain(|known| known.source != source || addresses.contains(&known.address));
                if source == Source::Record {
                    let confirmed = known.iter_mut();
                    let confirmed = confirmed.filter(|known| addresses.contains(&known.address));
                    confirmed.for_each(|known| known.source = source);
                }
                let is_news =
                    |address: &&SocketAddr| !known.iter().any(|known| known.address == **address);
                let news: Vec<_> = addresses.iter().filter(is_news).copied().collect();
                // Behind the one that answered last, before those that may be out of date.
                let at = known.len().min(1);
                let news = news.into_iter().map(|address| Known { address, source });
                known.splice(at..at, news);
                known.truncate(ADDRESSES_MAX);
            }
            content.peers.retain(|_, known| !known.is_empty());
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
        let first = again.of(&PublicKey::from_bytes([0; 32])).iter();
        let first: Vec<_> = first.map(|known| known.address).collect();
        assert_eq!(first, [address(10), address(11)]);
        fs::write(&path, "{").unwrap();
        assert_eq!(Book::open(path).peers().count(), 0);
    }
    #[test]
    fn what_a_source_says_replaces_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let (peer, other) = (
            PublicKey::from_bytes([1; 32]),
            PublicKey::from_bytes([2; 32]),
        );
        // As it was written before addresses had sources.
        fs::write(
            &path,
            format!("{{\"peers\": {{\"{peer}\": [\"192.0.2.1:1\"]}}}}"),
        )
        .unwrap();
        let mut book = Book::open(path.clone());
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let said = |book: &Book, peer| {
            let known = book.of(peer).iter();
            let known = known.map(|known| (known.address.port(), known.source));
            known.collect::<Vec<_>>()
        };
        book.learn(Source::Record, &[(peer, vec![address(2), address(3)])]);
        book.learn(Source::Lan, &[(peer, vec![address(3), address(4)])]);
        let (ticket, record, lan) = (Source::Ticket, Source::Record, Source::Lan);
        assert_eq!(
            said(&book, &peer),
            [(1, ticket), (4, lan), (2, record), (3, record)]
        );
        book.note(peer, address(3));
        book.learn(Source::Record, &[(peer, vec![address(5)]), (other, vec![])]);
        let expected = [(1, ticket), (5, record), (4, lan)];
        assert_eq!(said(&book, &peer), expected);
        let again = Book::open(path);
        assert_eq!(said(&again, &peer), expected);
        book.learn(Source::Record, &[(peer, vec![address(4)])]);
        assert_eq!(said(&book, &peer), [(1, ticket), (4, record)]);
        assert_eq!(again.peers().collect::<Vec<_>>(), [&peer]);
    }
}
