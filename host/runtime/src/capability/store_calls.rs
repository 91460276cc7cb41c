//! Calls of stores from guests: on threads that may block, so many at once, a breach for a quota
//! that was reached. Knows no interface.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::bounds::{OPEN_CONTENTS_MAX, STORE_CALLS_AT_ONCE_MAX};
use crate::errors::Breach;
use crate::host::Host;
use crate::meter::Meter;
use crate::services::{BlobStore, KeyValueStore, Services, StoreError};

/// The stores of a replica and what its instances may do with them at once.
pub(crate) struct Stores {
    pub(crate) keyvalue: Option<Arc<dyn KeyValueStore>>,
    pub(crate) blobstore: Option<Arc<dyn BlobStore>>,
    calls: Arc<Semaphore>,
    contents: Arc<Semaphore>,
}

impl Stores {
    pub(crate) fn new(services: &Services) -> Self {
        Self {
            keyvalue: services.keyvalue.clone(),
            blobstore: services.blobstore.clone(),
            calls: Arc::new(Semaphore::new(STORE_CALLS_AT_ONCE_MAX)),
            contents: Arc::new(Semaphore::new(OPEN_CONTENTS_MAX)),
        }
    }

    /// The right to have one more content open.
    pub(super) fn open_content(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.contents).try_acquire_owned().map_err(|_| {
            StoreError::Refused(format!(
                "{OPEN_CONTENTS_MAX} contents are open, the most at once"
            ))
        })
    }

    /// Begins `work` as soon as its turn comes; it goes on if nobody waits for it.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let calls = Arc::clone(&self.calls);
        tokio::spawn(async move {
            let turn = calls.acquire_owned().await.ok()?;
            let done = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                work()
            });
            done.await.ok()
        })
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        meter: &Meter,
        store: &'static str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.begin(work).await.ok().flatten();
        done.unwrap_or(Err(StoreError::Failed))
            .inspect_err(|error| report(meter, store, error))
    }
}

/// Tells the observer of a quota that was reached.
pub(super) fn report(meter: &Meter, store: &'static str, error: &StoreError) {
    if let StoreError::Quota { limit, asked } = error {
        meter.breach(&Breach::Quota {
            store,
            limit: *limit,
            asked: *asked,
        });
    }
}

impl Host {
    /// Calls the workload's buckets.
    pub(super) async fn keyvalue<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&dyn KeyValueStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (guest, meter) = (Arc::clone(self.guest()), Arc::clone(self.meter()));
        let store = guest.stores.keyvalue.clone().ok_or_else(absent)?;
        let call = guest.stores.call(&meter, "keyvalue", move || work(&*store));
        call.await
    }

    /// Calls the workload's containers.
    pub(super) async fn blobstore<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&dyn BlobStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (guest, meter) = (Arc::clone(self.guest()), Arc::clone(self.meter()));
        let store = guest.stores.blobstore.clone().ok_or_else(absent)?;
        let call = guest
            .stores
            .call(&meter, "blobstore", move || work(&*store));
        call.await
    }
}

fn absent() -> StoreError {
    StoreError::Refused("this node has no such store".to_owned())
}
