//! Volumes on leased storage, here and on other nodes, by `hypermesh:assets/volumes`: blocks and files
//! that outlive processes and, where one wants, the guest.

use std::time::Duration;

use crate::host;

/// Why something was not done with a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of bounds, or a text is no capability, in the host's words.
    #[error("{0}")]
    Invalid(String),
    /// The capability does not give it, in the host's words.
    #[error("{0}")]
    Denied(String),
    /// The leases are over, or were given back: what the volume kept is gone.
    #[error("the leases of the volume have ended")]
    Ended,
    /// More than the manifest grants, in the host's words.
    #[error("{0}")]
    Quota(String),
    /// No storage that may be leased has room, in the host's words.
    #[error("{0}")]
    Exhausted(String),
    /// Too much at once, in the host's words: try again later.
    #[error("{0}")]
    Busy(String),
    /// Too many members went away, in the host's words. What was asked may have been done.
    #[error("{0}")]
    Lost(String),
    /// The node cannot, in the host's words.
    #[error("{0}")]
    Unavailable(String),
    /// The volume has no room left, in the host's words.
    #[error("{0}")]
    Full(String),
    /// Another handle writes now, in the host's words.
    #[error("{0}")]
    Fenced(String),
    /// There is no such file, in the host's words.
    #[error("{0}")]
    NotFound(String),
    /// There is such a file, in the host's words.
    #[error("{0}")]
    Exists(String),
}

/// How a volume lies on its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One member has all.
    Single,
    /// So many members, 2 to 7, have a copy each. Fewer than half of them may be away.
    Replicated(u8),
    /// Fourteen members have a part each. Any four may be away.
    Sharded,
}

/// What may be done with a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// Seeing what it holds.
    pub read: bool,
    /// Changing it; needs the right to see.
    pub write: bool,
}

/// What a volume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// What it can hold.
    pub bytes: u64,
    /// What of it is taken, about.
    pub used_bytes: u64,
    /// What is leased for it, of all members together.
    pub leased_bytes: u64,
    /// How many members it has.
    pub members: u32,
    /// How many of them answer now.
    pub reached: u32,
    /// How long the lease that ends first is certainly live.
    pub left: Duration,
}

/// What a repair did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Members that were replaced by others.
    pub members: u32,
    /// Blocks that were looked at.
    pub blocks: u64,
    /// Pieces that were written.
    pub pieces: u64,
    /// Blocks that cannot be read any more.
    pub lost: u64,
}

/// Storage of this node or of others. Dropping one that came from [`allocate`] ends its leases, unless
/// it was kept.
///
/// ```
/// use std::time::Duration;
/// use hypermesh_guest::volume::{self, Error, Layout, Rights};
///
/// # hypermesh_guest::mock::reset();
/// let volume = volume::allocate(1 << 20, Duration::from_secs(60), Layout::Replicated(3))?;
/// volume.write(65_536, b"block 1")?;
/// assert_eq!(volume.read(65_534, 4)?, [0, 0, b'b', b'l']);
///
/// volume.create_file("logs/today")?;
/// volume.write_file("logs/today", 0, b"begun\n")?;
/// volume.rename_file("logs/today", "logs/yesterday")?;
/// assert_eq!(volume.files()?, ["logs/yesterday"]);
/// volume.sync()?;
///
/// // Another guest, perhaps on another node, gets it as a text.
/// let rights = Rights { read: true, write: false };
/// let capability = volume.share(rights, Duration::from_secs(10), None)?;
/// let other = volume::open(&capability)?;
/// assert_eq!(other.read_file("logs/yesterday", 0, 100)?, b"begun\n");
/// assert!(matches!(other.write(0, b"x"), Err(Error::Denied(_))));
///
/// // It can outlive this handle.
/// let later = volume.keep()?;
/// drop(volume);
/// assert_eq!(volume::open(&later)?.file_size("logs/yesterday")?, 6);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Volume(host::volume::Volume);

/// Leases storage for a volume that can hold so many bytes for so long, ten seconds or more.
///
/// # Errors
/// [`Error::Quota`], [`Error::Exhausted`], [`Error::Invalid`], and what the host reports.
pub fn allocate(bytes: u64, term: Duration, layout: Layout) -> Result<Volume, Error> {
    host::volume::allocate(bytes, term, layout).map(Volume)
}

/// Opens the volume that a capability is for, wherever its members are.
///
/// # Errors
/// [`Error::Denied`], [`Error::Ended`], [`Error::Invalid`], and what the host reports.
pub fn open(capability: &str) -> Result<Volume, Error> {
    host::volume::open(capability).map(Volume)
}

impl Volume {
    /// Bytes from an offset on, at most 1,048,576 at once; zeros where nothing was written.
    ///
    /// # Errors
    /// What the host reports.
    pub fn read(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.read(offset, bytes)
    }

    /// Replaces bytes from an offset on, at most 1,048,576 at once. Each block of 65,536 wholly or not.
    ///
    /// # Errors
    /// What the host reports.
    pub fn write(&self, offset: u64, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        self.0.write(offset, bytes.as_ref())
    }

    /// Makes durable what was written before.
    ///
    /// # Errors
    /// What the host reports.
    pub fn sync(&self) -> Result<(), Error> {
        self.0.sync()
    }

    /// Makes an empty file. A name has parts of 1 to 255 bytes with `/` between, 1,024 in all.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Invalid`], and what the host reports.
    pub fn create_file(&self, name: &str) -> Result<(), Error> {
        self.0.create_file(name)
    }

    /// Bytes of a file from an offset on, at most 1,048,576 at once; fewer where it ends.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the host reports.
    pub fn read_file(&self, name: &str, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.read_file(name, offset, bytes)
    }

    /// Replaces bytes of a file from an offset on, at most 1,048,576 at once; it grows if need be.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the host reports.
    pub fn write_file(
        &self,
        name: &str,
        offset: u64,
        bytes: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.0.write_file(name, offset, bytes.as_ref())
    }

    /// How many bytes a file has.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the host reports.
    pub fn file_size(&self, name: &str) -> Result<u64, Error> {
        self.0.file_size(name)
    }

    /// Cuts a file, or makes it longer with zeros.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the host reports.
    pub fn set_file_size(&self, name: &str, bytes: u64) -> Result<(), Error> {
        self.0.set_file_size(name, bytes)
    }

    /// Some names of files after one, or from the first on, and whether there are more.
    ///
    /// # Errors
    /// What the host reports.
    pub fn list_files(&self, after: Option<&str>) -> Result<(Vec<String>, bool), Error> {
        self.0.list_files(after)
    }

    /// The names of all files, in the order of their bytes.
    ///
    /// # Errors
    /// What the host reports.
    pub fn files(&self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        loop {
            let (names, more) = self.list_files(all.last().map(String::as_str))?;
            let went_on = !names.is_empty();
            all.extend(names);
            if !(more && went_on) {
                return Ok(all);
            }
        }
    }

    /// Gives a file another name, which no other file has.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`], and what the host reports.
    pub fn rename_file(&self, name: &str, to: &str) -> Result<(), Error> {
        self.0.rename_file(name, to)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the host reports.
    pub fn remove_file(&self, name: &str) -> Result<(), Error> {
        self.0.remove_file(name)
    }

    /// What the volume takes.
    ///
    /// # Errors
    /// What the host reports.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.0.usage()
    }

    /// How long the lease that ends first is certainly live.
    ///
    /// # Errors
    /// What the host reports.
    pub fn remaining(&self) -> Result<Duration, Error> {
        Ok(self.usage()?.left)
    }

    /// Has the leases last so long from now on, ten seconds or more.
    ///
    /// # Errors
    /// [`Error::Denied`] for a volume that came from [`open`], and what the host reports.
    pub fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(term)
    }

    /// A capability for the volume, for so long, for the node with this id or for every member of the
    /// fabric: whoever has the text can use it and pass it on.
    ///
    /// # Errors
    /// [`Error::Denied`] if that is more than this volume was opened with.
    pub fn share(
        &self,
        rights: Rights,
        term: Duration,
        node: Option<&str>,
    ) -> Result<String, Error> {
        self.0.share(rights, term, node)
    }

    /// Refuses a capability that came from [`Volume::share`], and all that were made of it.
    ///
    /// # Errors
    /// [`Error::Denied`] for a volume that came from [`open`] by such a capability.
    pub fn revoke(&self, capability: &str) -> Result<(), Error> {
        self.0.revoke(capability)
    }

    /// Has the leases go on until their terms are over, whatever becomes of this handle; the capability
    /// to use the volume again.
    ///
    /// # Errors
    /// [`Error::Denied`] for a volume that came from [`open`], and what the host reports.
    pub fn keep(&self) -> Result<String, Error> {
        self.0.keep()
    }

    /// Replaces members that are gone by others, and writes what they had.
    ///
    /// # Errors
    /// What the host reports.
    pub fn repair(&self) -> Result<Repaired, Error> {
        self.0.repair()
    }
}
