//! `hypermesh:assets/network`: what guests see of leased transport, where they may go, what a greedy one
//! gets, and that what they had comes back however they end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use hypermesh_runtime::{
    AssetError, Awaited, Breach, Checkpoint, CheckpointError, Checkpoints, Connecting, Denial,
    ImportRefusal, LINKS_OPEN_MAX, Network, NetworkConnection, NetworkError, NetworkLink,
    NetworkUsage, ReplicaState, Services, StartReplicaError,
};
use tokio::sync::Semaphore;
use types::{ByteSize, Capability, ComponentSpec, Millis};

use crate::harness::{Started, eventually, guest, runtime, try_start, try_start_with};

/// Transport whose connections echo, and answer when the test lets them.
#[derive(Debug)]
struct Bank {
    answers: Arc<Semaphore>,
    links: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    dialled: Arc<Mutex<Vec<(String, u16)>>>,
}

#[derive(Debug)]
struct Link {
    answers: Arc<Semaphore>,
    connections: Arc<AtomicUsize>,
    dialled: Arc<Mutex<Vec<(String, u16)>>>,
    _counted: Counted,
}

#[derive(Debug)]
struct Connection {
    answers: Arc<Semaphore>,
    content: Arc<Mutex<Vec<u8>>>,
    _counted: Counted,
}

/// Counts as long as it lives.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bank {
    fn new(answers: usize) -> Arc<Self> {
        Arc::new(Self {
            answers: Arc::new(Semaphore::new(answers)),
            links: Arc::default(),
            connections: Arc::default(),
            dialled: Arc::default(),
        })
    }

    fn open(&self) -> (usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (count(&self.links), count(&self.connections))
    }
}

impl Network for Bank {
    fn allocate(&self, _: u64, _: u64) -> Awaited<Arc<dyn NetworkLink>> {
        let link = Link {
            answers: Arc::clone(&self.answers),
            connections: Arc::clone(&self.connections),
            dialled: Arc::clone(&self.dialled),
            _counted: Counted::new(&self.links),
        };
        async move { Ok(Arc::new(link) as Arc<dyn NetworkLink>) }.boxed()
    }
}

impl NetworkLink for Link {
    fn connect(&self, host: String, port: u16) -> Connecting<Arc<dyn NetworkConnection>> {
        self.dialled.lock().unwrap().push((host, port));
        let connection = Connection {
            answers: Arc::clone(&self.answers),
            content: Arc::default(),
            _counted: Counted::new(&self.connections),
        };
        async move {
            match port {
                81 => Err(NetworkError::Failed("nobody listens".to_owned())),
                82 => Err(AssetError::Denied("not from there".to_owned()).into()),
                _ => Ok(Arc::new(connection) as Arc<dyn NetworkConnection>),
            }
        }
        .boxed()
    }

    fn usage(&self) -> Awaited<NetworkUsage> {
        let usage = NetworkUsage {
            bytes_per_s: 1,
            sent_bytes: 2,
            received_bytes: 3,
            connections: 4,
            left_ms: 5,
        };
        std::future::ready(Ok(usage)).boxed()
    }

    fn renew(&self, _: u64) -> Awaited<()> {
        std::future::ready(Err(AssetError::Ended)).boxed()
    }
}

impl NetworkConnection for Connection {
    fn read(&self, bytes_max: usize) -> Connecting<Vec<u8>> {
        let (answers, content) = (Arc::clone(&self.answers), Arc::clone(&self.content));
        async move {
            answers.acquire().await.unwrap().forget();
            let mut content = content.lock().unwrap();
            let count = bytes_max.min(content.len());
            Ok(content.drain(..count).collect())
        }
        .boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> Connecting<()> {
        self.content.lock().unwrap().extend(bytes);
        std::future::ready(Ok(())).boxed()
    }

    fn finish(&self) -> Connecting<()> {
        let lost = AssetError::Lost("its host is gone".to_owned());
        std::future::ready(Err(lost.into())).boxed()
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
    let rate = ByteSize::mib(1);
    let allow = vec!["db.example".parse().unwrap(), "[::1]:80".parse().unwrap()];
    spec.capabilities = vec![Capability::Tcp { allow }, Capability::Network { rate }];
    spec.limits.wall_time = Millis::seconds(30);
    spec.limits.outbound_connections = 3;
}

fn services(network: Option<Arc<dyn Network>>) -> Services {
    Services {
        network,
        state: Some(Arc::new(ReplicaState::new(Arc::new(NoDisk)))),
        ..Services::default()
    }
}

async fn start(bank: &Arc<Bank>) -> Started {
    let services = services(Some(bank.clone()));
    let runtime = runtime();
    let started = try_start_with(&runtime, guest("network"), Vec::new(), services, granted);
    started.await.unwrap()
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_connects_where_its_manifest_says_and_reads_what_comes() {
    let bank = Bank::new(2);
    let guest = start(&bank).await;
    assert_eq!(call(&guest, "allocate", &["1000", "10000"]).await, "ok");
    let connect = async |host: &str, port: &str| call(&guest, "connect", &[host, port]).await;
    assert_eq!(connect("\"db.example\"", "80").await, "ok");
    assert_eq!(call(&guest, "write", &["[1, 2, 3]"]).await, "ok");
    assert_eq!(call(&guest, "read", &["2"]).await, "ok([1, 2])");
    assert_eq!(call(&guest, "read", &["65536"]).await, "ok([3])");
    for (export, argument) in [("read", "0"), ("read", "65537"), ("write", "[]")] {
        let said = call(&guest, export, &[argument]).await;
        assert!(said.starts_with("err(invalid("), "{export}: {said}");
    }
    let lost = call(&guest, "finish", &[]).await;
    assert_eq!(lost, "err(lost(\"its host is gone\"))");
    assert_eq!(connect("\"::1\"", "80").await, "ok");
    assert_eq!(bank.open(), (1, 1), "the one before was dropped");
    let failed = connect("\"db.example\"", "81").await;
    assert_eq!(failed, "err(failed(\"nobody listens\"))");
    let denied = connect("\"db.example\"", "82").await;
    assert_eq!(denied, "err(denied(\"not from there\"))");
    let dialled = bank.dialled.lock().unwrap().len();
    for (host, port) in [
        ("\"::1\"", "81"),
        ("\"other.example\"", "80"),
        ("\"\"", "1"),
    ] {
        let denied = connect(host, port).await;
        assert!(denied.contains("capabilities.tcp"), "{denied}");
    }
    assert_eq!(bank.dialled.lock().unwrap().len(), dialled, "nobody dials");
    let other = Denial::Link {
        host: "other.example".to_owned(),
        port: 80,
    };
    assert!(guest.seen.denials().contains(&other));
    let usage =
        "ok({bytes-per-second: 1, sent-bytes: 2, received-bytes: 3, connections: 4, left-ms: 5})";
    assert_eq!(call(&guest, "usage", &[]).await, usage);
    assert_eq!(call(&guest, "remaining", &[]).await, "ok(5)");
    assert_eq!(call(&guest, "renew", &["20000"]).await, "err(ended)");
    call(&guest, "hang-up", &[]).await;
    call(&guest, "close", &[]).await;
    assert_eq!(bank.open(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_it_is_refused_and_without_transport_unavailable() {
    let runtime = runtime();
    let refused = try_start(&runtime, guest("network"), Vec::new(), |_| ()).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("no grant, no start");
    };
    let line = "capabilities.network = \"RATE\"";
    assert!(matches!(
        refusals.as_slice(),
        [ImportRefusal::NotGranted { line: found, .. }] if *found == line
    ));
    let alone = try_start_with(
        &runtime,
        guest("network"),
        Vec::new(),
        services(None),
        granted,
    );
    let said = call(&alone.await.unwrap(), "allocate", &["1", "10000"]).await;
    assert!(said.starts_with("err(unavailable("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_connections_that_are_hoarded_are_bounded_and_close_with_their_instance() {
    let bank = Bank::new(0);
    let guest = start(&bank).await;
    let most = LINKS_OPEN_MAX.to_string();
    assert_eq!(call(&guest, "hoard", &["1", "10000", "1000"]).await, most);
    let connections = call(
        &guest,
        "hoard-connections",
        &["\"db.example\"", "80", "1000"],
    )
    .await;
    assert_eq!(connections, "3");
    assert_eq!(bank.open(), (LINKS_OPEN_MAX, 3));
    let breach = Breach::OutboundConnections { limit: 3 };
    assert!(guest.seen.breaches().contains(&breach));
    let full = call(&guest, "connect", &["\"db.example\"", "80"]).await;
    assert!(full.starts_with("err(quota("), "{full}");
    // However it ends.
    guest.invoke("trap", &[]).await.unwrap_err();
    eventually("all are dropped", || bank.open() == (0, 0)).await;
    assert_eq!(call(&guest, "allocate", &["1", "10000"]).await, "ok");
    let connected = call(&guest, "connect", &["\"db.example\"", "80"]).await;
    assert_eq!(connected, "ok");
    drop(guest);
    eventually("the replica is gone", || bank.open() == (0, 0)).await;
}
