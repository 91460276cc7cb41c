//! `wasi:keyvalue`: buckets of the workload.
//!
//! *Grant*: `capabilities.keyvalue = "QUOTA"`; without it a component that imports the package is
//! refused at deploy. *Limits*: keys and values of the workload together stay within the quota;
//! names, keys, values, batches and counts have the bounds of the store behind
//! [`crate::KeyValueStore`]. *Denial*: `error.other` with a text that names the bound, for a quota
//! also [`crate::Breach::Quota`]; `error.no-such-store` for a name that no bucket can have.
//!
//! Any valid name opens a bucket. Whole numbers that are incremented are kept as decimal digits.
//! A cursor counts the keys before it, so keys may be missed or come twice while others write.

use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::{Grant, Package};
use crate::errors::clipped;
use crate::host::Host;
use crate::services::{KeysFrom, StoreError};

pub(super) const PACKAGE: Package = Package {
    name: "wasi:keyvalue",
    version: "0.2.0-draft",
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
        path: "../../wit/deps/wasi-keyvalue-0.2.0-draft",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

/// An open bucket: its name is all there is to it.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Bucket {
    pub(super) name: String,
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    store::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    atomics::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    batch::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

fn answer<T>(result: Result<T, StoreError>) -> Answer<T> {
    Ok(result.map_err(|error| match error {
        StoreError::Removed => store::Error::AccessDenied,
        error => store::Error::Other(clipped(&error.to_string())),
    }))
}

impl Host {
    /// The name of an open bucket.
    pub(super) fn bucket(&mut self, bucket: &Resource<Bucket>) -> wasmtime::Result<String> {
        Ok(self.table().get(bucket)?.name.clone())
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
        answer(
            self.keyvalue(move |store| store.set(&bucket, vec![(key, value)]))
                .await,
        )
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        answer(
            self.keyvalue(move |store| store.delete(&bucket, vec![key]))
                .await,
        )
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let bucket = self.bucket(&bucket)?;
        answer(
            self.keyvalue(move |store| store.exists(&bucket, &key))
                .await,
        )
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Answer<store::KeyResponse> {
        let bucket = self.bucket(&bucket)?;
        let from = cursor.map_or(KeysFrom::Start, KeysFrom::Skip);
        let page = self.keyvalue(move |store| store.keys(&bucket, &from)).await;
        answer(page.map(|page| {
            let next = cursor.unwrap_or(0).saturating_add(page.names.len() as u64);
            store::KeyResponse {
                keys: page.names,
                cursor: page.more.then_some(next),
            }
        }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table().delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Host {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Answer<u64> {
        let bucket = self.bucket(&bucket)?;
        let range = 0..=i128::from(u64::MAX);
        let sum = self
            .keyvalue(move |store| store.increment(&bucket, &key, delta.into(), range))
            .await;
        answer(sum.and_then(|sum| u64::try_from(sum).map_err(|_| StoreError::Failed)))
    }
}

impl batch::Host for Host {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let bucket = self.bucket(&bucket)?;
        let found = self.keyvalue(move |store| {
            let values = store.many(&bucket, &keys)?;
            let pairs = keys.into_iter().zip(values);
            Ok(pairs
                .map(|(key, value)| value.map(|value| (key, value)))
                .collect())
        });
        answer(found.await)
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        answer(
            self.keyvalue(move |store| store.set(&bucket, entries))
                .await,
        )
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        answer(
            self.keyvalue(move |store| store.delete(&bucket, keys))
                .await,
        )
    }
}
