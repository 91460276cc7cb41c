//! Regions of leased memory, here and on other nodes, by `hypermesh:assets/memory`. Operations on a
//! region take effect one after the other, whoever asks for them.

use std::time::Duration;

use crate::host;

/// Why something was not done with memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of bounds, or a text is no capability, in the host's words.
    #[error("{0}")]
    Invalid(String),
    /// The capability does not give it, in the host's words.
    #[error("{0}")]
    Denied(String),
    /// The lease is over, or was given back: what it kept is gone.
    #[error("the lease of the region has ended")]
    Ended,
    /// More than the manifest grants, in the host's words.
    #[error("{0}")]
    Quota(String),
    /// No memory that may be leased has room, in the host's words.
    #[error("{0}")]
    Exhausted(String),
    /// Too much at once, in the host's words: try again later.
    #[error("{0}")]
    Busy(String),
    /// The region's host went away, in the host's words. What was asked may have been done, wholly.
    #[error("{0}")]
    Lost(String),
    /// The node cannot, in the host's words.
    #[error("{0}")]
    Unavailable(String),
}

/// What may be done with bytes of a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// Seeing them.
    pub read: bool,
    /// Replacing them unseen.
    pub write: bool,
    /// Replacing them if they are as expected, and seeing them if they are not.
    pub swap: bool,
}

/// What is given away of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What may be done.
    pub rights: Rights,
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// For how long, at most as long as the lease.
    pub term: Duration,
    /// To the node with this id; none for every member of the fabric.
    pub node: Option<String>,
}

/// What a comparison led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// The bytes were as expected, and are new now.
    Done,
    /// The bytes were these, and still are.
    Found(Vec<u8>),
}

/// What a region takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Its size in bytes.
    pub bytes: u64,
    /// What of it is in the memory of its host.
    pub resident_bytes: u64,
    /// Operations that were asked of it, by whomever.
    pub operations: u64,
    /// How long its lease is certainly live.
    pub left: Duration,
}

/// Memory of this node or of another one. Dropping one that came from [`allocate`] ends its lease.
///
/// ```
/// use std::time::Duration;
/// use hypermesh_guest::memory::{self, Error, Rights, Share, Swapped};
///
/// # hypermesh_guest::mock::reset();
/// let region = memory::allocate(4096, Duration::from_secs(60))?;
/// assert_eq!(region.read(0, 4)?, [0, 0, 0, 0]);
/// region.write(8, b"hello")?;
/// assert_eq!(region.compare_and_swap(8, b"hello", b"HELLO")?, Swapped::Done);
///
/// // Another guest, perhaps on another node, gets a part of it as a text.
/// let capability = region.share(&Share {
///     rights: Rights { read: true, swap: true, ..Rights::default() },
///     offset: 0,
///     bytes: 8,
///     term: Duration::from_secs(10),
///     node: None,
/// })?;
/// let other = memory::open(&capability)?;
/// assert_eq!(other.add(0, 5)?, 5);
/// assert_eq!(region.add(0, 1)?, 6);
/// assert!(matches!(other.write(0, b"x"), Err(Error::Denied(_))));
/// assert!(other.read(8, 5).is_err());
///
/// // Whoever has the lease can have it last longer.
/// region.renew(Duration::from_secs(600))?;
/// assert!(matches!(other.renew(Duration::from_secs(600)), Err(Error::Denied(_))));
///
/// drop(region);
/// assert_eq!(other.read(0, 1), Err(Error::Ended));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Region(host::memory::Region);

/// Leases so many bytes for so long, ten seconds or more, and makes a region of them.
///
/// # Errors
/// [`Error::Quota`], [`Error::Exhausted`], [`Error::Invalid`], and what the host reports.
pub fn allocate(bytes: u64, term: Duration) -> Result<Region, Error> {
    host::memory::allocate(bytes, term).map(Region)
}

/// Opens the region that a capability is for, wherever its host is.
///
/// # Errors
/// [`Error::Denied`], [`Error::Ended`], [`Error::Invalid`], and what the host reports.
pub fn open(capability: &str) -> Result<Region, Error> {
    host::memory::open(capability).map(Region)
}

impl Region {
    /// Bytes from an offset on, at most 65,536 at once.
    ///
    /// # Errors
    /// What the host reports.
    pub fn read(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.read(offset, bytes)
    }

    /// Replaces bytes from an offset on, at most 65,536 at once: all of them or none.
    ///
    /// # Errors
    /// What the host reports.
    pub fn write(&self, offset: u64, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        self.0.write(offset, bytes.as_ref())
    }

    /// Replaces bytes by as many others if they are as expected, 1 to 64 at once.
    ///
    /// # Errors
    /// What the host reports.
    pub fn compare_and_swap(
        &self,
        offset: u64,
        expected: impl AsRef<[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<Swapped, Error> {
        self.0.swap(offset, expected.as_ref(), new.as_ref())
    }

    /// Adds to a number of eight bytes, little endian, by comparing and swapping until nobody came
    /// between; the sum. Wraps around.
    ///
    /// # Errors
    /// What the host reports.
    pub fn add(&self, offset: u64, more: u64) -> Result<u64, Error> {
        let mut known = 0_u64;
        loop {
            let sum = known.wrapping_add(more);
            match self.compare_and_swap(offset, known.to_le_bytes(), sum.to_le_bytes())? {
                Swapped::Done => return Ok(sum),
                Swapped::Found(found) => {
                    let found = found.try_into();
                    known = u64::from_le_bytes(found.unwrap_or_default());
                }
            }
        }
    }

    /// Size of the whole region in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// How long the lease is certainly live.
    ///
    /// # Errors
    /// What the host reports.
    pub fn remaining(&self) -> Result<Duration, Error> {
        Ok(self.usage()?.left)
    }

    /// What the region takes.
    ///
    /// # Errors
    /// What the host reports.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.0.usage()
    }

    /// Has the lease last so long from now on, ten seconds or more.
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is no longer than it lasts anyway, or more than its owner allows;
    /// [`Error::Denied`] for a region that came from [`open`]; and what the host reports.
    pub fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(term)
    }

    /// A capability for a part of the region: whoever has the text can use it and pass parts on.
    ///
    /// # Errors
    /// [`Error::Denied`] if that is more than this region was opened with.
    pub fn share(&self, share: &Share) -> Result<String, Error> {
        self.0.share(share)
    }

    /// Refuses a capability that came from [`Region::share`], and all that were made of it.
    ///
    /// # Errors
    /// [`Error::Denied`] for a region that came from [`open`].
    pub fn revoke(&self, capability: &str) -> Result<(), Error> {
        self.0.revoke(capability)
    }
}
