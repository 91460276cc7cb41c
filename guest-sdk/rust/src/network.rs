//! Connections over leased transport, of this node and of others, by `hypermesh:assets/network`.

use std::io;
use std::time::Duration;

use crate::host;

/// Most bytes of one read or write at the host; longer ones are split here.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Why something was not done with transport.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of bounds, in the host's words.
    #[error("{0}")]
    Invalid(String),
    /// The manifest does not allow it, or who would dial does not, in the host's words.
    #[error("{0}")]
    Denied(String),
    /// The lease is over, or was given back.
    #[error("the lease of the link has ended")]
    Ended,
    /// More than the manifest grants, or too much open, in the host's words.
    #[error("{0}")]
    Quota(String),
    /// No transport that may be leased has so much free, in the host's words.
    #[error("{0}")]
    Exhausted(String),
    /// Too much at once, in the host's words: try again later.
    #[error("{0}")]
    Busy(String),
    /// The lease's host went away, in the host's words.
    #[error("{0}")]
    Lost(String),
    /// The node cannot, in the host's words.
    #[error("{0}")]
    Unavailable(String),
    /// What was dialled did not answer, or the connection broke, in the host's words.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Invalid(_) => io::ErrorKind::InvalidInput,
            Error::Denied(_) => io::ErrorKind::PermissionDenied,
            Error::Ended => io::ErrorKind::BrokenPipe,
            Error::Lost(_) | Error::Failed(_) => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// What a link carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes per second that were leased.
    pub bytes_per_second: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Connections that are open.
    pub connections: u32,
    /// How long the lease is certainly live.
    pub left: Duration,
}

/// Leased transport. Dropping it closes its connections and ends the lease.
///
/// ```
/// use std::io::{Read as _, Write as _};
/// use std::time::Duration;
/// use hypermesh_guest::network::{self, Error};
///
/// # hypermesh_guest::mock::reset();
/// // What a test has instead of a server: it gets all that was written, and says what is read.
/// hypermesh_guest::mock::on_connect(|host, port, written| match (host, port) {
///     ("echo.example", 7) => Ok(written.to_vec()),
///     _ => Err(Error::Failed("nobody listens".to_owned())),
/// });
///
/// let link = network::allocate(100_000, Duration::from_secs(60)).unwrap();
/// let mut connection = link.connect("echo.example", 7).unwrap();
/// connection.write_all(b"hello")?;
/// connection.finish()?;
/// let mut answer = String::new();
/// connection.read_to_string(&mut answer)?;
/// assert_eq!(answer, "hello");
/// assert_eq!(link.usage()?.sent_bytes, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Link(host::network::Link);

/// A connection: read and written as streams of `std::io` are. Dropping it closes it.
#[derive(Debug)]
pub struct Connection(host::network::Connection);

/// Leases so many bytes per second for so long, ten seconds or more.
///
/// # Errors
/// [`Error::Quota`], [`Error::Exhausted`], [`Error::Invalid`], and what the host reports.
pub fn allocate(bytes_per_second: u64, term: Duration) -> Result<Link, Error> {
    host::network::allocate(bytes_per_second, term).map(Link)
}

impl Link {
    /// Connects to a host, a name or an address, at a port; the node that has the lease dials.
    ///
    /// # Errors
    /// [`Error::Denied`] where that may not be, [`Error::Failed`] if it does not answer, and what the
    /// host reports.
    pub fn connect(&self, host: &str, port: u16) -> Result<Connection, Error> {
        self.0.connect(host, port).map(Connection)
    }

    /// How long the lease is certainly live.
    ///
    /// # Errors
    /// What the host reports.
    pub fn remaining(&self) -> Result<Duration, Error> {
        Ok(self.usage()?.left)
    }

    /// What it carried.
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
    /// and what the host reports.
    pub fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(term)
    }
}

impl Connection {
    /// Sends no more: the peer sees the end.
    ///
    /// # Errors
    /// What the host reports.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.0.finish()
    }
}

impl io::Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIECE_BYTES_MAX);
        let Ok(bytes_max @ 1..) = u32::try_from(most) else {
            return Ok(0);
        };
        let read = self.0.read(bytes_max)?;
        for (place, byte) in buffer.iter_mut().zip(&read) {
            *place = *byte;
        }
        Ok(read.len().min(most))
    }
}

impl io::Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE_BYTES_MAX).unwrap_or(bytes);
        if !piece.is_empty() {
            self.0.write(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
