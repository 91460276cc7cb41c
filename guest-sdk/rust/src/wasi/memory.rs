//! `hypermesh:assets/memory`.

use std::time::Duration;

use super::imports::hypermesh::assets::memory as wit;
use crate::memory::{Error, Share, Swapped, Usage};

#[derive(Debug)]
pub(crate) struct Region(wit::Region);

pub(crate) fn allocate(bytes: u64, term: Duration) -> Result<Region, Error> {
    let region = wit::allocate(bytes, millis(term));
    region.map(Region).map_err(error)
}

pub(crate) fn open(capability: &str) -> Result<Region, Error> {
    wit::open(capability).map(Region).map_err(error)
}

impl Region {
    pub(crate) fn read(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.read(offset, bytes).map_err(error)
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(offset, bytes).map_err(error)
    }

    pub(crate) fn swap(&self, offset: u64, expected: &[u8], new: &[u8]) -> Result<Swapped, Error> {
        let swapped = self.0.compare_and_swap(offset, expected, new);
        Ok(match swapped.map_err(error)? {
            wit::Swapped::Done => Swapped::Done,
            wit::Swapped::Found(found) => Swapped::Found(found),
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let usage = self.0.usage().map_err(error)?;
        Ok(Usage {
            bytes: usage.bytes,
            resident_bytes: usage.resident_bytes,
            operations: usage.operations,
            left: Duration::from_millis(usage.left_ms),
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(millis(term)).map_err(error)
    }

    pub(crate) fn share(&self, share: &Share) -> Result<String, Error> {
        let mut rights = wit::Rights::empty();
        rights.set(wit::Rights::READ, share.rights.read);
        rights.set(wit::Rights::WRITE, share.rights.write);
        rights.set(wit::Rights::SWAP, share.rights.swap);
        let (offset, bytes) = (share.offset, share.bytes);
        let term_ms = millis(share.term);
        let shared = self
            .0
            .share(rights, offset, bytes, term_ms, share.node.as_deref());
        shared.map_err(error)
    }

    pub(crate) fn revoke(&self, capability: &str) -> Result<(), Error> {
        self.0.revoke(capability).map_err(error)
    }
}

fn millis(term: Duration) -> u64 {
    u64::try_from(term.as_millis()).unwrap_or(u64::MAX)
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
    }
}
