//! The stores of guests on this node: each workload's share of them, and when it is given up.
//!
//! A workload that leaves the ledger loses its data, also if another of its name comes at once: its
//! replicas are shut out before the removal, and a start of that name waits until it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use runtime::{
    BlobInfo, BlobRead, BlobStore, BlobWrite, KeyValueStore, KeysFrom, NamePage, ObjectName,
    Services, StoreError,
};
use storage::{BlobError, KeyPosition, KeyValueError, KeyValues, StorageError, Stores};
use types::{ByteSize, Capability, ComponentSpec, Name};

/// Whether a workload still has its data; held for reading while one of its operations runs.
type Tenancy = Arc<RwLock<bool>>;

/// The stores and who has a share.
#[derive(Debug)]
pub(crate) struct GuestStores {
    stores: Stores,
    tenants: Mutex<BTreeMap<Name, Tenancy>>,
    /// Workloads whose data is to be removed, and their replicas' tenancies.
    doomed: Mutex<BTreeMap<String, Vec<Tenancy>>>,
    /// One removal at a time.
    removing: Mutex<()>,
}

/// One workload's share, with the quota of one component's grant.
#[derive(Debug, Clone)]
struct Share {
    stores: Stores,
    workload: String,
    quota: u64,
    tenancy: Tenancy,
}

fn disk(error: &StorageError) -> StoreError {
    tracing::error!("a store of guests failed: {error}");
    StoreError::Failed
}

fn quota(limit: u64, asked: u64) -> StoreError {
    let (limit, asked) = (ByteSize::bytes(limit), ByteSize::bytes(asked));
    StoreError::Quota { limit, asked }
}

fn keyvalue_error(error: KeyValueError) -> StoreError {
    match error {
        KeyValueError::Storage(error) => disk(&error),
        KeyValueError::Quota { limit, asked } => quota(limit, asked),
        other => StoreError::Refused(other.to_string()),
    }
}

fn blob_error(error: BlobError) -> StoreError {
    match error {
        BlobError::Storage(error) => disk(&error),
        BlobError::Quota { limit, asked } => quota(limit, asked),
        other => StoreError::Refused(other.to_string()),
    }
}

impl GuestStores {
    pub(crate) fn new(stores: Stores) -> Self {
        Self {
            stores,
            tenants: Mutex::default(),
            doomed: Mutex::default(),
            removing: Mutex::default(),
        }
    }

    /// What a component's replicas get of the stores, by its grants.
    pub(crate) fn services(&self, workload: &Name, spec: &ComponentSpec) -> Services {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let tenancy = tenants
            .entry(workload.clone())
            .or_insert_with(|| Arc::new(RwLock::new(true)));
        let share = |quota: ByteSize| Share {
            stores: self.stores.clone(),
            workload: workload.to_string(),
            quota: quota.as_u64(),
            tenancy: Arc::clone(tenancy),
        };
        let mut services = Services::default();
        for capability in &spec.capabilities {
            match capability {
                Capability::Keyvalue { quota } => services.keyvalue = Some(Arc::new(share(*quota))),
                Capability::Blobstore { quota } => {
                    services.blobstore = Some(Arc::new(share(*quota)))
                }
                _ => {}
            }
        }
        services
    }

    /// Marks everything for removal that is not in `deployed`. Says whether there is something.
    pub(crate) fn retain(&self, deployed: &BTreeSet<Name>) -> bool {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|workload, tenancy| {
            let live = deployed.contains(workload);
            if !live {
                doomed
                    .entry(workload.to_string())
                    .or_default()
                    .push(Arc::clone(tenancy));
            }
            live
        });
        !doomed.is_empty()
    }

    /// Marks what is on disk and not in `deployed`: a killed node may have left it.
    pub(crate) fn retain_on_disk(&self, deployed: &BTreeSet<Name>) -> Result<(), StorageError> {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let live = |name: &String| deployed.iter().any(|live| live.as_str() == name);
        for name in self
            .stores
            .workloads()?
            .into_iter()
            .filter(|name| !live(name))
        {
            doomed.entry(name).or_default();
        }
        Ok(())
    }

    /// Removes what is marked; when it returns, nothing of it is left. Blocks.
    pub(crate) fn remove_marked(&self) {
        let _removing = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let marked = self
            .doomed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (workload, tenancies) in marked {
            for tenancy in tenancies {
                *tenancy.write().unwrap_or_else(PoisonError::into_inner) = false;
            }
            if let Err(error) = self.stores.remove(&workload) {
                tracing::warn!("data of the removed workload {workload} stays on disk: {error}");
                continue;
            }
            self.doomed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&workload);
        }
    }
}

impl Share {
    /// Lets an operation in, as long as the workload is deployed.
    fn enter(&self) -> Result<RwLockReadGuard<'_, bool>, StoreError> {
        let tenancy = self.tenancy.read().unwrap_or_else(PoisonError::into_inner);
        if *tenancy {
            Ok(tenancy)
        } else {
            Err(StoreError::Removed)
        }
    }

    fn values<T>(
        &self,
        work: impl FnOnce(&KeyValues, &str) -> Result<T, KeyValueError>,
    ) -> Result<T, StoreError> {
        let _entered = self.enter()?;
        work(self.stores.keyvalues(), &self.workload).map_err(keyvalue_error)
    }

    fn blobs<T>(
        &self,
        work: impl FnOnce(&storage::Blobs, &str) -> Result<T, BlobError>,
    ) -> Result<T, StoreError> {
        let _entered = self.enter()?;
        work(self.stores.blobs(), &self.workload).map_err(blob_error)
    }
}

impl KeyValueStore for Share {
    fn check_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        KeyValues::check_bucket(bucket).map_err(keyvalue_error)
    }

    fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.values(|values, workload| values.get(workload, bucket, key))
    }

    fn many(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.values(|values, workload| values.many(workload, bucket, keys))
    }

    fn exists(&self, bucket: &str, key: &str) -> Result<bool, StoreError> {
        self.values(|values, workload| values.exists(workload, bucket, key))
    }

    fn keys(&self, bucket: &str, from: &KeysFrom) -> Result<NamePage, StoreError> {
        let from = match from {
            KeysFrom::Start => KeyPosition::Start,
            KeysFrom::Skip(count) => KeyPosition::Skip(*count),
            KeysFrom::After(key) => KeyPosition::After(key.clone()),
        };
        let page = self.values(|values, workload| values.keys(workload, bucket, &from))?;
        Ok(NamePage {
            names: page.keys,
            more: page.more,
        })
    }

    fn set(&self, bucket: &str, entries: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.values(|values, workload| values.set_many(workload, bucket, entries, self.quota))
    }

    fn delete(&self, bucket: &str, keys: Vec<String>) -> Result<(), StoreError> {
        self.values(|values, workload| values.delete(workload, bucket, keys))
    }

    fn increment(
        &self,
        bucket: &str,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Result<i128, StoreError> {
        self.values(|values, workload| {
            values.increment(workload, bucket, key, (delta, range), self.quota)
        })
    }

    fn swap(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<bool, StoreError> {
        self.values(|values, workload| {
            values.compare_and_swap(workload, bucket, key, (expected, value), self.quota)
        })
    }
}

impl BlobStore for Share {
    fn create_container(&self, container: &str) -> Result<(), StoreError> {
        self.blobs(|blobs, workload| blobs.create_container(workload, container, self.quota))
    }

    fn container(&self, container: &str) -> Result<Option<BlobInfo>, StoreError> {
        let found = self.blobs(|blobs, workload| blobs.container(workload, container))?;
        Ok(found.map(|found| BlobInfo {
            created_ms: found.created_ms,
            bytes: 0,
        }))
    }

    fn clear(&self, container: &str, whole: bool) -> Result<(), StoreError> {
        self.blobs(|blobs, workload| blobs.clear(workload, container, whole))
    }

    fn object(&self, (container, object): ObjectName<'_>) -> Result<Option<BlobInfo>, StoreError> {
        let found = self.blobs(|blobs, workload| blobs.object(workload, container, object))?;
        Ok(found.map(|found| BlobInfo {
            created_ms: found.created_ms,
            bytes: found.bytes,
        }))
    }

    fn objects(&self, container: &str, from: Option<&str>) -> Result<NamePage, StoreError> {
        let page = self.blobs(|blobs, workload| blobs.objects(workload, container, from))?;
        Ok(NamePage {
            names: page.keys,
            more: page.more,
        })
    }

    fn read(
        &self,
        object: ObjectName<'_>,
        start: u64,
        end: u64,
    ) -> Result<Box<dyn BlobRead>, StoreError> {
        let reader = self.blobs(|blobs, workload| blobs.read(workload, object, (start, end)))?;
        Ok(Box::new(Reader(reader)))
    }

    fn write(&self) -> Result<Box<dyn BlobWrite>, StoreError> {
        let writer = self.blobs(|blobs, workload| blobs.write(workload, self.quota))?;
        Ok(Box::new(Writer {
            share: self.clone(),
            writer,
        }))
    }

    fn delete(&self, container: &str, names: Vec<String>) -> Result<(), StoreError> {
        self.blobs(|blobs, workload| blobs.delete(workload, container, names))
    }

    fn copy(&self, from: ObjectName<'_>, to: ObjectName<'_>) -> Result<(), StoreError> {
        self.blobs(|blobs, workload| blobs.copy(workload, from, to, self.quota))
    }

    fn rename(&self, from: ObjectName<'_>, to: ObjectName<'_>) -> Result<(), StoreError> {
        self.blobs(|blobs, workload| blobs.rename(workload, from, to, self.quota))
    }
}

struct Reader(storage::BlobReader);

impl BlobRead for Reader {
    fn left(&self) -> u64 {
        self.0.left()
    }

    fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        self.0.read(bytes_max).map_err(|error| disk(&error))
    }
}

struct Writer {
    share: Share,
    writer: storage::BlobWriter,
}

impl BlobWrite for Writer {
    fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let _entered = self.share.enter()?;
        self.writer.write(piece).map_err(blob_error)
    }

    fn finish(self: Box<Self>, (container, object): ObjectName<'_>) -> Result<(), StoreError> {
        let _entered = self.share.enter()?;
        self.writer.finish(container, object).map_err(blob_error)
    }
}

#[cfg(test)]
mod tests {
    use types::{ComponentKind, Digest};

    use super::*;

    fn services(stores: &GuestStores, workload: &str) -> Services {
        let name = Name::new("c").unwrap();
        let quota = ByteSize::bytes(100);
        let spec = ComponentSpec {
            capabilities: vec![
                Capability::Keyvalue { quota },
                Capability::Blobstore { quota },
            ],
            ..ComponentSpec::new(name, ComponentKind::Library, Digest::of(b""))
        };
        stores.services(&Name::new(workload).unwrap(), &spec)
    }

    #[test]
    fn a_removed_workload_is_shut_out_and_its_name_starts_empty() {
        let folder = tempfile::tempdir().unwrap();
        let stores = GuestStores::new(Stores::open(folder.path()).unwrap());
        let entry = || vec![("k".to_owned(), b"v".to_vec())];
        let old = services(&stores, "web").keyvalue.unwrap();
        let blobs = services(&stores, "web").blobstore.unwrap();
        let other = services(&stores, "shop").keyvalue.unwrap();
        old.set("b", entry()).unwrap();
        other.set("b", entry()).unwrap();
        blobs.create_container("c").unwrap();
        let mut writing = blobs.write().unwrap();
        writing.write(b"content").unwrap();

        let deployed = BTreeSet::from([Name::new("shop").unwrap()]);
        assert!(stores.retain(&deployed));
        stores.remove_marked();
        assert!(!stores.retain(&deployed));
        assert_eq!(old.set("b", entry()), Err(StoreError::Removed));
        assert_eq!(old.get("b", "k"), Err(StoreError::Removed));
        assert_eq!(writing.finish(("c", "o")), Err(StoreError::Removed));
        let new = services(&stores, "web").keyvalue.unwrap();
        assert_eq!(new.get("b", "k"), Ok(None));
        assert_eq!(other.get("b", "k"), Ok(Some(b"v".to_vec())));
        let large = vec![("k".to_owned(), vec![0; 100])];
        let (limit, asked) = (ByteSize::bytes(100), ByteSize::bytes(101));
        assert_eq!(new.set("b", large), Err(StoreError::Quota { limit, asked }));
    }

    #[test]
    fn what_a_killed_node_left_of_a_removed_workload_goes_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let stores = GuestStores::new(Stores::open(folder.path()).unwrap());
        let entry = vec![("k".to_owned(), b"v".to_vec())];
        services(&stores, "web")
            .keyvalue
            .unwrap()
            .set("b", entry)
            .unwrap();
        drop(stores);
        let stores = GuestStores::new(Stores::open(folder.path()).unwrap());
        stores
            .retain_on_disk(&BTreeSet::from([Name::new("web").unwrap()]))
            .unwrap();
        stores.remove_marked();
        assert!(
            services(&stores, "web")
                .keyvalue
                .unwrap()
                .exists("b", "k")
                .unwrap()
        );
        stores.retain_on_disk(&BTreeSet::new()).unwrap();
        stores.remove_marked();
        assert!(stores.stores.workloads().unwrap().is_empty());
    }
}
