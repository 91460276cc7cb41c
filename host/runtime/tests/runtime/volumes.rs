//! `hypermesh:assets/volumes`: what guests see of volumes, what a greedy one gets, and that what they
//! had comes back however they end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use hypermesh_runtime::{
    AssetError, Checkpoint, CheckpointError, Checkpoints, ImportRefusal, ReplicaState, Services,
    StartReplicaError, VOLUMES_OPEN_MAX, Volume, VolumeAwaited, VolumeError, VolumeLayout,
    VolumeRepaired, VolumeShare, VolumeUsage, Volumes,
};
use tokio::sync::Semaphore;
use types::{ByteSize, Capability, ComponentSpec, Millis};

use crate::harness::{Started, eventually, guest, runtime, try_start, try_start_with};

/// Storage whose leases come when the test lets them.
#[derive(Debug)]
struct Depot {
    leases: Arc<Semaphore>,
    live: Arc<AtomicUsize>,
    asked: AtomicUsize,
    layouts: Mutex<Vec<VolumeLayout>>,
    shared: Arc<Mutex<Option<VolumeShare>>>,
}

impl Depot {
    fn new(leases: usize) -> Arc<Self> {
        Arc::new(Self {
            leases: Arc::new(Semaphore::new(leases)),
            live: Arc::default(),
            asked: AtomicUsize::new(0),
            layouts: Mutex::default(),
            shared: Arc::default(),
        })
    }

    fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    fn volume(&self, bytes: u64) -> Arc<dyn Volume> {
        self.live.fetch_add(1, Ordering::SeqCst);
        Arc::new(Shelf {
            content: Mutex::new(vec![0; usize::try_from(bytes).unwrap()]),
            files: Mutex::default(),
            live: Arc::clone(&self.live),
            shared: Arc::clone(&self.shared),
        })
    }
}

#[derive(Debug)]
struct Shelf {
    content: Mutex<Vec<u8>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    live: Arc<AtomicUsize>,
    shared: Arc<Mutex<Option<VolumeShare>>>,
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

fn now<T: Send + 'static>(result: Result<T, VolumeError>) -> VolumeAwaited<T> {
    std::future::ready(result).boxed()
}

impl Volumes for Depot {
    fn allocate(&self, bytes: u64, _: u64, layout: VolumeLayout) -> VolumeAwaited<Arc<dyn Volume>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.layouts.lock().unwrap().push(layout);
        let leases = Arc::clone(&self.leases);
        // Made at once, so that what becomes of it is seen where nobody waits any more.
        let volume = self.volume(bytes);
        async move {
            leases.acquire().await.unwrap().forget();
            Ok(volume)
        }
        .boxed()
    }

    fn open(&self, capability: String) -> VolumeAwaited<Arc<dyn Volume>> {
        now(match capability.as_str() {
            "good" => Ok(self.volume(16)),
            "ended" => Err(AssetError::Ended.into()),
            other => Err(AssetError::Denied(other.to_owned()).into()),
        })
    }
}

impl Shelf {
    fn part<T>(
        &self,
        offset: u64,
        bytes: usize,
        act: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, VolumeError> {
        let mut content = self.content.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let part = content.get_mut(from..from + bytes);
        part.map(act)
            .ok_or_else(|| VolumeError::Full("no room".to_owned()))
    }

    fn file<T>(&self, name: &str, act: impl FnOnce(&mut Vec<u8>) -> T) -> VolumeAwaited<T>
    where
        T: Send + 'static,
    {
        let mut files = self.files.lock().unwrap();
        let missing = || VolumeError::NotFound(name.to_owned());
        now(files.get_mut(name).map(act).ok_or_else(missing))
    }
}

impl Volume for Shelf {
    fn read(&self, offset: u64, bytes: u32) -> VolumeAwaited<Vec<u8>> {
        now(self.part(offset, usize::try_from(bytes).unwrap(), |part| {
            part.to_vec()
        }))
    }

    fn write(&self, offset: u64, bytes: Vec<u8>) -> VolumeAwaited<()> {
        now(self.part(offset, bytes.len(), |part| part.copy_from_slice(&bytes)))
    }

    fn sync(&self) -> VolumeAwaited<()> {
        now(Err(VolumeError::Fenced("another one writes".to_owned())))
    }

    fn create_file(&self, name: String) -> VolumeAwaited<()> {
        let mut files = self.files.lock().unwrap();
        if files.contains_key(&name) {
            return now(Err(VolumeError::Exists(name)));
        }
        files.insert(name, Vec::new());
        now(Ok(()))
    }

    fn read_file(&self, name: String, offset: u64, bytes: u32) -> VolumeAwaited<Vec<u8>> {
        let from = usize::try_from(offset).unwrap();
        self.file(&name, |file| {
            let until = (from + usize::try_from(bytes).unwrap()).min(file.len());
            file[from.min(until)..until].to_vec()
        })
    }

    fn write_file(&self, name: String, offset: u64, bytes: Vec<u8>) -> VolumeAwaited<()> {
        let from = usize::try_from(offset).unwrap();
        self.file(&name, |file| {
            file.resize(file.len().max(from + bytes.len()), 0);
            file[from..from + bytes.len()].copy_from_slice(&bytes);
        })
    }

    fn file_size(&self, name: String) -> VolumeAwaited<u64> {
        self.file(&name, |file| file.len() as u64)
    }

    fn set_file_size(&self, name: String, bytes: u64) -> VolumeAwaited<()> {
        self.file(&name, |file| {
            file.resize(usize::try_from(bytes).unwrap(), 0);
        })
    }

    fn list_files(&self, after: Option<String>) -> VolumeAwaited<(Vec<String>, bool)> {
        let files = self.files.lock().unwrap();
        let names = files.keys().filter(|name| Some(*name) > after.as_ref());
        now(Ok((names.cloned().collect(), false)))
    }

    fn rename_file(&self, name: String, to: String) -> VolumeAwaited<()> {
        let mut files = self.files.lock().unwrap();
        let Some(file) = files.remove(&name) else {
            return now(Err(VolumeError::NotFound(name)));
        };
        files.insert(to, file);
        now(Ok(()))
    }

    fn remove_file(&self, name: String) -> VolumeAwaited<()> {
        self.files.lock().unwrap().remove(&name);
        now(Ok(()))
    }

    fn usage(&self) -> VolumeAwaited<VolumeUsage> {
        now(Ok(VolumeUsage {
            bytes: 1,
            used_bytes: 2,
            leased_bytes: 3,
            members: 4,
            reached: 5,
            left_ms: 6,
        }))
    }

    fn renew(&self, term_ms: u64) -> VolumeAwaited<()> {
        now(match term_ms {
            0 => Err(AssetError::Invalid("no time".to_owned()).into()),
            _ => Ok(()),
        })
    }

    fn share(&self, share: VolumeShare) -> Result<String, VolumeError> {
        *self.shared.lock().unwrap() = Some(share);
        Ok("a capability".to_owned())
    }

    fn revoke(&self, capability: String) -> VolumeAwaited<()> {
        now(Err(AssetError::Lost(capability).into()))
    }

    fn keep(&self) -> VolumeAwaited<String> {
        now(Ok("for later".to_owned()))
    }

    fn repair(&self) -> VolumeAwaited<VolumeRepaired> {
        now(Ok(VolumeRepaired {
            members: 1,
            blocks: 2,
            pieces: 3,
            lost: 4,
        }))
    }
}

struct NoDisk;

impl Checkpoints for NoDisk {
    fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(None)
    }

    fn store(&self, _: &Checkpoint) -> Result<(), CheckpointError> {
        Ok(())
    }
}

fn granted(spec: &mut ComponentSpec) {
    let quota = ByteSize::mib(1);
    spec.capabilities = vec![Capability::Storage { quota }];
    spec.limits.wall_time = Millis::seconds(30);
}

fn services(volumes: Option<Arc<dyn Volumes>>) -> Services {
    Services {
        volumes,
        state: Some(Arc::new(ReplicaState::new(Arc::new(NoDisk)))),
        ..Services::default()
    }
}

async fn start_limited(depot: &Arc<Depot>, limit: impl FnOnce(&mut ComponentSpec)) -> Started {
    let services = services(Some(depot.clone()));
    let runtime = runtime();
    let started = try_start_with(&runtime, guest("volumes"), Vec::new(), services, |spec| {
        granted(spec);
        limit(spec);
    });
    started.await.unwrap()
}

async fn start(depot: &Arc<Depot>) -> Started {
    start_limited(depot, |_| ()).await
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_allocates_blocks_and_shares_them() {
    let depot = Depot::new(3);
    let guest = start(&depot).await;
    for layout in ["single", "replicated(3)", "sharded"] {
        let allocated = call(&guest, "allocate", &["131072", "10000", layout]).await;
        assert_eq!(allocated, "ok");
    }
    assert_eq!(depot.live(), 1, "the ones before were dropped");
    let layouts = depot.layouts.lock().unwrap().clone();
    let expected = [
        VolumeLayout::Single,
        VolumeLayout::Replicated(3),
        VolumeLayout::Sharded,
    ];
    assert_eq!(layouts, expected);
    assert_eq!(call(&guest, "write", &["60", "[1, 2, 3]"]).await, "ok");
    let read = call(&guest, "read", &["59", "4"]).await;
    assert_eq!(read, "ok([0, 1, 2, 3])");
    let full = call(&guest, "write", &["131071", "[1, 2]"]).await;
    assert_eq!(full, "err(full(\"no room\"))");
    assert_eq!(call(&guest, "fill", &["0", "2", "7"]).await, "ok");
    assert_eq!(call(&guest, "count", &["0", "2", "7"]).await, "ok(2)");
    assert_eq!(call(&guest, "count", &["0", "2", "8"]).await, "ok(0)");
    let fenced = call(&guest, "sync", &[]).await;
    assert_eq!(fenced, "err(fenced(\"another one writes\"))");
    let usage =
        "ok({bytes: 1, used-bytes: 2, leased-bytes: 3, members: 4, reached: 5, left-ms: 6})";
    assert_eq!(call(&guest, "usage", &[]).await, usage);
    assert_eq!(call(&guest, "remaining", &[]).await, "ok(6)");
    assert_eq!(call(&guest, "renew", &["20000"]).await, "ok");
    assert_eq!(
        call(&guest, "renew", &["0"]).await,
        "err(invalid(\"no time\"))"
    );
    let shared = call(&guest, "share", &["{read}", "1000", "some(\"n\")"]).await;
    assert_eq!(shared, "ok(\"a capability\")");
    let expected = VolumeShare {
        read: true,
        write: false,
        term_ms: 1_000,
        node: Some("n".to_owned()),
    };
    assert_eq!(depot.shared.lock().unwrap().take(), Some(expected));
    let lost = call(&guest, "revoke", &["\"it\""]).await;
    assert_eq!(lost, "err(lost(\"it\"))");
    assert_eq!(call(&guest, "keep", &[]).await, "ok(\"for later\")");
    let repaired = "ok({members: 1, blocks: 2, pieces: 3, lost: 4})";
    assert_eq!(call(&guest, "repair", &[]).await, repaired);
    assert_eq!(call(&guest, "open", &["\"good\""]).await, "ok");
    assert_eq!(call(&guest, "open", &["\"ended\""]).await, "err(ended)");
    assert_eq!(call(&guest, "open", &["\"x\""]).await, "err(denied(\"x\"))");
    call(&guest, "close", &[]).await;
    assert_eq!(depot.live(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_files() {
    let depot = Depot::new(1);
    let guest = start(&depot).await;
    call(&guest, "allocate", &["64", "10000", "single"]).await;
    let missing = call(&guest, "read-file", &["\"a/b\"", "0", "1"]).await;
    assert_eq!(missing, "err(not-found(\"a/b\"))");
    assert_eq!(call(&guest, "create-file", &["\"a/b\""]).await, "ok");
    let exists = call(&guest, "create-file", &["\"a/b\""]).await;
    assert_eq!(exists, "err(exists(\"a/b\"))");
    let written = call(&guest, "write-file", &["\"a/b\"", "2", "[5, 6]"]).await;
    assert_eq!(written, "ok");
    assert_eq!(call(&guest, "file-size", &["\"a/b\""]).await, "ok(4)");
    assert_eq!(call(&guest, "set-file-size", &["\"a/b\"", "3"]).await, "ok");
    let read = call(&guest, "read-file", &["\"a/b\"", "0", "9"]).await;
    assert_eq!(read, "ok([0, 0, 5])");
    assert_eq!(
        call(&guest, "rename-file", &["\"a/b\"", "\"c\""]).await,
        "ok"
    );
    let listed = call(&guest, "list-files", &["none"]).await;
    assert_eq!(listed, "ok({names: [\"c\"], more: false})");
    let listed = call(&guest, "list-files", &["some(\"c\")"]).await;
    assert_eq!(listed, "ok({names: [], more: false})");
    assert_eq!(call(&guest, "remove-file", &["\"c\""]).await, "ok");
    let gone = call(&guest, "file-size", &["\"c\""]).await;
    assert_eq!(gone, "err(not-found(\"c\"))");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_it_is_refused_and_without_storage_unavailable() {
    let runtime = runtime();
    let refused = try_start(&runtime, guest("volumes"), Vec::new(), |_| ()).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("no grant, no start");
    };
    let line = "capabilities.storage = \"SIZE\"";
    assert!(matches!(
        refusals.as_slice(),
        [ImportRefusal::NotGranted { line: found, .. }] if *found == line
    ));
    let services = services(None);
    let alone = try_start_with(&runtime, guest("volumes"), Vec::new(), services, granted);
    let alone = alone.await.unwrap();
    for (export, args) in [
        ("allocate", ["1", "10000", "single"].as_slice()),
        ("open", &["\"x\""]),
    ] {
        let said = call(&alone, export, args).await;
        assert!(said.starts_with("err(unavailable("), "{export}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_are_hoarded_are_bounded_and_come_back_with_their_instance() {
    let depot = Depot::new(1_000);
    let guest = start(&depot).await;
    let most = VOLUMES_OPEN_MAX.to_string();
    assert_eq!(call(&guest, "hoard", &["1", "10000", "1000"]).await, most);
    assert_eq!(depot.live(), VOLUMES_OPEN_MAX);
    let full = call(&guest, "open", &["\"good\""]).await;
    assert!(full.starts_with("err(quota("), "{full}");
    // However it ends.
    guest.invoke("trap", &[]).await.unwrap_err();
    eventually("all are dropped", || depot.live() == 0).await;
    // A handle that is none ends the instance, too.
    assert_eq!(call(&guest, "hoard", &["1", "10000", "1000"]).await, most);
    guest.invoke("close", &[]).await.unwrap();
    guest.invoke("sync", &[]).await.unwrap_err();
    eventually("all are dropped", || depot.live() == 0).await;
    assert_eq!(call(&guest, "open", &["\"good\""]).await, "ok");
    // What is longer than anything of its kind goes no further.
    let long = format!("\"{}\"", "x".repeat(1_025));
    for (export, args) in [
        ("create-file", vec![long.as_str()]),
        ("rename-file", vec!["\"a\"", &long]),
        ("read", vec!["0", "1048577"]),
        ("read-file", vec!["\"a\"", "0", "1048577"]),
    ] {
        let said = call(&guest, export, &args).await;
        assert!(said.starts_with("err(invalid("), "{export}: {said}");
    }
    drop(guest);
    eventually("the replica is gone", || depot.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_a_lease_is_stopped_and_keeps_no_place() {
    let depot = Depot::new(0);
    let guest = start_limited(&depot, |spec| spec.limits.wall_time = Millis::new(200)).await;
    for _ in 0..=VOLUMES_OPEN_MAX {
        let ended = guest.invoke("allocate", &["1", "10000", "single"]).await;
        let text = ended.unwrap_err().to_string();
        assert!(text.contains("wall time"), "{text}");
    }
    assert_eq!(depot.asked.load(Ordering::SeqCst), VOLUMES_OPEN_MAX + 1);
    eventually("nothing is left", || depot.live() == 0).await;
    depot.leases.add_permits(1);
    let allocated = call(&guest, "allocate", &["1", "10000", "single"]).await;
    assert_eq!(allocated, "ok");
}
