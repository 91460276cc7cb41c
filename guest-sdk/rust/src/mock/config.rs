//! The `config` table of a manifest that does not exist.

use super::with;
use crate::config::Error;

/// What [`config::get`](crate::config::get) finds under `key` from now on.
pub fn set_config(key: &str, value: &str) {
    with(|state| state.config.insert(key.to_owned(), value.to_owned()));
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn get(key: &str) -> Result<Option<String>, Error> {
    Ok(with(|state| state.config.get(key).cloned()))
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn all() -> Result<Vec<(String, String)>, Error> {
    Ok(with(|state| state.config.clone().into_iter().collect()))
}
