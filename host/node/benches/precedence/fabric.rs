//! Four endpoints that have sessions with each other and give each other an artifact; with ledgers
//! above the carriage of the node, or without. Measures nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consensus::Ledger;
use ledger::{Genesis, KnownRules, Operation, Transaction};
use stoq::{
    CertificateDer, Credentials, Endpoint, Occasion, Peer, PeerAuthority, PeerRefusal,
    PrivateKeyDer, Service, ServiceSet, SessionEvent, Target,
};
use storage::Artifacts;
use tempfile::TempDir;
use tokio::task::JoinSet;
use transfer::{
    ARTIFACT_VERSION, Observer, Patience, PeerFailure, Server, Sessions, fetch, serve_sessions,
};
use trust::SecretKey;
use types::{Digest, FabricId, Name, NodeId};

use crate::content;
use crate::peers::carriage::{self, Carriage};

const NODES: u8 = 4;
/// Requests that a node answers at once, as a node does.
const STREAMS_MAX: usize = 64;
/// How long sessions may take to be there.
const MEETS_WITHIN: Duration = Duration::from_secs(10);

/// What artifacts are made of and where they are.
pub(crate) struct Place {
    folder: PathBuf,
    /// What everybody serves.
    source: Artifacts,
    digest: Digest,
    bytes: u64,
}

impl Place {
    pub(crate) fn of(folder: &Path, bytes: usize) -> Self {
        let source = Artifacts::open(&folder.join("source")).unwrap();
        let (digest, content) = content(bytes);
        assert_eq!(source.store(&content).unwrap(), digest);
        Self {
            folder: folder.to_owned(),
            source,
            digest,
            bytes: content.len() as u64,
        }
    }
}

/// Certificates that are good because this issued them.
#[derive(Default)]
struct World(Mutex<HashMap<Vec<u8>, NodeId>>);

impl World {
    fn issue(&self, id: NodeId) -> Credentials {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["node.stoq".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let mut issued = self.0.lock().unwrap();
        issued.insert(certificate.der().to_vec(), id);
        Credentials {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}

impl PeerAuthority for World {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let leaf = chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        let id = self.0.lock().unwrap().get(&leaf).copied();
        let id = id.ok_or_else(|| PeerRefusal {
            code: 1,
            text: "never issued".to_owned(),
        })?;
        Ok(Peer::node(id, ServiceSet::ALL, "a node"))
    }
}

/// Somebody who hands in transactions.
pub(crate) struct Caller {
    key: SecretKey,
    fabric: FabricId,
    ledger: Ledger,
    nonce: u64,
}

impl Caller {
    /// Hands in the smallest transaction and waits until it is final.
    pub(crate) async fn submit(&mut self) {
        let transaction = Transaction {
            fabric: self.fabric,
            principal: self.key.public(),
            nonce: self.nonce,
            expires_at: u64::MAX,
            // Refused when it is executed, which is as final.
            operation: Operation::Stop {
                workload: Name::new("shop").unwrap(),
            },
        };
        self.nonce += 1;
        let signature = self.key.sign(&transaction.signing_bytes());
        let signed = transaction.encode_signed(&signature);
        self.ledger.submit(signed).await.unwrap();
    }
}

struct Node {
    endpoint: Endpoint,
    ledger: Option<(Ledger, TempDir)>,
}

/// Nodes that all have sessions with each other.
pub(crate) struct Fabric {
    nodes: Vec<Node>,
    genesis: Genesis,
    folder: PathBuf,
    kept: Mutex<Vec<TempDir>>,
    digest: Digest,
    bytes: u64,
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn operator() -> SecretKey {
    key(100)
}

impl Fabric {
    pub(crate) async fn start(place: &Place, with_ledgers: bool) -> Self {
        let keys: Vec<_> = (1..=NODES).map(|number| key(number).public()).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let began_at_ms = u64::try_from(now.as_millis()).unwrap() - 3_600_000;
        let operators = vec![operator().public()];
        let genesis = Genesis::new(began_at_ms, [0; 16], keys.clone(), keys, operators).unwrap();
        let world = Arc::new(World::default());
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            nodes.push(Node::start(&world, number, &genesis, place, with_ledgers).await);
        }
        for (index, node) in nodes.iter().enumerate() {
            for other in nodes.get(..index).unwrap_or_default() {
                let target = Target {
                    node: Some(other.endpoint.node()),
                    addresses: vec![other.endpoint.local_address().unwrap()],
                };
                node.endpoint.dial(target).await.unwrap();
            }
        }
        let fabric = Self {
            nodes,
            genesis,
            folder: place.folder.clone(),
            kept: Mutex::default(),
            digest: place.digest,
            bytes: place.bytes,
        };
        let met = async {
            let full = usize::from(NODES - 1);
            while !fabric
                .nodes
                .iter()
                .all(|node| node.endpoint.sessions().len() == full)
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(MEETS_WITHIN, met).await.unwrap();
        fabric
    }

    pub(crate) fn caller(&self) -> Caller {
        let (ledger, _) = self.nodes.first().unwrap().ledger.as_ref().unwrap();
        Caller {
            key: operator(),
            fabric: self.genesis.fabric_id(),
            ledger: ledger.clone(),
            nonce: 0,
        }
    }

    /// Caps all sessions in both directions.
    pub(crate) fn cap(&self, bytes_per_second: Option<u64>) {
        for node in &self.nodes {
            for peer in self.nodes.iter().map(|node| node.endpoint.node()) {
                node.endpoint.set_cap(peer, bytes_per_second);
            }
        }
    }

    /// Has every node fetch the artifact from all others, again and again, and counts the bytes.
    pub(crate) fn transfer(&self, transfers: &mut JoinSet<()>, bytes: &Arc<AtomicU64>) {
        let mut kept = self.kept.lock().unwrap();
        for node in &self.nodes {
            // What a transfer that was cut off left would count as transferred.
            let folder = tempfile::tempdir_in(&self.folder).unwrap();
            let artifacts = Artifacts::open(folder.path()).unwrap();
            let endpoint = node.endpoint.clone();
            let peers = self.nodes.iter().map(|node| node.endpoint.node());
            let peers: Vec<_> = peers.filter(|peer| *peer != endpoint.node()).collect();
            let sessions = Arc::new(Sessions::new(endpoint));
            let (digest, whole, bytes) = (self.digest, self.bytes, Arc::clone(bytes));
            // Writes that are under way when a transfer is cut off still find it.
            kept.push(folder);
            transfers.spawn(async move {
                loop {
                    let mut progress = Progress {
                        bytes: Arc::clone(&bytes),
                        counted: 0,
                    };
                    let patience = Patience::default();
                    let fetching = fetch(
                        &artifacts,
                        digest,
                        &peers,
                        &sessions,
                        patience,
                        &mut progress,
                    );
                    fetching.await.unwrap();
                    bytes.fetch_add(whole - progress.counted, Ordering::Relaxed);
                    std::fs::remove_file(artifacts.path(&digest)).unwrap();
                }
            });
        }
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes {
            if let Some((ledger, _dir)) = node.ledger {
                ledger.shutdown().await.unwrap();
            }
        }
    }
}

impl Node {
    async fn start(
        world: &Arc<World>,
        number: u8,
        genesis: &Genesis,
        place: &Place,
        with_ledger: bool,
    ) -> Self {
        let id = key(number).public();
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut config = stoq::Config::new(id, bind, world.issue(id), world.clone());
        let served = config.streams(Service::Artifact, ARTIFACT_VERSION..=ARTIFACT_VERSION);
        let mut heard = config.streams(Service::Consensus, carriage::VERSION..=carriage::VERSION);
        let endpoint = Endpoint::bind(config).unwrap();
        let server = Server::new(place.source.clone(), STREAMS_MAX);
        tokio::spawn(serve_sessions(server, served, |_, _| {}));
        if !with_ledger {
            return Self {
                endpoint,
                ledger: None,
            };
        }
        let (links, carrier) = consensus::links();
        let (carriage, _) = Carriage::start(carrier);
        let mut events = endpoint.events();
        let met = Arc::clone(&carriage);
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if let SessionEvent::Up(session) = event {
                    met.add(&session, false);
                }
            }
        });
        tokio::spawn(async move {
            while let Some(stream) = heard.recv().await {
                let carriage = Arc::clone(&carriage);
                tokio::spawn(async move { carriage.read(stream).await });
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let config = consensus::Config {
            data_dir: dir.path().join("consensus"),
            secret_key: consensus::SecretKey::from([number; 32]),
            genesis: genesis.clone(),
            rules: KnownRules::RELEASED,
            heartbeat: consensus::Config::HEARTBEAT,
            sync_beyond_blocks: consensus::Config::SYNC_BEYOND_BLOCKS,
            retention: consensus::Retention::USUAL,
            links: Some(links),
        };
        let (ledger, _, mut blocks) = consensus::start(config).await.unwrap();
        tokio::spawn(async move { while blocks.recv().await.is_some() {} });
        Self {
            endpoint,
            ledger: Some((ledger, dir)),
        }
    }
}

/// Counts what has come.
struct Progress {
    bytes: Arc<AtomicU64>,
    counted: u64,
}

impl Observer for Progress {
    fn dropped(&mut self, peer: NodeId, failure: &PeerFailure) {
        println!("no more from {peer}: {failure}");
    }

    fn progressed(&mut self, stored: u64, _: u64) {
        self.bytes
            .fetch_add(stored.saturating_sub(self.counted), Ordering::Relaxed);
        self.counted = self.counted.max(stored);
    }
}
