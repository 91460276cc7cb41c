//! What ACME leaves on disk: the account's key, the certificate with its key, and failed attempts. Each
//! file is there whole or not at all, and only its owner may read it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::acme::AcmeConfig;
use crate::private_file::write_privately;

/// Largest file: a chain of a few certificates with a key.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A certificate as it was obtained.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Of which authority.
    pub(super) directory: String,
    /// For which names.
    pub(super) names: Vec<String>,
    /// The kind of challenge that proved them, if one was needed.
    pub(super) challenge: Option<String>,
    /// The chain, PEM, leaf first.
    pub(super) chain: String,
    /// The leaf's secret key, PEM.
    pub(super) key: String,
}

impl Kept {
    /// Whether it is what the configuration asks for.
    pub(super) fn fits(&self, config: &AcmeConfig) -> bool {
        self.directory == config.directory.as_str() && self.names == config.texts()
    }
}

/// An account, good at one authority.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount<C> {
    /// Of which authority.
    pub(super) directory: String,
    /// Whom the authority was told to write to.
    pub(super) contact: Option<String>,
    /// Its name there and its secret key.
    pub(super) credentials: C,
}

/// Attempts since the last success, so that restarts do not ask more often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// Of which authority.
    directory: String,
    /// For which names.
    names: Vec<String>,
    /// How many failed in a row.
    pub(super) failures: u32,
    /// When the next one may be made, Unix milliseconds.
    pub(super) retry_ms: u64,
}

impl Attempts {
    /// No attempt has failed.
    pub(super) fn none(config: &AcmeConfig) -> Self {
        Self {
            directory: config.directory.to_string(),
            names: config.texts(),
            ..Self::default()
        }
    }
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub(super) struct KeepError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder of it all.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    folder: PathBuf,
}

impl Keeping {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The last certificate; none if there is none that can be read.
    pub(super) fn certificate(&self) -> Option<Kept> {
        read(&self.folder.join("certificate.json"))
    }

    pub(super) fn keep_certificate(&self, kept: &Kept) -> Result<(), KeepError> {
        self.write("certificate.json", kept)
    }

    /// The account at the configured authority, if there is one.
    pub(super) fn account<C: DeserializeOwned>(
        &self,
        config: &AcmeConfig,
    ) -> Option<KeptAccount<C>> {
        let kept: Option<KeptAccount<C>> = read(&self.folder.join("account.json"));
        kept.filter(|kept| kept.directory == config.directory.as_str())
    }

    pub(super) fn keep_account<C: Serialize>(
        &self,
        kept: &KeptAccount<C>,
    ) -> Result<(), KeepError> {
        self.write("account.json", kept)
    }

    /// The authority does not know the account any more: the next attempt makes another.
    pub(super) fn forget_account(&self) {
        // Gone already, or asked with again.
        let _ = fs::remove_file(self.folder.join("account.json"));
    }

    /// Attempts at what is configured; those at anything else say nothing about it.
    pub(super) fn attempts(&self, config: &AcmeConfig) -> Attempts {
        let none = Attempts::none(config);
        let kept: Option<Attempts> = read(&self.folder.join("attempts.json"));
        let kept = kept.filter(|kept| kept.directory == none.directory && kept.names == none.names);
        kept.unwrap_or(none)
    }

    pub(super) fn keep_attempts(&self, attempts: &Attempts) -> Result<(), KeepError> {
        self.write("attempts.json", attempts)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), KeepError> {
        let path = self.folder.join(name);
        let failed = |action| {
            let path = path.clone();
            move |source| KeepError {
                action,
                path,
                source,
            }
        };
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.folder);
        made.map_err(failed("make the folder of"))?;
        let text = serde_json::to_vec_pretty(value).map_err(io::Error::other);
        let written = text.and_then(|text| write_privately(&path, &text));
        written.map_err(failed("write"))
    }
}

/// What is in a file of ours; none if it is absent or damaged, as each can be made again.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read {}: {error}", path.display());
            return None;
        }
        Ok(_) => {}
    }
    let value = serde_json::from_slice(&text);
    value
        .inspect_err(|_| tracing::warn!("{} is damaged and not used", path.display()))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(name: &str) -> AcmeConfig {
        AcmeConfig {
            names: vec![name.parse().unwrap()],
            directory: "https://ca.example/".parse().unwrap(),
            contact: None,
            root: None,
        }
    }

    #[test]
    fn files_are_private_and_damaged_ones_are_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let keeping = Keeping::new(folder.path().join("acme"));
        assert!(keeping.certificate().is_none());
        let kept = Kept {
            directory: "https://ca.example/".to_owned(),
            names: vec!["a.example".to_owned()],
            challenge: None,
            chain: "chain".to_owned(),
            key: "key".to_owned(),
        };
        keeping.keep_certificate(&kept).unwrap();
        let mode = |name: &str| {
            let path = folder.path().join(name);
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("acme"), 0o700);
        assert_eq!(mode("acme/certificate.json"), 0o600);
        let read = keeping.certificate().unwrap();
        assert!(read.fits(&config("a.example")) && !read.fits(&config("b.example")));
        fs::write(folder.path().join("acme/certificate.json"), "{").unwrap();
        assert!(keeping.certificate().is_none());
    }

    #[test]
    fn failures_count_for_what_was_tried_only() {
        let folder = tempfile::tempdir().unwrap();
        let keeping = Keeping::new(folder.path().to_owned());
        let mut attempts = keeping.attempts(&config("a.example"));
        attempts.failures = 3;
        keeping.keep_attempts(&attempts).unwrap();
        assert_eq!(keeping.attempts(&config("a.example")), attempts);
        assert_eq!(keeping.attempts(&config("b.example")).failures, 0);
    }
}
