//! Buckets in memory: every name exists.

use std::collections::BTreeMap;

use super::with;
use crate::keyvalue::Error;

/// Keys, and where to go on.
type Page = (Vec<String>, Option<u64>);

#[derive(Debug)]
pub(crate) struct Bucket(String);

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn open(name: &str) -> Result<Bucket, Error> {
    Ok(Bucket(name.to_owned()))
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
impl Bucket {
    fn entries<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        with(|state| act(state.buckets.entry(self.0.clone()).or_default()))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.entries(|entries| entries.get(key).cloned()))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.entries(|entries| entries.insert(key.to_owned(), value.to_owned()));
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), Error> {
        self.entries(|entries| entries.remove(key));
        Ok(())
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.entries(|entries| entries.contains_key(key)))
    }

    pub(crate) fn keys(&self, _: Option<u64>) -> Result<Page, Error> {
        Ok((
            self.entries(|entries| entries.keys().cloned().collect()),
            None,
        ))
    }

    pub(crate) fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        self.entries(|entries| {
            let number = match entries.get(key) {
                None => Some(0),
                Some(value) => std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse::<u64>().ok()),
            };
            let sum = number.and_then(|number| number.checked_add(delta));
            let sum = sum.ok_or_else(|| {
                Error::Host(format!("`{key}` is no number that can grow so much"))
            })?;
            entries.insert(key.to_owned(), sum.to_string().into_bytes());
            Ok(sum)
        })
    }

    pub(crate) fn get_many(&self, keys: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        Ok(self.entries(|entries| {
            let found = keys.iter().filter_map(|&key| entries.get_key_value(key));
            found
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        }))
    }

    pub(crate) fn set_many(&self, entries: &[(&str, &[u8])]) -> Result<(), Error> {
        entries
            .iter()
            .try_for_each(|(key, value)| self.set(key, value))
    }

    pub(crate) fn delete_many(&self, keys: &[&str]) -> Result<(), Error> {
        keys.iter().try_for_each(|key| self.delete(key))
    }
}
