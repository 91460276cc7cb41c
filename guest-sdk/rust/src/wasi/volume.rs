//! `hypermesh:assets/volumes`.

use std::time::Duration;

use super::imports::hypermesh::assets::volumes as wit;
use crate::volume::{Error, Layout, Repaired, Rights, Usage};

#[derive(Debug)]
pub(crate) struct Volume(wit::Volume);

pub(crate) fn allocate(bytes: u64, term: Duration, layout: Layout) -> Result<Volume, Error> {
    let layout = match layout {
        Layout::Single => wit::Layout::Single,
        Layout::Replicated(members) => wit::Layout::Replicated(members),
        Layout::Sharded => wit::Layout::Sharded,
    };
    let volume = wit::allocate(bytes, millis(term), layout);
    volume.map(Volume).map_err(error)
}

pub(crate) fn open(capability: &str) -> Result<Volume, Error> {
    wit::open(capability).map(Volume).map_err(error)
}

impl Volume {
    pub(crate) fn read(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.read(offset, bytes).map_err(error)
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(offset, bytes).map_err(error)
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.0.sync().map_err(error)
    }

    pub(crate) fn create_file(&self, name: &str) -> Result<(), Error> {
        self.0.create_file(name).map_err(error)
    }

    pub(crate) fn read_file(&self, name: &str, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.read_file(name, offset, bytes).map_err(error)
    }

    pub(crate) fn write_file(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.write_file(name, offset, bytes).map_err(error)
    }

    pub(crate) fn file_size(&self, name: &str) -> Result<u64, Error> {
        self.0.file_size(name).map_err(error)
    }

    pub(crate) fn set_file_size(&self, name: &str, bytes: u64) -> Result<(), Error> {
        self.0.set_file_size(name, bytes).map_err(error)
    }

    pub(crate) fn list_files(&self, after: Option<&str>) -> Result<(Vec<String>, bool), Error> {
        let page = self.0.list_files(after).map_err(error)?;
        Ok((page.names, page.more))
    }

    pub(crate) fn rename_file(&self, name: &str, to: &str) -> Result<(), Error> {
        self.0.rename_file(name, to).map_err(error)
    }

    pub(crate) fn remove_file(&self, name: &str) -> Result<(), Error> {
        self.0.remove_file(name).map_err(error)
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let usage = self.0.usage().map_err(error)?;
        Ok(Usage {
            bytes: usage.bytes,
            used_bytes: usage.used_bytes,
            leased_bytes: usage.leased_bytes,
            members: usage.members,
            reached: usage.reached,
            left: Duration::from_millis(usage.left_ms),
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(millis(term)).map_err(error)
    }

    pub(crate) fn share(
        &self,
        rights: Rights,
        term: Duration,
        node: Option<&str>,
    ) -> Result<String, Error> {
        let mut given = wit::Rights::empty();
        given.set(wit::Rights::READ, rights.read);
        given.set(wit::Rights::WRITE, rights.write);
        self.0.share(given, millis(term), node).map_err(error)
    }

    pub(crate) fn revoke(&self, capability: &str) -> Result<(), Error> {
        self.0.revoke(capability).map_err(error)
    }

    pub(crate) fn keep(&self) -> Result<String, Error> {
        self.0.keep().map_err(error)
    }

    pub(crate) fn repair(&self) -> Result<Repaired, Error> {
        let repaired = self.0.repair().map_err(error)?;
        Ok(Repaired {
            members: repaired.members,
            blocks: repaired.blocks,
            pieces: repaired.pieces,
            lost: repaired.lost,
        })
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
        wit::Error::Full(text) => Error::Full(text),
        wit::Error::Fenced(text) => Error::Fenced(text),
        wit::Error::NotFound(text) => Error::NotFound(text),
        wit::Error::Exists(text) => Error::Exists(text),
    }
}
