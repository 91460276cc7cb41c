//! `hypermesh:assets/memory`: what guests see of leased memory, what a greedy one gets, and that what
//! they had comes back however they end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use hypermesh_runtime::{
    AssetError, Awaited, Checkpoint, CheckpointError, Checkpoints, ImportRefusal, Memory,
    MemoryRegion, MemoryShare, MemoryUsage, REGIONS_OPEN_MAX, ReplicaState, Services,
    StartReplicaError,
};
use tokio::sync::Semaphore;
use types::{ByteSize, Capability, ComponentSpec, Millis};

use crate::harness::{Started, eventually, guest, runtime, try_start, try_start_with};

/// Memory whose leases come when the test lets them.
#[derive(Debug)]
struct Bank {
    leases: Arc<Semaphore>,
    live: Arc<AtomicUsize>,
    asked: AtomicUsize,
    shared: Arc<Mutex<Option<MemoryShare>>>,
}

impl Bank {
    fn new(leases: usize) -> Arc<Self> {
        Arc::new(Self {
            leases: Arc::new(Semaphore::new(leases)),
            live: Arc::default(),
            asked: AtomicUsize::new(0),
            shared: Arc::default(),
        })
    }

    fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    fn region(&self, bytes: u64) -> Arc<dyn MemoryRegion> {
        self.live.fetch_add(1, Ordering::SeqCst);
        Arc::new(Bytes {
            content: Mutex::new(vec![0; usize::try_from(bytes).unwrap()]),
            live: Arc::clone(&self.live),
            shared: Arc::clone(&self.shared),
        })
    }
}

#[derive(Debug)]
struct Bytes {
    content: Mutex<Vec<u8>>,
    live: Arc<AtomicUsize>,
    shared: Arc<Mutex<Option<MemoryShare>>>,
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

fn now<T: Send + 'static>(result: Result<T, AssetError>) -> Awaited<T> {
    std::future::ready(result).boxed()
}

impl Memory for Bank {
    fn allocate(&self, bytes: u64, _: u64) -> Awaited<Arc<dyn MemoryRegion>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let leases = Arc::clone(&self.leases);
        // Made at once, so that what becomes of it is seen where nobody waits any more.
        let region = self.region(bytes);
        async move {
            leases.acquire().await.unwrap().forget();
            Ok(region)
        }
        .boxed()
    }

    fn open(&self, capability: String) -> Awaited<Arc<dyn MemoryRegion>> {
        now(match capability.as_str() {
            "good" => Ok(self.region(16)),
            "ended" => Err(AssetError::Ended),
            other => Err(AssetError::Denied(other.to_owned())),
        })
    }
}

impl Bytes {
    fn part<T>(
        &self,
        offset: u64,
        bytes: usize,
        act: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, AssetError> {
        let mut content = self.content.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let part = content.get_mut(from..from + bytes);
        part.map(act)
            .ok_or_else(|| AssetError::Invalid("outside".to_owned()))
    }
}

impl MemoryRegion for Bytes {
    fn bytes(&self) -> u64 {
        self.content.lock().unwrap().len() as u64
    }

    fn read(&self, offset: u64, bytes: u32) -> Awaited<Vec<u8>> {
        now(self.part(offset, usize::try_from(bytes).unwrap(), |part| {
            part.to_vec()
        }))
    }

    fn write(&self, offset: u64, bytes: Vec<u8>) -> Awaited<()> {
        now(self.part(offset, bytes.len(), |part| part.copy_from_slice(&bytes)))
    }

    fn swap(&self, offset: u64, expected: Vec<u8>, new: Vec<u8>) -> Awaited<Option<Vec<u8>>> {
        now(self.part(offset, expected.len(), |part| {
            if part == expected {
                part.copy_from_slice(&new);
                return None;
            }
            Some(part.to_vec())
        }))
    }

    fn usage(&self) -> Awaited<MemoryUsage> {
        now(Ok(MemoryUsage {
            bytes: self.bytes(),
            resident_bytes: 2,
            operations: 3,
            left_ms: 4,
        }))
    }

    fn renew(&self, term_ms: u64) -> Awaited<()> {
        now(match term_ms {
            0 => Err(AssetError::Invalid("no time".to_owned())),
            _ => Ok(()),
        })
    }

    fn share(&self, share: MemoryShare) -> Result<String, AssetError> {
        *self.shared.lock().unwrap() = Some(share);
        Ok("a capability".to_owned())
    }

    fn revoke(&self, capability: String) -> Awaited<()> {
        now(Err(AssetError::Lost(capability)))
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
    spec.capabilities = vec![Capability::Memory { quota }];
    spec.limits.wall_time = Millis::seconds(30);
}

fn services(memory: Option<Arc<dyn Memory>>) -> Services {
    Services {
        memory,
        state: Some(Arc::new(ReplicaState::new(Arc::new(NoDisk)))),
        ..Services::default()
    }
}

async fn start_limited(bank: &Arc<Bank>, limit: impl FnOnce(&mut ComponentSpec)) -> Started {
    let services = services(Some(bank.clone()));
    let runtime = runtime();
    let started = try_start_with(&runtime, guest("memory"), Vec::new(), services, |spec| {
        granted(spec);
        limit(spec);
    });
    started.await.unwrap()
}

async fn start(bank: &Arc<Bank>) -> Started {
    start_limited(bank, |_| ()).await
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_allocates_reads_writes_swaps_and_shares() {
    let bank = Bank::new(1);
    let guest = start(&bank).await;
    assert_eq!(call(&guest, "allocate", &["64", "10000"]).await, "ok");
    assert_eq!(call(&guest, "size", &[]).await, "64");
    assert_eq!(call(&guest, "write", &["60", "[1, 2, 3, 4]"]).await, "ok");
    assert_eq!(
        call(&guest, "read", &["59", "5"]).await,
        "ok([0, 1, 2, 3, 4])"
    );
    let outside = call(&guest, "write", &["62", "[1, 2, 3]"]).await;
    assert_eq!(outside, "err(invalid(\"outside\"))");
    assert_eq!(
        call(&guest, "swap", &["60", "[1]", "[9]"]).await,
        "ok(done)"
    );
    assert_eq!(
        call(&guest, "swap", &["60", "[1]", "[8]"]).await,
        "ok(found([9]))"
    );
    assert_eq!(call(&guest, "add", &["5"]).await, "ok(5)");
    assert_eq!(call(&guest, "add", &["2"]).await, "ok(7)");
    let usage = "ok({bytes: 64, resident-bytes: 2, operations: 3, left-ms: 4})";
    assert_eq!(call(&guest, "usage", &[]).await, usage);
    assert_eq!(call(&guest, "remaining", &[]).await, "ok(4)");
    assert_eq!(call(&guest, "renew", &["20000"]).await, "ok");
    let refused = call(&guest, "renew", &["0"]).await;
    assert_eq!(refused, "err(invalid(\"no time\"))");
    let args = ["{read, swap}", "8", "16", "1000", "some(\"n\")"];
    assert_eq!(call(&guest, "share", &args).await, "ok(\"a capability\")");
    let shared = bank.shared.lock().unwrap().take();
    let expected = MemoryShare {
        read: true,
        write: false,
        swap: true,
        offset: 8,
        bytes: 16,
        term_ms: 1_000,
        node: Some("n".to_owned()),
    };
    assert_eq!(shared, Some(expected));
    let lost = call(&guest, "revoke", &["\"it\""]).await;
    assert_eq!(lost, "err(lost(\"it\"))");
    assert_eq!(call(&guest, "open", &["\"good\""]).await, "ok");
    assert_eq!(call(&guest, "size", &[]).await, "16");
    assert_eq!(bank.live(), 1, "the one before was dropped");
    assert_eq!(call(&guest, "open", &["\"ended\""]).await, "err(ended)");
    assert_eq!(call(&guest, "open", &["\"x\""]).await, "err(denied(\"x\"))");
    let long = format!("\"{}\"", "x".repeat(5_000));
    let said = call(&guest, "open", &[&long]).await;
    assert!(said.starts_with("err(invalid("), "{said}");
    call(&guest, "close", &[]).await;
    assert_eq!(bank.live(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_it_is_refused_and_without_memory_unavailable() {
    let runtime = runtime();
    let refused = try_start(&runtime, guest("memory"), Vec::new(), |_| ()).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("no grant, no start");
    };
    let line = "capabilities.memory = \"SIZE\"";
    assert!(matches!(
        refusals.as_slice(),
        [ImportRefusal::NotGranted { line: found, .. }] if *found == line
    ));
    let services = services(None);
    let alone = try_start_with(&runtime, guest("memory"), Vec::new(), services, granted);
    let alone = alone.await.unwrap();
    for (export, args) in [
        ("allocate", ["1", "10000"].as_slice()),
        ("open", &["\"x\""]),
    ] {
        let said = call(&alone, export, args).await;
        assert!(said.starts_with("err(unavailable("), "{export}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_that_are_hoarded_are_bounded_and_come_back_with_their_instance() {
    let bank = Bank::new(1_000);
    let guest = start(&bank).await;
    let most = REGIONS_OPEN_MAX.to_string();
    assert_eq!(call(&guest, "hoard", &["1", "10000", "1000"]).await, most);
    assert_eq!(bank.live(), REGIONS_OPEN_MAX);
    let full = call(&guest, "open", &["\"good\""]).await;
    assert!(full.starts_with("err(quota("), "{full}");
    // However it ends.
    guest.invoke("trap", &[]).await.unwrap_err();
    eventually("all are dropped", || bank.live() == 0).await;
    assert_eq!(call(&guest, "hoard", &["1", "10000", "1000"]).await, most);
    // A handle that is none ends the instance, too.
    guest.invoke("close", &[]).await.unwrap();
    guest.invoke("size", &[]).await.unwrap_err();
    eventually("all are dropped", || bank.live() == 0).await;
    assert_eq!(call(&guest, "open", &["\"good\""]).await, "ok");
    drop(guest);
    eventually("the replica is gone", || bank.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_a_lease_is_stopped_and_keeps_no_place() {
    let bank = Bank::new(0);
    let guest = start_limited(&bank, |spec| spec.limits.wall_time = Millis::new(200)).await;
    for _ in 0..=REGIONS_OPEN_MAX {
        let ended = guest.invoke("allocate", &["1", "10000"]).await;
        let text = ended.unwrap_err().to_string();
        assert!(text.contains("wall time"), "{text}");
    }
    assert_eq!(bank.asked.load(Ordering::SeqCst), REGIONS_OPEN_MAX + 1);
    eventually("nothing is left", || bank.live() == 0).await;
    bank.leases.add_permits(1);
    assert_eq!(call(&guest, "allocate", &["1", "10000"]).await, "ok");
}
