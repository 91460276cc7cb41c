//! The one error of xtask: a sentence for the person who ran it. Nothing here is matched on.

use std::fmt;
use std::io;
use std::path::Path;

/// What went wrong and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// A file operation that the system refused.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The same failure with advice after it.
    #[must_use]
    pub(crate) fn advise(self, advice: &str) -> Self {
        Self(format!("{}; {advice}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
