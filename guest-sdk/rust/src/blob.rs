//! Objects of any size, read and written as streams, by `wasi:blobstore`. For small values see
//! [`keyvalue`](crate::keyvalue).

use std::io::{self, Read, Write};
use std::ops::RangeInclusive;

use crate::host;

/// Bytes that one step of a copy moves: the memory that an object of any size needs.
const STEP_BYTES: usize = 64 * 1024;

/// Why a store of objects said no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In the host's words: nothing of that name, a full store, access denied.
    #[error("{0}")]
    Host(String),
    /// What was to be stored could not be read.
    #[error("cannot read what is to be stored: {0}")]
    Source(#[source] io::Error),
    /// The stream to or from the host broke off.
    #[error("the stream of the object broke off: {0}")]
    Stream(#[source] io::Error),
}

/// A container of named objects.
///
/// ```
/// use std::io::Read as _;
/// use hypermesh_guest::blob::Container;
///
/// # hypermesh_guest::mock::reset();
/// let files = Container::open("files")?;
/// files.write("a.txt", &b"some bytes"[..])?;
/// let mut text = String::new();
/// files.read("a.txt")?.read_to_string(&mut text).unwrap();
/// assert_eq!(text, "some bytes");
/// assert_eq!((files.size("a.txt")?, files.list()?), (10, vec!["a.txt".to_owned()]));
/// files.delete("a.txt")?;
/// assert!(!files.exists("a.txt")?);
/// # Ok::<(), hypermesh_guest::blob::Error>(())
/// ```
#[derive(Debug)]
pub struct Container(host::blob::Container);

impl Container {
    /// The container `name`, made empty if it is not there.
    ///
    /// # Errors
    /// What the host reports.
    pub fn open(name: &str) -> Result<Self, Error> {
        host::blob::open(name).map(Self)
    }

    /// Reads an object from its begin, as it arrives.
    ///
    /// # Errors
    /// What the host reports, for instance that it is not there.
    pub fn read(&self, object: &str) -> Result<Reader, Error> {
        match self.size(object)? {
            0 => Ok(Reader(Box::new(io::empty()))),
            size => self.read_range(object, 0..=size - 1),
        }
    }

    /// Reads the bytes at `range` of an object, as they arrive.
    ///
    /// # Errors
    /// What the host reports.
    pub fn read_range(&self, object: &str, range: RangeInclusive<u64>) -> Result<Reader, Error> {
        let reader = self.0.read(object, *range.start(), *range.end())?;
        Ok(Reader(reader))
    }

    /// Stores all that `source` yields as `object`, in place of what was there. Needs the memory of
    /// one step of the copy, whatever the size. Returns how many bytes that was.
    ///
    /// # Errors
    /// [`Error::Source`] if `source` fails: nothing is stored then. Else what the host reports.
    pub fn write(&self, object: &str, mut source: impl Read) -> Result<u64, Error> {
        let mut bytes = 0;
        self.0.write(object, &mut |target: &mut dyn Write| {
            let mut step = vec![0; STEP_BYTES];
            loop {
                let length = match source.read(&mut step) {
                    Ok(0) => return Ok(()),
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(Error::Source(error)),
                };
                let read = step.get(..length).unwrap_or_default();
                target.write_all(read).map_err(Error::Stream)?;
                bytes += length as u64;
            }
        })?;
        Ok(bytes)
    }

    /// Length of an object in bytes.
    ///
    /// # Errors
    /// What the host reports, for instance that it is not there.
    pub fn size(&self, object: &str) -> Result<u64, Error> {
        self.0.size(object)
    }

    /// Whether there is an object of this name.
    ///
    /// # Errors
    /// What the host reports.
    pub fn exists(&self, object: &str) -> Result<bool, Error> {
        self.0.exists(object)
    }

    /// Names of all objects, in no particular order.
    ///
    /// # Errors
    /// What the host reports.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        self.0.list()
    }

    /// Removes an object. It is no error if it was not there.
    ///
    /// # Errors
    /// What the host reports.
    pub fn delete(&self, object: &str) -> Result<(), Error> {
        self.0.delete(object)
    }
}

/// The bytes of an object as they arrive.
pub struct Reader(Box<dyn Read>);

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
