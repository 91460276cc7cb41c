//! Configuration: the `config` table of the component's manifest, by `wasi:config/store`.

use crate::host;

/// Why a setting could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host could not read its settings.
    #[error("the host cannot read the configuration: {0}")]
    Host(String),
}

/// The value of `key`; `None` if the manifest does not set it.
///
/// ```
/// use hypermesh_guest::{config, mock};
///
/// mock::set_config("greeting", "hello");
/// assert_eq!(config::get("greeting"), Ok(Some("hello".to_owned())));
/// assert_eq!(config::get("colour"), Ok(None));
/// ```
///
/// # Errors
/// [`Error::Host`].
pub fn get(key: &str) -> Result<Option<String>, Error> {
    host::config::get(key)
}

/// All keys and values.
///
/// # Errors
/// [`Error::Host`].
pub fn all() -> Result<Vec<(String, String)>, Error> {
    host::config::all()
}
