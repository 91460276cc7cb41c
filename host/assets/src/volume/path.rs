//! Names of files in a volume. Knows no file.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Longest part between slashes in bytes.
pub const PART_BYTES_MAX: usize = 255;

/// The name of a file: parts of 1 to 255 bytes with slashes between them, none of them `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

/// A name that no file can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilePathError {
    /// Longer than a name may be.
    #[error("a name of {bytes} bytes is longer than {PATH_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A part of it cannot be.
    #[error("{part:?} is no part of a name: 1 to {PART_BYTES_MAX} bytes, not `.` or `..`, no NUL")]
    Part {
        /// The part, at most [`PART_BYTES_MAX`] characters of it.
        part: String,
    },
}

impl FilePath {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders that it is in, from the innermost.
    pub(super) fn folders(&self) -> impl Iterator<Item = Self> {
        let ends = self.0.rmatch_indices('/');
        ends.filter_map(|(end, _)| self.0.get(..end).map(|folder| Self(folder.to_owned())))
    }

    /// Whether it is in `folder`, or in one within.
    pub(super) fn is_in(&self, folder: &Self) -> bool {
        let rest = self.0.strip_prefix(&folder.0);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl std::fmt::Display for FilePath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for FilePath {
    type Err = FilePathError;

    fn from_str(text: &str) -> Result<Self, FilePathError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for FilePath {
    type Error = FilePathError;

    fn try_from(text: String) -> Result<Self, FilePathError> {
        let bytes = text.len();
        if bytes > PATH_BYTES_MAX {
            return Err(FilePathError::TooLong { bytes });
        }
        let good = |part: &str| {
            let dots = part == "." || part == "..";
            (1..=PART_BYTES_MAX).contains(&part.len()) && !dots && !part.contains('\0')
        };
        if let Some(part) = text.split('/').find(|part| !good(part)) {
            let part = part.chars().take(PART_BYTES_MAX).collect();
            return Err(FilePathError::Part { part });
        }
        Ok(Self(text))
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_parts_of_bounded_length() {
        let long = "x".repeat(255);
        for good in ["a", "a/b", "...", ".a", "a b/ü", &long] {
            assert_eq!(good.parse::<FilePath>().unwrap().as_str(), good);
        }
        let longer = "x".repeat(256);
        let longest = ["x".repeat(255).as_str(); 5].join("/");
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "a/..", "../a", "a\0", &longer, &longest,
        ] {
            assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn folders_are_what_is_before_slashes() {
        let path: FilePath = "a/b/c".parse().unwrap();
        let folders: Vec<String> = path.folders().map(String::from).collect();
        assert_eq!(folders, ["a/b", "a"]);
        let within = |folder: &str| path.is_in(&folder.parse().unwrap());
        assert!(within("a") && within("a/b"));
        assert!(!within("a/b/c") && !within("a/bc") && !within("b"));
    }
}
