//! One artifact of 1 GB from one and from three peers, beside a plain copy of the file over TCP and
//! TLS 1.3 in the same run. Everything is in one process and goes over loopback; the three peers read
//! one copy. `cargo bench -p hypermesh-transfer [-- MILLIONS_OF_BYTES]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hypermesh_transfer::{
    ARTIFACT_VERSION, Observer, Patience, PeerFailure, Server, Sessions, fetch, serve_sessions,
};
use rustls::pki_types::ServerName;
use stoq::{
    CertificateDer, Config, Credentials, Endpoint, Occasion, Peer, PeerAuthority, PeerRefusal,
    PrivateKeyDer, Service, ServiceSet, Target,
};
use storage::Artifacts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use types::{Digest, NodeId};

/// Repetitions, interleaved, so that a slow minute of the machine hits all of them.
const RUNS: usize = 3;
/// What the copy over TLS reads and writes at once.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Default)]
struct World(Mutex<HashMap<Vec<u8>, NodeId>>);

impl World {
    fn issue(&self, id: NodeId) -> Credentials {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["node.stoq".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        self.0
            .lock()
            .unwrap()
            .insert(certificate.der().to_vec(), id);
        Credentials {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}

impl PeerAuthority for World {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let leaf = chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        let issued = self.0.lock().unwrap();
        let id = *issued.get(&leaf).ok_or_else(|| PeerRefusal {
            code: 1,
            text: "never issued".to_owned(),
        })?;
        Ok(Peer::node(id, ServiceSet::ALL, "a node".to_owned()))
    }
}

struct Silent;

impl Observer for Silent {
    fn dropped(&mut self, peer: NodeId, failure: &PeerFailure) {
        println!("dropped {peer}: {failure}");
    }

    fn progressed(&mut self, _: u64, _: u64) {}
}

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn endpoint(world: &Arc<World>, number: u8, artifacts: &Artifacts) -> Endpoint {
    let bind = "127.0.0.1:0".parse().unwrap();
    let credentials = world.issue(id(number));
    let mut config = Config::new(id(number), bind, credentials, world.clone());
    let inbound = config.streams(Service::Artifact, ARTIFACT_VERSION..=ARTIFACT_VERSION);
    let endpoint = Endpoint::bind(config).unwrap();
    let server = Server::new(artifacts.clone(), 64);
    tokio::spawn(serve_sessions(server, inbound, |_, _| {}));
    endpoint
}

/// Fetches from `peers` peers and says how long it took, until it was durable.
async fn fetched(source: &Artifacts, folder: &Path, digest: Digest, peers: u8) -> Duration {
    let world = Arc::new(World::default());
    let target = Artifacts::open(folder).unwrap();
    let to = endpoint(&world, 0, &target);
    let mut ids = Vec::new();
    let mut from = Vec::new();
    for number in 1..=peers {
        let peer = endpoint(&world, number, source);
        let addresses = vec![peer.local_address().unwrap()];
        let node = Some(id(number));
        to.dial(Target { node, addresses }).await.unwrap();
        ids.push(id(number));
        from.push(peer);
    }
    let sessions = Arc::new(Sessions::new(to.clone()));
    let begun = Instant::now();
    let mut silent = Silent;
    let fetching = fetch(
        &target,
        digest,
        &ids,
        &sessions,
        Patience::default(),
        &mut silent,
    );
    fetching.await.unwrap();
    let took = begun.elapsed();
    std::fs::remove_file(target.path(&digest)).unwrap();
    took
}

/// Copies the file over one TLS connection and says how long it took, until it was durable.
async fn copied(source: &Path, target: &Path) -> Duration {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["copy".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let source = source.to_owned();
    let sending = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut file = File::open(source).unwrap();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = file.read(&mut piece).unwrap();
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
                break;
            };
            stream.write_all(piece).await.unwrap();
        }
        stream.shutdown().await.unwrap();
    });
    let connector = TlsConnector::from(Arc::new(client));
    let begun = Instant::now();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("copy").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let mut file = File::create(target).unwrap();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
            break;
        };
        file.write_all(piece).unwrap();
    }
    file.sync_all().unwrap();
    let took = begun.elapsed();
    sending.await.unwrap();
    std::fs::remove_file(target).unwrap();
    took
}

fn fill(artifacts: &Artifacts, bytes: usize) -> Digest {
    let mut upload = artifacts.upload().unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut stream = blake3::Hasher::new().finalize_xof();
    let mut piece = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        stream.fill(&mut piece);
        let piece = piece.get(..left.min(1 << 20)).unwrap();
        hasher.update(piece);
        upload.write(piece).unwrap();
        left -= piece.len();
    }
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    upload.finish(&digest).unwrap();
    digest
}

#[tokio::main]
async fn main() {
    let millions = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let bytes: usize = millions.unwrap_or(1_000) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let source = Artifacts::open(&folder.path().join("source")).unwrap();
    let digest = fill(&source, bytes);
    let begun = Instant::now();
    source
        .reader(&digest)
        .unwrap()
        .slice(&(0..1), &mut Vec::new())
        .unwrap();
    println!(
        "hash pairs, once per artifact: {:.2} s",
        begun.elapsed().as_secs_f64()
    );
    let mut took: [Vec<Duration>; 3] = Default::default();
    let target = folder.path().join("target");
    for _ in 0..RUNS {
        took[0].push(copied(&source.path(&digest), &folder.path().join("copy")).await);
        took[1].push(fetched(&source, &target, digest, 1).await);
        took[2].push(fetched(&source, &target, digest, 3).await);
    }
    let names = ["tcp+tls copy", "stoq, one peer", "stoq, three peers"];
    for (name, mut took) in names.into_iter().zip(took) {
        took.sort_unstable();
        let rates: Vec<String> = took
            .iter()
            .map(|took| format!("{:.0}", bytes as f64 / 1e6 / took.as_secs_f64()))
            .collect();
        println!(
            "transfer::artifact/{name}: {} MB/s (best, median, worst)",
            rates.join(", ")
        );
    }
}
