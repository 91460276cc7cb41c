//! Small values under keys that outlive the instance, by `wasi:keyvalue`. For files see
//! [`blob`](crate::blob).

use crate::host;

/// Why a store said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host has no store of this name.
    #[error("there is no such key-value store")]
    NoSuchStore,
    /// The manifest grants no access to it.
    #[error("access to the key-value store is denied; grant it with `keyvalue` in the manifest")]
    AccessDenied,
    /// Something else, in the host's words: a full store, a value that is too long, a counter that
    /// holds something else than a number.
    #[error("{0}")]
    Host(String),
    /// The value is there and is not UTF-8 text.
    #[error("the value of `{key}` is not text")]
    NotText {
        /// The key that was asked for.
        key: String,
    },
}

/// An open store: values of bytes under keys of text.
///
/// All instances and replicas of a component on a node see the same bucket.
///
/// ```
/// use hypermesh_guest::keyvalue::Bucket;
///
/// # hypermesh_guest::mock::reset();
/// let bucket = Bucket::open("default")?;
/// bucket.set("greeting", "hello")?;
/// assert_eq!(bucket.get_text("greeting")?.as_deref(), Some("hello"));
/// assert_eq!(bucket.increment("visits", 2)?, 2);
/// bucket.delete("greeting")?;
/// assert_eq!(bucket.get("greeting")?, None);
/// assert_eq!(bucket.keys()?, ["visits"]);
/// # Ok::<(), hypermesh_guest::keyvalue::Error>(())
/// ```
#[derive(Debug)]
pub struct Bucket(host::keyvalue::Bucket);

impl Bucket {
    /// Opens the bucket `name`. A manifest's `keyvalue` grants one bucket, `default`.
    ///
    /// # Errors
    /// [`Error::NoSuchStore`], [`Error::AccessDenied`].
    pub fn open(name: &str) -> Result<Self, Error> {
        host::keyvalue::open(name).map(Self)
    }

    /// The value of `key`; `None` if there is none.
    ///
    /// # Errors
    /// What the host reports.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(key)
    }

    /// The value of `key` as text.
    ///
    /// # Errors
    /// [`Error::NotText`], or what the host reports.
    pub fn get_text(&self, key: &str) -> Result<Option<String>, Error> {
        let not_text = |_| Error::NotText {
            key: key.to_owned(),
        };
        let value = self.get(key)?;
        value
            .map(|bytes| String::from_utf8(bytes).map_err(not_text))
            .transpose()
    }

    /// Stores `value` under `key`, in place of what was there.
    ///
    /// # Errors
    /// What the host reports, for instance that the quota is used up.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.0.set(key, value.as_ref())
    }

    /// Removes `key`. It is no error if it was not there.
    ///
    /// # Errors
    /// What the host reports.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.0.delete(key)
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// What the host reports.
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        self.0.exists(key)
    }

    /// Every key, in no particular order. Asks page by page; all of them are in memory at the end.
    ///
    /// # Errors
    /// What the host reports.
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        let (mut keys, mut cursor) = self.0.keys(None)?;
        while let Some(next) = cursor {
            let (more, after) = self.0.keys(Some(next))?;
            keys.extend(more);
            cursor = after;
        }
        Ok(keys)
    }

    /// Adds `delta` to the number under `key` in one step and returns the sum; a missing number is 0.
    /// Two instances that count at once never lose a count.
    ///
    /// # Errors
    /// What the host reports, for instance that the value is no number.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        self.0.increment(key, delta)
    }

    /// Keys and values of those of `keys` that are there, in one call.
    ///
    /// # Errors
    /// What the host reports.
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.0.get_many(keys)
    }

    /// Stores all `entries` in one call. After an error some may be stored and others not.
    ///
    /// # Errors
    /// What the host reports.
    pub fn set_many(&self, entries: &[(&str, &[u8])]) -> Result<(), Error> {
        self.0.set_many(entries)
    }

    /// Removes all `keys` in one call. After an error some may be gone and others not.
    ///
    /// # Errors
    /// What the host reports.
    pub fn delete_many(&self, keys: &[&str]) -> Result<(), Error> {
        self.0.delete_many(keys)
    }
}
