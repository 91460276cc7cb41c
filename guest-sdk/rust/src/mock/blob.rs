//! Containers in memory.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use super::with;
use crate::blob::Error;

#[derive(Debug)]
pub(crate) struct Container(String);

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn open(name: &str) -> Result<Container, Error> {
    Ok(Container(name.to_owned()))
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
impl Container {
    fn objects<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        with(|state| act(state.containers.entry(self.0.clone()).or_default()))
    }

    fn object<T>(&self, name: &str, act: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let missing = || Error::Host(format!("there is no object `{name}`"));
        self.objects(|objects| objects.get(name).map(|bytes| act(bytes)))
            .ok_or_else(missing)
    }

    pub(crate) fn read(&self, name: &str, first: u64, last: u64) -> Result<Box<dyn Read>, Error> {
        let part = self.object(name, |bytes| {
            let first = usize::try_from(first).unwrap_or(usize::MAX);
            let after = usize::try_from(last)
                .unwrap_or(usize::MAX)
                .saturating_add(1);
            let after = after.min(bytes.len());
            bytes.get(first..after).map(<[u8]>::to_vec)
        })?;
        let part = part.ok_or_else(|| Error::Host(format!("`{name}` ends before byte {first}")))?;
        Ok(Box::new(Cursor::new(part)))
    }

    pub(crate) fn write(
        &self,
        name: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        self.objects(|objects| objects.insert(name.to_owned(), bytes));
        Ok(())
    }

    pub(crate) fn size(&self, name: &str) -> Result<u64, Error> {
        self.object(name, |bytes| bytes.len() as u64)
    }

    pub(crate) fn exists(&self, name: &str) -> Result<bool, Error> {
        Ok(self.objects(|objects| objects.contains_key(name)))
    }

    pub(crate) fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.objects(|objects| objects.keys().cloned().collect()))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
        self.objects(|objects| objects.remove(name));
        Ok(())
    }
}
