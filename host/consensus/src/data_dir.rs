//! Whose data a directory holds, and that one process at a time uses it. Never knows what the
//! engine keeps inside.
//!
//! `identity` is text, replaced as a whole:
//! ```text
//! hypermesh consensus data
//! format 5
//! fabric blake3:<64 hex digits>
//! node <64 hex digits>
//! voted no|<epoch>
//! ```
//! A node that follows may get a vote and lose it again. What it voted for in an epoch must be here
//! as long as the epoch lasts: who votes again without it may contradict itself. The identity is on disk before the engine writes its first byte, so a vote journal never lacks an owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use types::{FabricId, PublicKey};

use crate::error::StartError;

/// Version of everything below the data directory: partitions, page size, block and state codec.
const FORMAT: u32 = 5;
const TITLE: &str = "hypermesh consensus data";
/// No identity is longer; more bytes than this are not read.
const IDENTITY_BYTES_MAX: u64 = 1024;

/// How partitions of a state that was taken over from peers begin.
const TAKEN_OVER: &str = "taken-over-";
/// How those of the state that a node began with do.
const FIRST_GENERATION: [&str; 4] = ["blocks-", "certificates-", "delivery-", "state-"];

/// Written to see whether the disk takes anything: as much as the engine writes at once.
const PROBE_BYTES: usize = 64 << 10;

/// The engine's partition of votes in `epoch`.
pub(crate) fn votes_partition(epoch: u64) -> String {
    format!("votes-epoch-{epoch}")
}

/// The partition `name` of the files of a generation.
pub(crate) fn generation_partition(generation: u64, name: &str) -> String {
    match generation {
        0 => name.to_owned(),
        later => format!("{TAKEN_OVER}{later}-{name}"),
    }
}

/// The generation that a partition is of; none if it is of all.
fn generation_of(partition: &str) -> Option<u64> {
    match partition.strip_prefix(TAKEN_OVER) {
        Some(rest) => rest.split('-').next()?.parse().ok(),
        None => {
            let mut first = FIRST_GENERATION.iter();
            first.any(|name| partition.starts_with(name)).then_some(0)
        }
    }
}

/// A data directory that this process holds.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    identity: Identity,
    /// Released by the system when the file closes, also after a crash.
    _lock: File,
}

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) fabric: FabricId,
    pub(crate) node: PublicKey,
}

impl DataDir {
    /// Takes the directory for `identity`, creating it when it is new.
    ///
    /// # Errors
    /// [`StartError`] if it is in use or belongs to another identity.
    pub(crate) fn open(root: PathBuf, identity: Identity) -> Result<Self, StartError> {
        fs::create_dir_all(&root).map_err(io_error("create", &root))?;
        let lock = lock(&root)?;
        let dir = Self {
            root,
            identity,
            _lock: lock,
        };
        match dir.read()? {
            None if dir.engine().exists() => {
                return Err(dir.damaged("it is missing, and there is data beside it"));
            }
            None => dir.write(None)?,
            Some((owner, _)) => dir.check(owner)?,
        }
        Ok(dir)
    }

    /// Where the engine keeps its files.
    pub(crate) fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// Remembers that this node has voted in `epoch`, so that it never goes on without its votes.
    pub(crate) fn mark_voted(&self, epoch: u64) -> Result<(), StartError> {
        match self.read()? {
            Some((_, Some(known))) if known >= epoch => Ok(()),
            _ => self.write(Some(epoch)),
        }
    }

    /// Whether this node may vote in `epoch`, the one that is under way as far as the directory
    /// tells.
    ///
    /// # Errors
    /// [`StartError::VotesMissing`] if it voted in this epoch, or a later one, and the votes are
    /// not here.
    pub(crate) fn check_votes(&self, epoch: u64) -> Result<(), StartError> {
        let Some((_, Some(voted))) = self.read()? else {
            return Ok(());
        };
        if voted > epoch || voted == epoch && !self.has_votes(voted) {
            let path = self.engine().join(votes_partition(voted));
            return Err(StartError::VotesMissing { path });
        }
        Ok(())
    }

    /// Whether a journal of votes in `epoch` is here.
    pub(crate) fn has_votes(&self, epoch: u64) -> bool {
        let votes = fs::read_dir(self.engine().join(votes_partition(epoch)));
        votes.is_ok_and(|mut files| files.next().is_some())
    }

    /// Removes the files of other generations than this one: of states that were replaced, or that
    /// were never whole. What cannot be removed stays until the next start.
    pub(crate) fn keep_generation(&self, generation: u64) {
        let Ok(partitions) = fs::read_dir(self.engine()) else {
            return;
        };
        for partition in partitions.flatten() {
            let name = partition.file_name();
            let of = name.to_str().and_then(generation_of);
            if of.is_some_and(|of| of != generation)
                && let Err(error) = fs::remove_dir_all(partition.path())
            {
                tracing::warn!(path = %partition.path().display(), "an old state stays: {error}");
            }
        }
    }

    /// What the disk says to a write, where it refuses one: what the engine says of its end names
    /// neither the disk nor what is wrong with it.
    pub(crate) fn refuses(&self) -> Option<String> {
        let path = self.root.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_all()
        });
        // What is left of it is as small as it is useless, and the next probe replaces it.
        let _ = fs::remove_file(&path);
        let error = written.err()?;
        Some(format!("cannot write to {}: {error}", self.root.display()))
    }

    fn check(&self, owner: Identity) -> Result<(), StartError> {
        let path = self.root.clone();
        if owner.fabric != self.identity.fabric {
            let (found, expected) = (owner.fabric, self.identity.fabric);
            return Err(StartError::OtherFabric {
                path,
                found,
                expected,
            });
        }
        if owner.node != self.identity.node {
            let (found, expected) = (owner.node, self.identity.node);
            return Err(StartError::OtherNode {
                path,
                found,
                expected,
            });
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.root.join("identity")
    }

    fn damaged(&self, why: &'static str) -> StartError {
        StartError::Identity {
            path: self.path(),
            why,
        }
    }

    fn read(&self) -> Result<Option<(Identity, Option<u64>)>, StartError> {
        use io::Read as _;
        let path = self.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let mut text = String::new();
        match file.take(IDENTITY_BYTES_MAX).read_to_string(&mut text) {
            Ok(_) => self.parse(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.damaged("it is not text"))
            }
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    fn parse(&self, text: &str) -> Result<(Identity, Option<u64>), StartError> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(self.damaged("it does not begin with its title"));
        }
        let format = lines.next().and_then(|line| line.strip_prefix("format "));
        let format = format.and_then(|text| text.parse().ok());
        match format {
            Some(FORMAT) => {}
            Some(found) => {
                let path = self.root.clone();
                return Err(StartError::Format {
                    path,
                    found,
                    supported: FORMAT,
                });
            }
            None => return Err(self.damaged("it names no format")),
        }
        let fabric = lines.next().and_then(|line| line.strip_prefix("fabric "));
        let fabric = fabric.and_then(|text| text.parse().ok());
        let node = lines.next().and_then(|line| line.strip_prefix("node "));
        let node = node.and_then(|text| text.parse().ok());
        let voted = match lines.next().and_then(|line| line.strip_prefix("voted ")) {
            Some("no") => Some(None),
            Some(epoch) => epoch.parse().ok().map(Some),
            None => None,
        };
        match (fabric, node, voted) {
            (Some(fabric), Some(node), Some(voted)) => Ok((Identity { fabric, node }, voted)),
            _ => Err(self.damaged("it names no fabric, owner or vote")),
        }
    }

    fn write(&self, voted: Option<u64>) -> Result<(), StartError> {
        let Identity { fabric, node } = self.identity;
        let voted = voted.map_or_else(|| "no".to_owned(), |epoch| epoch.to_string());
        let text =
            format!("{TITLE}\nformat {FORMAT}\nfabric {fabric}\nnode {node}\nvoted {voted}\n");
        let (path, new) = (self.path(), self.root.join("identity.new"));
        replace(&new, &path, &text).map_err(io_error("write", &path))
    }
}

fn lock(root: &Path) -> Result<File, StartError> {
    let path = root.join("lock");
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = open.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse {
            path: root.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

/// Puts `text` at `path` so that a crash leaves the old file or the new one.
fn replace(new: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node: u8) -> Identity {
        Identity {
            fabric: types::Digest::from_bytes([0xab; 32]),
            node: PublicKey::from_bytes([node; 32]),
        }
    }

    /// The format on disk. A change here is a new format.
    #[test]
    fn identity_is_these_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let open = DataDir::open(dir.path().into(), identity(1)).unwrap();
        let text = || fs::read_to_string(dir.path().join("identity")).unwrap();
        let (fabric, node) = ("ab".repeat(32), "01".repeat(32));
        let expected = |voted| {
            format!(
                "hypermesh consensus data\nformat 5\nfabric blake3:{fabric}\nnode {node}\n\
                 voted {voted}\n"
            )
        };
        assert_eq!(text(), expected("no"));
        open.mark_voted(7).unwrap();
        assert_eq!(text(), expected("7"));
    }

    #[test]
    fn another_nodes_votes_are_never_taken() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path().into(), identity(1)).unwrap());
        let refused = DataDir::open(dir.path().into(), identity(2)).unwrap_err();
        let StartError::OtherNode {
            found, expected, ..
        } = refused
        else {
            panic!("{refused}")
        };
        assert_eq!((found, expected), (identity(1).node, identity(2).node));
        assert!(DataDir::open(dir.path().into(), identity(1)).is_ok());
    }

    #[test]
    fn votes_are_needed_as_long_as_their_epoch_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let open = DataDir::open(dir.path().into(), identity(1)).unwrap();
        assert!(open.check_votes(3).is_ok(), "it never voted");
        open.mark_voted(3).unwrap();
        assert!(matches!(
            open.check_votes(3),
            Err(StartError::VotesMissing { .. })
        ));
        assert!(open.check_votes(4).is_ok(), "its epoch is over");
        assert!(matches!(
            open.check_votes(2),
            Err(StartError::VotesMissing { .. })
        ));
        let votes = open.engine().join(votes_partition(3));
        fs::create_dir_all(&votes).unwrap();
        assert!(
            open.check_votes(3).is_err(),
            "an empty folder holds no votes"
        );
        fs::write(votes.join("0"), b"votes").unwrap();
        assert!(open.check_votes(3).is_ok());
        // An older mark does not replace a newer one.
        open.mark_voted(1).unwrap();
        assert!(open.check_votes(2).is_err());
    }

    #[test]
    fn a_start_that_ended_before_the_first_vote_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let open = DataDir::open(dir.path().into(), identity(1)).unwrap();
        fs::create_dir_all(open.engine()).unwrap();
        drop(open);
        assert!(DataDir::open(dir.path().into(), identity(1)).is_ok());
    }
}
