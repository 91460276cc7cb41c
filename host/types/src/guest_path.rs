//! Paths as a guest sees them. Never a path of the host.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// An absolute, normal path in a guest's own view: `/etc/app.toml`. Never a host path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GuestPath(String);

/// A text that is not a guest path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a guest path: expected `/directory/file`, absolute, at least one directory deep, without `.`, `..`, `//` or control characters, at most {} bytes",
    GuestPath::BYTES_MAX
)]
pub struct GuestPathError {
    text: String,
}

impl GuestPath {
    /// Longest path.
    pub const BYTES_MAX: usize = 1_024;

    /// The path as text, beginning with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first directory of the path, as the guest sees it preopened: `/etc`.
    #[must_use]
    pub fn root(&self) -> &str {
        let end = self.0[1..].find('/').map_or(self.0.len(), |at| at + 1);
        &self.0[..end]
    }

    /// The path below [`Self::root`]: `app.toml`.
    #[must_use]
    pub fn below_root(&self) -> &str {
        self.0[self.root().len()..].trim_start_matches('/')
    }
}

impl FromStr for GuestPath {
    type Err = GuestPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let normal = |part: &str| !matches!(part, "" | "." | "..");
        let parts = text.strip_prefix('/').map(|rest| rest.split('/'));
        let valid = text.len() <= Self::BYTES_MAX
            && !text.chars().any(char::is_control)
            && parts.is_some_and(|mut parts| parts.clone().count() >= 2 && parts.all(normal));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(GuestPathError {
                text: text.chars().take(80).collect(),
            })
        }
    }
}

impl<'de> Deserialize<'de> for GuestPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_normal_paths_below_a_directory_pass() {
        let path: GuestPath = "/etc/app/app.toml".parse().unwrap();
        assert_eq!((path.root(), path.below_root()), ("/etc", "app/app.toml"));
        for bad in [
            "",
            "/",
            "/file",
            "etc/app",
            "/etc/../x",
            "/etc//x",
            "/etc/./x",
            "/etc/x/",
            "/a/\u{0}",
        ] {
            assert!(bad.parse::<GuestPath>().is_err(), "{bad:?}");
        }
    }
}
