//! `wasi:keyvalue@0.2.0-draft2`: the draft that other hosts deploy, over the same buckets.
//!
//! Grant, limits and denials are those of [`super::keyvalue`]. What differs: cursors are texts, here
//! the last key of the page before; whole numbers have a sign; `cas` handles swap a value if it is
//! still the one that the handle last saw, when it was made or by `current`. They compare values,
//! so a value that was changed and changed back counts as unchanged. A handle keeps a hash of the
//! value and a key of at most [`CAS_KEY_BYTES_MAX`], so that a hoard of handles stays small.

use blake3::Hash;
use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::keyvalue::Bucket;
use super::{Grant, Package};
use crate::bounds::CAS_KEY_BYTES_MAX;
use crate::errors::clipped;
use crate::host::Host;
use crate::services::{KeyValueStore, KeysFrom, StoreError};

pub(super) const PACKAGE: Package = Package {
    name: "wasi:keyvalue",
    version: "0.2.0-draft2",
    interfaces: &["atomics", "batch", "store"],
    grant: Some(Grant {
        interfaces: &["atomics", "batch", "store"],
        line: "capabilities.keyvalue = \"QUOTA\"",
        covers: |capability| matches!(capability, Capability::Keyvalue { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-keyvalue-0.2.0-draft2",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": super::super::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": super::Cas,
        },
    });
}

/// A swap that a guest prepares.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Cas {
    bucket: String,
    key: String,
    /// The hash of the value that the key must still have; none if there was no value.
    seen: Option<Hash>,
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    store::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    atomics::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    batch::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

fn denial(error: StoreError) -> store::Error {
    match error {
        StoreError::Removed => store::Error::AccessDenied,
        error => store::Error::Other(clipped(&error.to_string())),
    }
}

fn answer<T>(result: Result<T, StoreError>) -> Answer<T> {
    Ok(result.map_err(denial))
}

fn hash(value: Option<&Vec<u8>>) -> Option<Hash> {
    value.map(|value| blake3::hash(value))
}

impl Cas {
    /// Gives the key its value if it still has the one that was seen; else the handle sees the one
    /// that it has now, and comes back.
    fn swap(
        mut self,
        store: &dyn KeyValueStore,
        value: Vec<u8>,
    ) -> Result<Option<Self>, StoreError> {
        let found = store.get(&self.bucket, &self.key)?;
        let now = hash(found.as_ref());
        if now == self.seen && store.swap(&self.bucket, &self.key, found, value)? {
            return Ok(None);
        }
        self.seen = hash(store.get(&self.bucket, &self.key)?.as_ref());
        Ok(Some(self))
    }
}

impl store::Host for Host {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        let Some(store) = &self.stores().keyvalue else {
            return Ok(Err(store::Error::NoSuchStore));
        };
        if store.check_bucket(&identifier).is_err() {
            return Ok(Err(store::Error::NoSuchStore));
        }
        Ok(Ok(self.table().push(Bucket { name: identifier })?))
    }
}

impl store::HostBucket for Host {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let bucket = self.bucket(&bucket)?;
        answer(self.keyvalue(move |store| store.get(&bucket, &key)).await)
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        let set = self.keyvalue(move |store| store.set(&bucket, vec![(key, value)]));
        answer(set.await)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        let deleted = self.keyvalue(move |store| store.delete(&bucket, vec![key]));
        answer(deleted.await)
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let bucket = self.bucket(&bucket)?;
        let found = self.keyvalue(move |store| store.exists(&bucket, &key));
        answer(found.await)
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> Answer<store::KeyResponse> {
        let bucket = self.bucket(&bucket)?;
        let from = cursor.map_or(KeysFrom::Start, KeysFrom::After);
        let page = self.keyvalue(move |store| store.keys(&bucket, &from)).await;
        answer(page.map(|page| {
            let last = page.names.last().cloned();
            store::KeyResponse {
                keys: page.names,
                cursor: last.filter(|_| page.more),
            }
        }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table().delete(bucket)?;
        Ok(())
    }
}

impl atomics::HostCas for Host {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<Cas>> {
        let bucket = self.bucket(&bucket)?;
        if key.len() > CAS_KEY_BYTES_MAX {
            let text = format!(
                "{} bytes are more than a key may have: {CAS_KEY_BYTES_MAX}",
                key.len()
            );
            return answer(Err(StoreError::Refused(text)));
        }
        let made = self.keyvalue(move |store| {
            let seen = hash(store.get(&bucket, &key)?.as_ref());
            Ok(Cas { bucket, key, seen })
        });
        match made.await {
            Ok(cas) => Ok(Ok(self.table().push(cas)?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        let Cas { bucket, key, .. } = self.table().get(&cas)?.clone();
        match self.keyvalue(move |store| store.get(&bucket, &key)).await {
            Ok(value) => {
                self.table().get_mut(&cas)?.seen = hash(value.as_ref());
                Ok(Ok(value))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table().delete(cas)?;
        Ok(())
    }
}

impl atomics::Host for Host {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Answer<i64> {
        let bucket = self.bucket(&bucket)?;
        let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
        let sum = self
            .keyvalue(move |store| store.increment(&bucket, &key, delta.into(), range))
            .await;
        answer(sum.and_then(|sum| i64::try_from(sum).map_err(|_| StoreError::Failed)))
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let cas = self.table().delete(cas)?;
        match self.keyvalue(move |store| cas.swap(store, value)).await {
            Ok(None) => Ok(Ok(())),
            Ok(Some(again)) => {
                let again = self.table().push(again)?;
                Ok(Err(atomics::CasError::CasFailed(again)))
            }
            Err(error) => Ok(Err(atomics::CasError::StoreError(denial(error)))),
        }
    }
}

impl batch::Host for Host {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let bucket = self.bucket(&bucket)?;
        let found = self.keyvalue(move |store| {
            let values = store.many(&bucket, &keys)?;
            Ok(keys.into_iter().zip(values).collect())
        });
        answer(found.await)
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        let set = self.keyvalue(move |store| store.set(&bucket, entries));
        answer(set.await)
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        let deleted = self.keyvalue(move |store| store.delete(&bucket, keys));
        answer(deleted.await)
    }
}
