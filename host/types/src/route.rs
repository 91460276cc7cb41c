//! Routes: which HTTP requests a component answers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Which requests reach a component: those for `host` whose path begins with `path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Route {
    host: String,
    path: String,
}

/// A route that no request can match, or that is not in its one normal form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Not `*` and not a lower-case DNS name.
    #[error("route host `{0}`: expected `*` or a lower-case host name without port")]
    Host(String),
    /// Not an absolute, normal path.
    #[error(
        "route path `{0}`: expected `/` or `/segment/…` without `..`, `//`, `?`, `#` or a `/` at the end, at most 256 bytes"
    )]
    Path(String),
}

impl Route {
    /// Longest path prefix.
    pub const PATH_BYTES_MAX: usize = 256;

    /// Checks and joins `host` (or `*` for any) and the path prefix `path`.
    ///
    /// # Errors
    /// [`RouteError`] if either is not in normal form.
    pub fn new(host: &str, path: &str) -> Result<Self, RouteError> {
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        };
        if host != "*" && (host.len() > 253 || !host.split('.').all(label)) {
            return Err(RouteError::Host(host.chars().take(80).collect()));
        }
        let segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|c| c.is_ascii_graphic() && !matches!(c, b'?' | b'#'))
        };
        let normal = path == "/"
            || path
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(segment));
        if path.len() > Self::PATH_BYTES_MAX || !normal {
            return Err(RouteError::Path(path.chars().take(80).collect()));
        }
        Ok(Self {
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }

    /// `*` or a host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path prefix, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            #[serde(default = "any_host")]
            host: String,
            #[serde(default = "root_path")]
            path: String,
        }
        fn any_host() -> String {
            "*".to_owned()
        }
        fn root_path() -> String {
            "/".to_owned()
        }
        let parts = Parts::deserialize(deserializer)?;
        Self::new(&parts.host, &parts.path).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_one_normal_form() {
        for (host, path) in [("*", "/"), ("a.example", "/"), ("localhost", "/api/v1")] {
            assert_eq!(
                Route::new(host, path).unwrap().to_string(),
                format!("{host}{path}")
            );
        }
        for host in ["", "A.example", "a..b", "a:80", "http://a", "*.a"] {
            assert!(
                matches!(Route::new(host, "/"), Err(RouteError::Host(_))),
                "{host}"
            );
        }
        for path in ["", "api", "/api/", "//", "/a/../b", "/a?b", "/a#b", "/a b"] {
            assert!(
                matches!(Route::new("*", path), Err(RouteError::Path(_))),
                "{path}"
            );
        }
    }
}
