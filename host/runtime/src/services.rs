//! What the node does for the guests of one replica: secrets, and traits that the node implements.
//! Knows no disk and no network.

use std::collections::BTreeMap;
use std::fmt;

/// The services of one replica; what is not there answers guests with an error of its interface.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Values of the secrets that the specification names.
    pub secrets: BTreeMap<String, Secret>,
}

/// A value that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` out of everything printed.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the guest that it belongs to.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
