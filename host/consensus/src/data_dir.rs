//! Whose data a directory holds, and that one process at a time uses it. Never knows what the
//! engine keeps inside.
//!
//! `identity` is text, replaced as a whole:
//! ```text
//! hypermesh consensus data
//! format 1
//! fabric blake3:<64 hex digits>
//! validator|follower <64 hex digits>
//! voted no|yes
//! ```
//! A follower never votes. Its directory never becomes a validator's, nor the other way around:
//! the one lacks the votes of its key, the other must keep them.
//! It is on disk before the engine writes its first byte, so a vote journal never lacks an owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use types::{FabricId, PublicKey};

use crate::error::StartError;
use crate::handle::Role;

/// Version of everything below the data directory: partitions, page size, block and state codec.
const FORMAT: u32 = 1;
const TITLE: &str = "hypermesh consensus data";
/// No identity is longer; more bytes than this are not read.
const IDENTITY_BYTES_MAX: u64 = 1024;

/// The engine's partition of votes, in the one epoch that there is.
pub(crate) const VOTES_PARTITION: &str = "votes-epoch-0";

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
    pub(crate) role: Role,
    pub(crate) node: PublicKey,
}

impl DataDir {
    /// Takes the directory for `identity`, creating it when it is new.
    ///
    /// # Errors
    /// [`StartError`] if it is in use, belongs to another identity, or lacks what this validator
    /// once wrote.
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
            None => dir.write(false)?,
            Some((owner, voted)) => dir.check(owner, voted)?,
        }
        Ok(dir)
    }

    /// Where the engine keeps its files.
    pub(crate) fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// Remembers that this validator has voted, so that it never goes on without its votes.
    pub(crate) fn mark_voted(&self) -> Result<(), StartError> {
        match self.read()? {
            Some((_, true)) => Ok(()),
            _ => self.write(true),
        }
    }

    fn check(&self, owner: Identity, voted: bool) -> Result<(), StartError> {
        let path = self.root.clone();
        if owner.fabric != self.identity.fabric {
            let (found, expected) = (owner.fabric, self.identity.fabric);
            return Err(StartError::OtherFabric {
                path,
                found,
                expected,
            });
        }
        if owner.role != self.identity.role {
            let (found, expected) = (owner.role, self.identity.role);
            return Err(StartError::OtherRole {
                path,
                found,
                expected,
            });
        }
        if owner.node != self.identity.node {
            let (found, expected) = (owner.node, self.identity.node);
            return Err(match owner.role {
                Role::Validator => StartError::OtherValidator {
                    path,
                    found,
                    expected,
                },
                Role::Follower => StartError::OtherFollower {
                    path,
                    found,
                    expected,
                },
            });
        }
        let votes = self.engine().join(VOTES_PARTITION);
        let any = |dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some());
        if voted && !any(&votes) {
            return Err(StartError::VotesMissing { path: votes });
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

    fn read(&self) -> Result<Option<(Identity, bool)>, StartError> {
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

    fn parse(&self, text: &str) -> Result<(Identity, bool), StartError> {
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
        let owner = lines.next().and_then(parse_owner);
        let voted = match lines.next().and_then(|line| line.strip_prefix("voted ")) {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        };
        match (fabric, owner, voted) {
            (Some(fabric), Some((role, node)), Some(voted)) => {
                Ok((Identity { fabric, role, node }, voted))
            }
            _ => Err(self.damaged("it names no fabric, owner or vote")),
        }
    }

    fn write(&self, voted: bool) -> Result<(), StartError> {
        let Identity { fabric, role, node } = self.identity;
        let voted = if voted { "yes" } else { "no" };
        let text =
            format!("{TITLE}\nformat {FORMAT}\nfabric {fabric}\n{role} {node}\nvoted {voted}\n");
        let (path, new) = (self.path(), self.root.join("identity.new"));
        replace(&new, &path, &text).map_err(io_error("write", &path))
    }
}

/// The line that says whose directory it is.
fn parse_owner(line: &str) -> Option<(Role, PublicKey)> {
    let (role, node) = line.split_once(' ')?;
    let role = [Role::Validator, Role::Follower]
        .into_iter()
        .find(|known| known.to_string() == role)?;
    Some((role, node.parse().ok()?))
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
            role: Role::Validator,
            node: PublicKey::from_bytes([node; 32]),
        }
    }

    fn follower(node: u8) -> Identity {
        Identity {
            role: Role::Follower,
            ..identity(node)
        }
    }

    /// The format on disk. A change here is a new format.
    #[test]
    fn identity_is_these_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let open = DataDir::open(dir.path().into(), identity(1)).unwrap();
        open.mark_voted().unwrap();
        let text = fs::read_to_string(dir.path().join("identity")).unwrap();
        let (fabric, validator) = ("ab".repeat(32), "01".repeat(32));
        let expected = format!(
            "hypermesh consensus data\nformat 1\nfabric blake3:{fabric}\nvalidator {validator}\n\
             voted yes\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn another_validators_votes_are_never_taken() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path().into(), identity(1)).unwrap());
        let refused = DataDir::open(dir.path().into(), identity(2)).unwrap_err();
        let StartError::OtherValidator {
            found, expected, ..
        } = refused
        else {
            panic!("{refused}")
        };
        assert_eq!((found, expected), (identity(1).node, identity(2).node));
        assert!(DataDir::open(dir.path().into(), identity(1)).is_ok());
    }

    #[test]
    fn a_followers_directory_says_so_and_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path().into(), follower(1)).unwrap());
        let text = fs::read_to_string(dir.path().join("identity")).unwrap();
        let node = "01".repeat(32);
        assert!(
            text.ends_with(&format!("follower {node}\nvoted no\n")),
            "{text}"
        );
        let open = |identity| DataDir::open(dir.path().into(), identity);
        assert!(matches!(
            open(identity(1)),
            Err(StartError::OtherRole {
                found: Role::Follower,
                ..
            })
        ));
        assert!(matches!(
            open(follower(2)),
            Err(StartError::OtherFollower { .. })
        ));
        assert!(open(follower(1)).is_ok());
    }

    #[test]
    fn a_validators_directory_never_becomes_a_followers() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path().into(), identity(1)).unwrap());
        let refused = DataDir::open(dir.path().into(), follower(1));
        assert!(matches!(
            refused,
            Err(StartError::OtherRole {
                found: Role::Validator,
                ..
            })
        ));
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
