//! `hypermesh:assets/network`.

use std::time::Duration;

use super::imports::hypermesh::assets::network as wit;
use super::millis;
use crate::network::{Error, Usage};

#[derive(Debug)]
pub(crate) struct Link(wit::Link);

#[derive(Debug)]
pub(crate) struct Connection(wit::Connection);

pub(crate) fn allocate(bytes_per_second: u64, term: Duration) -> Result<Link, Error> {
    let link = wit::allocate(bytes_per_second, millis(term));
    link.map(Link).map_err(error)
}

impl Link {
    pub(crate) fn connect(&self, host: &str, port: u16) -> Result<Connection, Error> {
        self.0.connect(host, port).map(Connection).map_err(error)
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let usage = self.0.usage().map_err(error)?;
        Ok(Usage {
            bytes_per_second: usage.bytes_per_second,
            sent_bytes: usage.sent_bytes,
            received_bytes: usage.received_bytes,
            connections: usage.connections,
            left: Duration::from_millis(usage.left_ms),
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(millis(term)).map_err(error)
    }
}

impl Connection {
    pub(crate) fn read(&mut self, bytes_max: u32) -> Result<Vec<u8>, Error> {
        self.0.read(bytes_max).map_err(error)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(bytes).map_err(error)
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.0.finish().map_err(error)
    }
}

fn error(error: wit::Error) -> Error {
    match error {
        wit::Error::Invalid(text) => Error::Invalid(text),
        wit::Error::Denied(text) => Error::Denied(text),
        wit::Error::Ended => Error::Ended,
        wit::Error::Quota(text) => Error::Quota(text),
        wit::Error::Exhausted(text) => Error::Exhausted(text),
        wit::Error::Busy(text) => Error::Busy(text),
        wit::Error::Lost(text) => Error::Lost(text),
        wit::Error::Unavailable(text) => Error::Unavailable(text),
        wit::Error::Failed(text) => Error::Failed(text),
    }
}
