//! What an operator asks of a certificate authority, checked before anything is asked of it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// Longest DNS name (RFC 1035, section 2.3.4), as text.
const NAME_BYTES_MAX: usize = 253;
/// Longest label of one.
const LABEL_BYTES_MAX: usize = 63;

/// How a certificate is obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names that it is to be good for; at least one.
    pub names: Vec<AcmeName>,
    /// Where the authority's directory is.
    pub directory: Directory,
    /// A mail address that the authority may write to, if any.
    pub contact: Option<String>,
    /// A PEM file with roots that the directory's own TLS certificate is checked against, instead of
    /// the public ones.
    pub root: Option<PathBuf>,
}

impl AcmeConfig {
    /// The names for people.
    pub(super) fn listed(&self) -> String {
        self.texts().join(", ")
    }

    /// The names as texts.
    pub(super) fn texts(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
    }
}

/// A DNS name that an authority can validate by connecting to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeName(String);

/// Not such a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseAcmeNameError {
    /// Only the DNS can prove it, and that is not this node's.
    #[error(
        "`{0}`: a wildcard is validated through DNS only; name each host, or use --certificate"
    )]
    Wildcard(String),
    /// Not a DNS name.
    #[error("`{0}` is not a DNS name with a dot, such as www.example.org")]
    NotDns(String),
}

impl FromStr for AcmeName {
    type Err = ParseAcmeNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("*.") {
            return Err(ParseAcmeNameError::Wildcard(text.to_owned()));
        }
        let label = |label: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(good)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // An address looks like a name whose last label is a number; no top level is one.
        let numeric = |last: &str| last.bytes().all(|byte| byte.is_ascii_digit());
        let good = text.len() <= NAME_BYTES_MAX
            && text.split('.').all(label)
            && text
                .rsplit_once('.')
                .is_some_and(|(_, last)| !numeric(last));
        match good {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(ParseAcmeNameError::NotDns(text.to_owned())),
        }
    }
}

impl fmt::Display for AcmeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The address of an authority's directory: https, with a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(String);

/// Not such an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an https URL")]
pub struct ParseDirectoryError(String);

impl Directory {
    /// Let's Encrypt, whose certificates browsers trust.
    pub const LETS_ENCRYPT: &'static str = "https://acme-v02.api.letsencrypt.org/directory";

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Directory {
    type Err = ParseDirectoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match is_https(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(ParseDirectoryError(text.to_owned())),
        }
    }
}

/// Whether a request can be sent there over TLS.
pub(super) fn is_https(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    uri.is_some_and(|uri| uri.scheme() == Some(&Scheme::HTTPS) && uri.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_that_can_be_connected_to() {
        for good in [
            "a.example",
            "WWW.Example.org",
            "xn--bcher-kva.example",
            "1.a.example",
        ] {
            let name: AcmeName = good.parse().unwrap();
            assert_eq!(name.to_string(), good.to_ascii_lowercase());
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            "localhost",
            "a..example",
            "-a.example",
            "a_b.example",
            "10.0.0.1",
            "[::1]",
            &long,
        ] {
            assert_eq!(
                bad.parse::<AcmeName>(),
                Err(ParseAcmeNameError::NotDns(bad.to_owned()))
            );
        }
        let wildcard = "*.example.org".parse::<AcmeName>().unwrap_err();
        assert!(wildcard.to_string().contains("--certificate"), "{wildcard}");
    }

    #[test]
    fn directories_are_https() {
        assert!(Directory::LETS_ENCRYPT.parse::<Directory>().is_ok());
        assert!("https://localhost:14000/dir".parse::<Directory>().is_ok());
        for bad in [
            "",
            "http://a.example/",
            "https://",
            "a.example",
            "https://a b/",
        ] {
            assert!(bad.parse::<Directory>().is_err(), "{bad}");
        }
    }
}
