//! `wasi:config/store`.

use super::imports::wasi::config::store;
use crate::config::Error;

pub(crate) fn get(key: &str) -> Result<Option<String>, Error> {
    store::get(key).map_err(error)
}

pub(crate) fn all() -> Result<Vec<(String, String)>, Error> {
    store::get_all().map_err(error)
}

fn error(error: store::Error) -> Error {
    match error {
        store::Error::Upstream(text) | store::Error::Io(text) => Error::Host(text),
    }
}
