//! Names that people choose: workloads and components.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end.
///
/// Being a label lets `<workload>.<namespace>` resolve as a host name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// A text that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a name: use 1 to {} of a-z, 0-9 and -, beginning and ending with a letter or digit",
    Name::BYTES_MAX
)]
pub struct NameError {
    text: String,
}

impl Name {
    /// Longest label that DNS carries.
    pub const BYTES_MAX: usize = 63;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`NameError`] if `text` is not a DNS label.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let valid = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid {
            Ok(Self(text))
        } else {
            Err(NameError {
                text: text.chars().take(80).collect(),
            })
        }
    }

    /// The name that sorts before every other.
    #[must_use]
    pub fn least() -> Self {
        Self("0".to_owned())
    }

    /// The nearest name to a file stem or title, if any letter or digit is in it.
    ///
    /// # Errors
    /// [`NameError`] if nothing of `text` can stand in a name.
    pub fn derive(text: &str) -> Result<Self, NameError> {
        let mapped: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(Self::BYTES_MAX)
            .collect();
        Self::new(mapped.trim_matches('-')).map_err(|_| NameError {
            text: text.to_owned(),
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_names() {
        for good in ["a", "a-b", "web2", "0", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "ä",
            "a/b",
            &"x".repeat(64),
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_derive_from_file_stems() {
        assert_eq!(
            Name::derive("Hello_World.v2").unwrap().as_str(),
            "hello-world-v2"
        );
        assert!(Name::derive("___").is_err());
    }
}
