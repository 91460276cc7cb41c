//! Buckets of keys and values, per workload. Every operation is one transaction, durable when it
//! returns. Who may use them, and how much of them, comes with each call.

use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use redb::{ReadableTable, WriteTransaction};

use crate::keyvalue_rows::{Changes, USAGE, VALUES, after, change};
use crate::store_bounds::{
    BATCH_BYTES_MAX, BATCH_KEYS_MAX, KEY_BYTES_MAX, PAGE_NAMES_MAX, STORE_NAME_BYTES_MAX,
    VALUE_BYTES_MAX,
};
use crate::store_errors::KeyValueError;
use crate::tables::{Applied, Tables};

/// All buckets of a node.
#[derive(Debug, Clone)]
pub struct KeyValues {
    tables: Arc<Tables>,
}

/// Where a listing begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPosition {
    /// With the first key.
    Start,
    /// After so many keys: exact only while nobody adds or removes keys.
    Skip(u64),
    /// After this key, whether or not it is still there.
    After(String),
}

/// A page of a listing, in the order of the keys' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// At most [`PAGE_NAMES_MAX`].
    pub keys: Vec<String>,
    /// Whether more follow.
    pub more: bool,
}

/// Whether a bucket or container may have this name.
pub(crate) fn is_name(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn check_key(key: &str) -> Result<(), KeyValueError> {
    let (bytes, max) = (key.len(), KEY_BYTES_MAX);
    let fits = bytes <= max;
    fits.then_some(()).ok_or(KeyValueError::TooLarge {
        what: "a key",
        bytes,
        max,
    })
}

fn check_value(value: &[u8]) -> Result<(), KeyValueError> {
    let (bytes, max) = (value.len(), VALUE_BYTES_MAX);
    let fits = bytes <= max;
    fits.then_some(()).ok_or(KeyValueError::TooLarge {
        what: "a value",
        bytes,
        max,
    })
}

fn check_batch(keys: usize) -> Result<(), KeyValueError> {
    let fits = keys <= BATCH_KEYS_MAX;
    let (what, max) = ("keys in one batch", BATCH_KEYS_MAX as u64);
    fits.then_some(())
        .ok_or(KeyValueError::TooMany { what, max })
}

fn check_batch_bytes(bytes: usize) -> Result<(), KeyValueError> {
    let (fits, max) = (bytes <= BATCH_BYTES_MAX, BATCH_BYTES_MAX);
    fits.then_some(()).ok_or(KeyValueError::TooLarge {
        what: "a batch",
        bytes,
        max,
    })
}

/// The number that a value holds; nothing counts as zero. Whole numbers are kept as decimal
/// digits, so that what reads the key as text sees a number.
fn number(value: Option<&[u8]>) -> Option<i128> {
    match value {
        None => Some(0),
        // No range of the interfaces has more digits.
        Some(text) if text.len() <= 24 => std::str::from_utf8(text).ok()?.parse().ok(),
        Some(_) => None,
    }
}

impl KeyValues {
    pub(crate) const fn new(tables: Arc<Tables>) -> Self {
        Self { tables }
    }

    /// Whether a bucket may be called `bucket`. Buckets need no making: one that holds nothing is
    /// empty.
    ///
    /// # Errors
    /// [`KeyValueError::BucketName`].
    pub fn check_bucket(bucket: &str) -> Result<(), KeyValueError> {
        let max = STORE_NAME_BYTES_MAX;
        is_name(bucket, max)
            .then_some(())
            .ok_or(KeyValueError::BucketName { max })
    }

    /// The value of a key, if it is there.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn get(
        &self,
        workload: &str,
        bucket: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, KeyValueError> {
        self.tables.read(|transaction| {
            let values = transaction.open_table(VALUES)?;
            let value = values.get((workload, bucket, key))?;
            Ok(Ok(value.map(|value| value.value().to_vec())))
        })
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn exists(&self, workload: &str, bucket: &str, key: &str) -> Result<bool, KeyValueError> {
        self.tables.read(|transaction| {
            Ok(Ok(transaction
                .open_table(VALUES)?
                .get((workload, bucket, key))?
                .is_some()))
        })
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// [`KeyValueError::TooMany`] and [`KeyValueError::TooLarge`] if the values do not fit into
    /// one batch.
    pub fn many(
        &self,
        workload: &str,
        bucket: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, KeyValueError> {
        check_batch(keys.len())?;
        self.tables.read(|transaction| {
            let table = transaction.open_table(VALUES)?;
            let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
            for key in keys {
                let value = table.get((workload, bucket, key.as_str()))?;
                bytes += value.as_ref().map_or(0, |value| value.value().len());
                if let Err(error) = check_batch_bytes(bytes) {
                    return Ok(Err(error));
                }
                found.push(value.map(|value| value.value().to_vec()));
            }
            Ok(Ok(found))
        })
    }

    /// A page of keys.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn keys(
        &self,
        workload: &str,
        bucket: &str,
        from: &KeyPosition,
    ) -> Result<KeyPage, KeyValueError> {
        let end = after(bucket);
        let (start, skip) = match from {
            KeyPosition::Start => (Bound::Included((workload, bucket, "")), 0),
            KeyPosition::Skip(count) => {
                let skip = usize::try_from(*count).unwrap_or(usize::MAX);
                (Bound::Included((workload, bucket, "")), skip)
            }
            KeyPosition::After(key) => (Bound::Excluded((workload, bucket, key.as_str())), 0),
        };
        self.tables.read(|transaction| {
            let values = transaction.open_table(VALUES)?;
            let end = Bound::Excluded((workload, end.as_str(), ""));
            let mut keys = Vec::new();
            for row in values.range::<(&str, &str, &str)>((start, end))?.skip(skip) {
                let (key, _) = row?;
                if keys.len() == PAGE_NAMES_MAX {
                    return Ok(Ok(KeyPage { keys, more: true }));
                }
                keys.push(key.value().2.to_owned());
            }
            Ok(Ok(KeyPage { keys, more: false }))
        })
    }

    /// Gives a key its value.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn set(
        &self,
        workload: &str,
        bucket: &str,
        key: &str,
        value: Vec<u8>,
        quota: u64,
    ) -> Result<(), KeyValueError> {
        self.set_many(workload, bucket, vec![(key.to_owned(), value)], quota)
    }

    /// Gives several keys their values, all or none. Of one key that comes twice the last counts.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn set_many(
        &self,
        workload: &str,
        bucket: &str,
        entries: Vec<(String, Vec<u8>)>,
        quota: u64,
    ) -> Result<(), KeyValueError> {
        check_batch(entries.len())?;
        check_batch_bytes(entries.iter().map(|(_, value)| value.len()).sum())?;
        for (key, value) in &entries {
            check_key(key)?;
            check_value(value)?;
        }
        let changes = entries
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        self.change(workload, bucket, changes, quota)
    }

    /// Deletes keys; those that are not there are passed over.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn delete(
        &self,
        workload: &str,
        bucket: &str,
        keys: Vec<String>,
    ) -> Result<(), KeyValueError> {
        check_batch(keys.len())?;
        let changes = keys.into_iter().map(|key| (key, None)).collect();
        self.change(workload, bucket, changes, u64::MAX)
    }

    /// Adds to the whole number that a key holds, zero if it is absent, and says what it is then.
    ///
    /// # Errors
    /// [`KeyValueError::NotNumber`], or [`KeyValueError::Range`] if the sum is not in `range`.
    pub fn increment(
        &self,
        workload: &str,
        bucket: &str,
        key: &str,
        (delta, range): (i128, RangeInclusive<i128>),
        quota: u64,
    ) -> Result<i128, KeyValueError> {
        self.update(workload, bucket, key, quota, move |old| {
            let sum = number(old)
                .ok_or(KeyValueError::NotNumber)?
                .checked_add(delta);
            let sum = sum
                .filter(|sum| range.contains(sum))
                .ok_or(KeyValueError::Range)?;
            Ok((Some(sum.to_string().into_bytes()), sum))
        })
    }

    /// Gives a key its value if it still has the value `expected`, none for absent. Says whether.
    ///
    /// # Errors
    /// [`KeyValueError`], as for every operation.
    pub fn compare_and_swap(
        &self,
        workload: &str,
        bucket: &str,
        key: &str,
        (expected, value): (Option<Vec<u8>>, Vec<u8>),
        quota: u64,
    ) -> Result<bool, KeyValueError> {
        check_value(&value)?;
        self.update(workload, bucket, key, quota, move |old| {
            let same = old == expected.as_deref();
            Ok((same.then_some(value), same))
        })
    }

    /// The bytes of all keys and values of a workload.
    ///
    /// # Errors
    /// [`KeyValueError::Storage`].
    pub fn used_bytes(&self, workload: &str) -> Result<u64, KeyValueError> {
        self.tables.read(|transaction| {
            let usage = transaction.open_table(USAGE)?;
            Ok(Ok(usage.get(workload)?.map_or(0, |row| row.value().0)))
        })
    }

    fn change(
        &self,
        workload: &str,
        bucket: &str,
        changes: Changes,
        quota: u64,
    ) -> Result<(), KeyValueError> {
        Self::check_bucket(bucket)?;
        if changes.is_empty() {
            return Ok(());
        }
        let (workload, bucket) = (workload.to_owned(), bucket.to_owned());
        self.tables
            .write(move |transaction| change(transaction, &workload, &bucket, &changes, quota))
    }

    /// Replaces one value by what `update` makes of it, unless that is none.
    fn update<T: Send + 'static>(
        &self,
        workload: &str,
        bucket: &str,
        key: &str,
        quota: u64,
        update: impl FnOnce(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T), KeyValueError>
        + Send
        + 'static,
    ) -> Result<T, KeyValueError> {
        Self::check_bucket(bucket)?;
        check_key(key)?;
        let [workload, bucket, key] = [workload, bucket, key].map(str::to_owned);
        let work = move |transaction: &WriteTransaction| -> Applied<T, KeyValueError> {
            let updated = {
                let values = transaction.open_table(VALUES)?;
                let old = values.get((workload.as_str(), bucket.as_str(), key.as_str()))?;
                update(old.as_ref().map(|old| old.value()))
            };
            let (value, result) = match updated {
                Ok(updated) => updated,
                Err(error) => return Ok(Err(error)),
            };
            let Some(value) = value else {
                return Ok(Ok(result));
            };
            let changes = Changes::from([(key, Some(value))]);
            let changed = change(transaction, &workload, &bucket, &changes, quota)?;
            Ok(changed.map(|()| result))
        };
        self.tables.write(work)
    }
}
