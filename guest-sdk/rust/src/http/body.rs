//! Bodies of requests and responses: whole, arriving, or made while they are sent.

use std::fmt;
use std::io::{self, BufWriter, Cursor, Read, Write};

/// Makes a body while it is sent.
type Producer = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()>>;

/// A body. It is read once, from begin to end.
///
/// ```
/// use std::io::Write as _;
/// use hypermesh_guest::http::Body;
///
/// let whole = Body::from("text");
/// assert_eq!(whole.text()?, "text");
///
/// let made = Body::from_writer(|out| (1..=3).try_for_each(|n| writeln!(out, "{n}")));
/// assert_eq!(made.bytes()?, b"1\n2\n3\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Body {
    source: Source,
    is_text: bool,
}

enum Source {
    Whole(Cursor<Vec<u8>>),
    Reader(Box<dyn Read>),
    Producer(Producer),
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Vec::new())
    }

    /// A body that is read while it is sent; it needs no more memory than one step of the copy.
    pub fn from_reader(reader: impl Read + 'static) -> Self {
        Self::of(Source::Reader(Box::new(reader)))
    }

    /// A body that `write` makes while it is sent. Small pieces are gathered; `flush` sends what
    /// there is, for a client that waits for it. An error of `write` breaks the response off, so
    /// that the client does not take a part for the whole.
    pub fn from_writer(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'static) -> Self {
        Self::of(Source::Producer(Box::new(write)))
    }

    /// All bytes, once the last one arrived. They must fit into the instance's memory: read a body
    /// of unknown size with [`Read`] instead.
    ///
    /// # Errors
    /// What broke off.
    pub fn bytes(self) -> io::Result<Vec<u8>> {
        match self.source {
            Source::Whole(cursor) if cursor.position() == 0 => Ok(cursor.into_inner()),
            _ => {
                let mut bytes = Vec::new();
                self.send(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// All of it as text, as [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// What broke off; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
    pub fn text(self) -> io::Result<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Writes all of it to `target`, step by step.
    ///
    /// # Errors
    /// What broke off, on either side.
    pub fn send(self, target: &mut dyn Write) -> io::Result<()> {
        match self.source {
            // Formatted text comes in pieces of some bytes: each one alone would cost a frame.
            Source::Producer(write) => {
                let mut gathered = BufWriter::new(&mut *target);
                write(&mut gathered)?;
                gathered.flush()?;
            }
            Source::Whole(mut cursor) => drop(io::copy(&mut cursor, target)?),
            Source::Reader(mut reader) => drop(io::copy(&mut reader, target)?),
        }
        target.flush()
    }

    /// How many bytes are left, where that is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Whole(cursor) => {
                Some((cursor.get_ref().len() as u64).saturating_sub(cursor.position()))
            }
            Source::Reader(_) | Source::Producer(_) => None,
        }
    }

    /// Whether it was made from text.
    pub(crate) fn is_text(&self) -> bool {
        self.is_text
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            is_text: false,
        }
    }
}

/// Bytes as they arrive. A body of [`Body::from_writer`] is made as a whole at the first read.
impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Source::Producer(_) = self.source {
            let empty = Source::Whole(Cursor::default());
            if let Source::Producer(write) = std::mem::replace(&mut self.source, empty) {
                let mut bytes = Vec::new();
                write(&mut bytes)?;
                self.source = Source::Whole(Cursor::new(bytes));
            }
        }
        match &mut self.source {
            Source::Whole(cursor) => cursor.read(buffer),
            Source::Reader(reader) => reader.read(buffer),
            Source::Producer(_) => Ok(0),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(Source::Whole(Cursor::new(bytes)))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        let mut body = Self::from(text.into_bytes());
        body.is_text = true;
        body
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length() {
            Some(length) => write!(out, "Body({length} bytes)"),
            None => out.write_str("Body(a stream)"),
        }
    }
}
