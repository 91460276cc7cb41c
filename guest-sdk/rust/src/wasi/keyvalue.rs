//! `wasi:keyvalue`.

use super::imports::wasi::keyvalue::{atomics, batch, store};
use crate::keyvalue::Error;

/// Keys, and where to go on.
type Page = (Vec<String>, Option<u64>);

#[derive(Debug)]
pub(crate) struct Bucket(store::Bucket);

pub(crate) fn open(name: &str) -> Result<Bucket, Error> {
    store::open(name).map(Bucket).map_err(error)
}

impl Bucket {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(key).map_err(error)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.0.set(key, value).map_err(error)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), Error> {
        self.0.delete(key).map_err(error)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, Error> {
        self.0.exists(key).map_err(error)
    }

    pub(crate) fn keys(&self, cursor: Option<u64>) -> Result<Page, Error> {
        let page = self.0.list_keys(cursor).map_err(error)?;
        Ok((page.keys, page.cursor))
    }

    pub(crate) fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        atomics::increment(&self.0, key, delta).map_err(error)
    }

    pub(crate) fn get_many(&self, keys: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let found = batch::get_many(&self.0, &keys).map_err(error)?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(crate) fn set_many(&self, entries: &[(&str, &[u8])]) -> Result<(), Error> {
        let owned = |&(key, value): &(&str, &[u8])| (key.to_owned(), value.to_owned());
        let entries: Vec<_> = entries.iter().map(owned).collect();
        batch::set_many(&self.0, &entries).map_err(error)
    }

    pub(crate) fn delete_many(&self, keys: &[&str]) -> Result<(), Error> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        batch::delete_many(&self.0, &keys).map_err(error)
    }
}

fn error(error: store::Error) -> Error {
    match error {
        store::Error::NoSuchStore => Error::NoSuchStore,
        store::Error::AccessDenied => Error::AccessDenied,
        store::Error::Other(text) => Error::Host(text),
    }
}
