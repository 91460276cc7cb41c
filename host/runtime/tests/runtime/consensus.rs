//! `hypermesh:consensus`: what guests see of the ledger, and what a greedy or a patient one gets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hypermesh_runtime::{
    Beacon, CallError, Consensus, ConsensusError, ImportRefusal, InvokeError, PROOF_BYTES_MAX,
    ProvenExecution, ProvenRecord, RecordEntry, RecordReading, RecordWish, RequestSpaceError,
    SUBMISSIONS_AT_ONCE_MAX, Services, ShownSpace, StartReplicaError, Submitted,
};
use tokio::sync::Semaphore;
use types::{Capability, ComponentSpec, Millis};

use crate::consensus_proofs::{Hosts, executed, shown};
use crate::harness::{Started, eventually, guest, runtime, try_start, try_start_with};

/// A ledger in memory whose blocks come when the test lets them.
#[derive(Debug)]
pub(crate) struct Blocks {
    records: Mutex<BTreeMap<String, RecordEntry>>,
    /// Changes that may become final.
    finality: Arc<Semaphore>,
    begun: Mutex<usize>,
    pub(crate) verified: Mutex<usize>,
    pub(crate) hosts: Arc<Hosts>,
}

impl Blocks {
    pub(crate) fn new(changes: usize) -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::default(),
            finality: Arc::new(Semaphore::new(changes)),
            begun: Mutex::default(),
            verified: Mutex::default(),
            hosts: Arc::default(),
        })
    }
}

const HEIGHT: u64 = 7;

impl Consensus for Blocks {
    fn height(&self) -> u64 {
        HEIGHT
    }

    fn read(&self, key: &str) -> Result<RecordReading, ConsensusError> {
        let entry = self.records.lock().unwrap().get(key).cloned();
        let height = HEIGHT;
        Ok(RecordReading { height, entry })
    }

    fn submit(&self, wish: RecordWish) -> Result<Submitted, ConsensusError> {
        *self.begun.lock().unwrap() += 1;
        let mut records = self.records.lock().unwrap();
        let done = match wish {
            RecordWish::Put { value, .. } if value.len() > 4096 => {
                return Err(ConsensusError::Invalid("4096 bytes".to_owned()));
            }
            RecordWish::Put { key, only_new, .. } if only_new && records.contains_key(&key) => {
                Err(ConsensusError::Exists)
            }
            RecordWish::Put {
                key,
                value,
                lifetime,
                ..
            } => {
                let entry = RecordEntry {
                    value,
                    height: HEIGHT,
                    time_ms: 70,
                    expires_at: lifetime.map(|blocks| HEIGHT + blocks),
                };
                records.insert(key, entry);
                Ok(HEIGHT)
            }
            RecordWish::Delete { key } => {
                let found = records.remove(&key);
                found.map(|_| HEIGHT).ok_or(ConsensusError::Absent)
            }
        };
        let finality = Arc::clone(&self.finality);
        Ok(async move {
            finality.acquire().await.unwrap().forget();
            done
        }
        .boxed())
    }

    fn prove(&self, key: &str) -> BoxFuture<'static, Result<Vec<u8>, ConsensusError>> {
        let proof = match key {
            "huge" => vec![0; PROOF_BYTES_MAX + 1],
            key => key.as_bytes().to_vec(),
        };
        async move { Ok(proof) }.boxed()
    }

    fn verify(&self, proof: &[u8]) -> Result<ProvenRecord, String> {
        *self.verified.lock().unwrap() += 1;
        let key = std::str::from_utf8(proof).map_err(|error| error.to_string())?;
        let reading = self.read(key).map_err(|error| error.to_string())?;
        Ok(ProvenRecord {
            workload: "test".to_owned(),
            key: key.to_owned(),
            height: HEIGHT,
            time_ms: 70,
            entry: reading.entry,
        })
    }

    fn beacon(&self, height: Option<u64>) -> BoxFuture<'static, Result<Beacon, ConsensusError>> {
        let height = height.unwrap_or(HEIGHT);
        let value = [1; 32];
        async move {
            if height > HEIGHT {
                return Err(ConsensusError::Invalid("no such block".to_owned()));
            }
            Ok(Beacon { height, value })
        }
        .boxed()
    }

    fn request_space(&self, asset: &str) -> BoxFuture<'static, Result<Vec<u8>, RequestSpaceError>> {
        Arc::clone(&self.hosts).show(asset.to_owned()).boxed()
    }

    fn verify_space(&self, proof: &[u8]) -> Result<ShownSpace, String> {
        *self.verified.lock().unwrap() += 1;
        shown(proof)
    }

    fn verify_execution(&self, proof: &[u8]) -> Result<ProvenExecution, String> {
        *self.verified.lock().unwrap() += 1;
        executed(proof)
    }
}

pub(crate) fn granted(spec: &mut ComponentSpec) {
    spec.capabilities = vec![Capability::Consensus { records: 3 }];
    spec.limits.wall_time = Millis::seconds(30);
}

async fn start_limited(blocks: &Arc<Blocks>, limit: impl FnOnce(&mut ComponentSpec)) -> Started {
    start_guest("consensus", blocks, limit).await
}

pub(crate) async fn start_guest(
    name: &str,
    blocks: &Arc<Blocks>,
    limit: impl FnOnce(&mut ComponentSpec),
) -> Started {
    let services = Services {
        consensus: Some(blocks.clone()),
        ..Services::default()
    };
    try_start_with(&runtime(), guest(name), Vec::new(), services, |spec| {
        granted(spec);
        limit(spec);
    })
    .await
    .unwrap()
}

async fn start(blocks: &Arc<Blocks>) -> Started {
    start_limited(blocks, |_| ()).await
}

pub(crate) async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_writes_reads_proves_and_deletes() {
    let blocks = Blocks::new(usize::MAX >> 3);
    let guest = start(&blocks).await;
    let put = ["\"a\"", "[1, 2]", "some(20)", "true"];
    assert_eq!(call(&guest, "put", &put).await, "ok(7)");
    assert_eq!(call(&guest, "put", &put).await, "err(exists)");
    let entry = "{value: [1, 2], height: 7, time-ms: 70, expires-at: some(27)}";
    assert_eq!(
        call(&guest, "read", &["\"a\""]).await,
        format!("ok({{height: 7, entry: some({entry})}})")
    );
    assert_eq!(
        call(&guest, "proven", &["\"a\""]).await,
        format!(
            "ok({{workload: \"test\", key: \"a\", height: 7, time-ms: 70, entry: some({entry})}})"
        )
    );
    assert_eq!(call(&guest, "delete", &["\"a\""]).await, "ok(7)");
    assert_eq!(call(&guest, "delete", &["\"a\""]).await, "err(absent)");
    let nothing = "ok({height: 7, entry: none})";
    assert!(matches!(
        call(&guest, "read", &["\"a\""]).await.as_str(),
        found if found == nothing || found == "ok({height: 7})"
    ));
    assert_eq!(call(&guest, "height", &[]).await, "7");
    let ones = ["1"; 32].join(", ");
    assert_eq!(
        call(&guest, "beacon", &["none"]).await,
        format!("ok({{height: 7, value: [{ones}]}})")
    );
    assert_eq!(
        call(&guest, "beacon", &["some(8)"]).await,
        "err(invalid(\"no such block\"))"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_it_is_refused_and_without_a_ledger_unavailable() {
    let refused = try_start(&runtime(), guest("consensus"), Vec::new(), |_| ()).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("no grant, no start");
    };
    let line = "capabilities.consensus = { records = N }";
    assert!(matches!(
        refusals.as_slice(),
        [ImportRefusal::NotGranted { line: found, .. }] if *found == line
    ));
    let alone = try_start(&runtime(), guest("consensus"), Vec::new(), granted).await;
    let alone = alone.unwrap();
    for (export, args) in [
        ("put", ["\"a\"", "[1]", "none", "true"].as_slice()),
        ("read", &["\"a\""]),
        ("prove", &["\"a\""]),
        ("beacon", &["none"]),
    ] {
        let said = call(&alone, export, args).await;
        assert!(said.starts_with("err(unavailable("), "{export}: {said}");
    }
    assert_eq!(call(&alone, "height", &[]).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_that_are_hoarded_are_bounded_and_freed_once_final() {
    let blocks = Blocks::new(0);
    let guest = start(&blocks).await;
    let most = SUBMISSIONS_AT_ONCE_MAX.to_string();
    assert_eq!(call(&guest, "hoard", &["\"k\"", "1000"]).await, most);
    // The instance is gone; what it began is not, and counts.
    assert_eq!(call(&guest, "hoard", &["\"k\"", "1000"]).await, "0");
    let busy = call(&guest, "delete", &["\"k\""]).await;
    assert!(busy.starts_with("err(busy("), "{busy}");
    assert_eq!(*blocks.begun.lock().unwrap(), SUBMISSIONS_AT_ONCE_MAX);
    blocks.finality.add_permits(SUBMISSIONS_AT_ONCE_MAX + 1);
    eventually("all are final", || blocks.finality.available_permits() == 1).await;
    // A place is free a moment after its submission is final.
    let mut said = busy;
    for _ in 0..500 {
        if !said.starts_with("err(busy(") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        said = call(&guest, "delete", &["\"k\""]).await;
    }
    assert_eq!(said, "err(absent)");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_proofs_beyond_their_bounds_are_refused() {
    let blocks = Blocks::new(1);
    let guest = start(&blocks).await;
    let large = format!("[{}]", vec!["0"; 4097].join(","));
    let said = call(&guest, "put", &["\"a\"", &large, "none", "false"]).await;
    assert_eq!(said, "err(invalid(\"4096 bytes\"))");
    let said = call(&guest, "prove", &["\"huge\""]).await;
    assert!(said.starts_with("err(busy("), "{said}");
    let more = (PROOF_BYTES_MAX + 1).to_string();
    let said = call(&guest, "verify-zeros", &[&more]).await;
    assert!(said.contains("more than a proof may have"), "{said}");
    assert_eq!(*blocks.verified.lock().unwrap(), 0, "nobody looked at it");
    assert!(call(&guest, "verify", &["[255]"]).await.starts_with("err("));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_finality_is_paused_stopped_and_ended_by_its_wall_time() {
    let blocks = Blocks::new(0);
    let guest = Arc::new(start(&blocks).await);
    let waiting = {
        let guest = Arc::clone(&guest);
        let args = ["\"a\"", "[1]", "none", "false"];
        tokio::spawn(async move { guest.invoke("put", &args).await })
    };
    eventually("it waits", || *blocks.begun.lock().unwrap() == 1).await;
    guest.replica.pause();
    blocks.finality.add_permits(1);
    eventually("it is final", || blocks.finality.available_permits() == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "a paused guest goes nowhere");
    guest.replica.resume();
    assert_eq!(waiting.await.unwrap().unwrap(), "ok(7)");

    let waiting = {
        let guest = Arc::clone(&guest);
        let args = ["\"b\"", "[1]", "none", "false"];
        tokio::spawn(async move { guest.invoke("put", &args).await })
    };
    eventually("it waits", || *blocks.begun.lock().unwrap() == 2).await;
    guest.replica.stop();
    let ended = waiting.await.unwrap();
    assert!(
        matches!(ended, Err(InvokeError::Call(CallError::Stopped))),
        "{ended:?}"
    );

    let short = start_limited(&blocks, |spec| spec.limits.wall_time = Millis::new(100)).await;
    let ended = short
        .invoke("put", &["\"c\"", "[1]", "none", "false"])
        .await;
    assert!(
        matches!(&ended, Err(InvokeError::Call(error)) if error.to_string().contains("wall time")),
        "{ended:?}"
    );
}
