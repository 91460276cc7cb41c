//! Secrets of this node: names and values in one file, mode 0600. Values go to the replicas that
//! name them and nowhere else: no log, no answer, no error, no ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use runtime::Secret;
use types::Name;

use crate::error::StartNodeError;
use crate::private_file::write_privately;

/// Largest value: a certificate chain fits.
pub(crate) const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Most secrets of a node: all are in memory and written together.
const SECRETS_MAX: usize = 1_000;

/// A secret that was not set or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeSecretError {
    #[error("the value has {bytes} bytes: the most is {SECRET_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("there are {SECRETS_MAX} secrets, the most of a node: remove one")]
    TooMany,
    #[error("cannot write {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// All secrets.
pub(crate) struct Secrets {
    path: PathBuf,
    values: Mutex<BTreeMap<Name, String>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Reads the file; without one there are no secrets.
    pub(crate) fn open(path: PathBuf) -> Result<Self, StartNodeError> {
        let values = match fs::read(&path) {
            Ok(content) => serde_json::from_slice(&content).map_err(|_| {
                // The parser's own words could quote a value.
                let reason = "it is not a list of secrets".to_owned();
                StartNodeError::Damaged {
                    path: path.clone(),
                    reason,
                }
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => {
                return Err(StartNodeError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        Ok(Self {
            path,
            values: Mutex::new(values),
        })
    }

    /// Sets a secret, durable when this returns. Replicas get it when they start. Blocks.
    pub(crate) fn set(&self, name: Name, value: String) -> Result<(), ChangeSecretError> {
        if value.len() > SECRET_BYTES_MAX {
            return Err(ChangeSecretError::TooLarge { bytes: value.len() });
        }
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = values.clone();
        changed.insert(name, value);
        if changed.len() > SECRETS_MAX {
            return Err(ChangeSecretError::TooMany);
        }
        self.write(&changed)?;
        *values = changed;
        Ok(())
    }

    /// Removes a secret; says whether it was there. Blocks.
    pub(crate) fn remove(&self, name: &Name) -> Result<bool, ChangeSecretError> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = values.clone();
        if changed.remove(name).is_none() {
            return Ok(false);
        }
        self.write(&changed)?;
        *values = changed;
        Ok(true)
    }

    /// The names of all secrets.
    pub(crate) fn names(&self) -> Vec<Name> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.keys().cloned().collect()
    }

    /// What stands in the way of a component that names these: one sentence per missing secret.
    pub(crate) fn missing(&self, names: &[Name]) -> Vec<String> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = names.iter().filter(|name| !values.contains_key(*name));
        missing
            .map(|name| format!("secret `{name}` is not set: run `nexus secret set {name}`"))
            .collect()
    }

    /// The values of those that are set.
    pub(crate) fn values(&self, names: &[Name]) -> BTreeMap<String, Secret> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let found = names
            .iter()
            .filter_map(|name| Some((name, values.get(name)?)));
        found
            .map(|(name, value)| (name.to_string(), Secret::new(value.clone())))
            .collect()
    }

    fn write(&self, values: &BTreeMap<Name, String>) -> Result<(), ChangeSecretError> {
        let content = serde_json::to_vec(values).map_err(io::Error::other);
        let written = content.and_then(|content| write_privately(&self.path, &content));
        written.map_err(|source| ChangeSecretError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_survive_and_show_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        let secrets = Secrets::open(path.clone()).unwrap();
        let name = Name::new("token").unwrap();
        secrets.set(name.clone(), "hunter2".to_owned()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let secrets = Secrets::open(path.clone()).unwrap();
        assert_eq!(secrets.names(), std::slice::from_ref(&name));
        let values = secrets.values(std::slice::from_ref(&name));
        assert_eq!(values["token"], Secret::new("hunter2".to_owned()));
        for text in [format!("{secrets:?}"), format!("{values:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(secrets.missing(std::slice::from_ref(&name)).is_empty());
        assert!(secrets.remove(&name).unwrap() && !secrets.remove(&name).unwrap());
        assert!(secrets.missing(&[name])[0].contains("nexus secret set token"));
        fs::write(&path, b"{\"token\": hunter2}").unwrap();
        let error = Secrets::open(path).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
