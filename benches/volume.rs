//! A volume on one member of another node, written until it is durable and read, beside an artifact of
//! as many bytes fetched from a node, until it is durable. Two endpoints in one process, over loopback,
//! in the same run. `cargo bench -p hypermesh-benches --bench volume [-- MILLIONS_OF_BYTES]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assets::volume::{
    BLOCKS_FILE, Layout, MemberAccess, SPAN_BYTES_MAX, Seat, Volume, VolumeKey, Volumes,
    stored_bytes,
};
use assets::{LeaseTerm, LedgerClock, RemoteMember, read_hello, serve_member};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use stoq::{
    CertificateDer, Config, Credentials, Endpoint, Occasion, OpenOptions, Peer, PeerAuthority,
    PeerRefusal, PrivateKeyDer, Service, ServiceSet, Target,
};
use storage::Artifacts;
use tokio::runtime::Handle;
use transfer::{
    ARTIFACT_VERSION, Observer, Patience, PeerFailure, Server, Sessions, fetch, serve_sessions,
};
use types::{Amount, Audience, Digest, LeaseId, NodeId, RegionScope};

/// Repetitions, interleaved, so that a slow minute of the machine hits all of them.
const RUNS: usize = 3;

#[derive(Default)]
struct World(Mutex<HashMap<Vec<u8>, NodeId>>);

impl World {
    fn issue(&self, id: NodeId) -> Credentials {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let parameters = CertificateParams::new(vec!["node.stoq".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let leaf = certificate.der().to_vec();
        self.0.lock().unwrap().insert(leaf, id);
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

/// An endpoint that serves artifacts, and one member of a volume if it has one.
fn endpoint(
    world: &Arc<World>,
    number: u8,
    artifacts: &Artifacts,
    access: Option<MemberAccess>,
) -> Endpoint {
    let bind = "127.0.0.1:0".parse().unwrap();
    let credentials = world.issue(id(number));
    let mut config = Config::new(id(number), bind, credentials, world.clone());
    let fetches = config.streams(Service::Artifact, ARTIFACT_VERSION..=ARTIFACT_VERSION);
    let mut members = config.streams(Service::Asset, 1..=1);
    let endpoint = Endpoint::bind(config).unwrap();
    let server = Server::new(artifacts.clone(), 64);
    tokio::spawn(serve_sessions(server, fetches, |_, _| {}));
    tokio::spawn(async move {
        while let (Some(mut stream), Some(access)) = (members.recv().await, access.clone()) {
            tokio::spawn(async move {
                read_hello(&mut stream.recv).await.unwrap();
                serve_member(stream.recv, stream.send, &access).await
            });
        }
    });
    endpoint
}

fn member(folder: &Path, bytes: usize, number: u8) -> (Volumes, MemberAccess) {
    let volumes = Volumes::open(folder, Handle::current()).unwrap();
    let lease = LeaseId::from_digest(Digest::from_bytes([number; 32]));
    let blocks = (bytes >> 16) as u64 + 100;
    let amount = Amount(blocks * stored_bytes((64 << 10) + 64));
    let term = LeaseTerm::new(1 << 50, LedgerClock::new(0, 0));
    let kept = volumes.member(lease, (amount, amount), term, 0, 0).unwrap();
    let scope = RegionScope::volume(true, true, 1 << 50, Audience::Member);
    let access = MemberAccess::new(kept, scope, Arc::new([]), true, Arc::new(|| 0));
    (volumes, access)
}

fn content(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

/// How long writing until it is durable took, and reading.
async fn used(folder: &Path, content: &[u8], number: u8) -> (Duration, Duration) {
    let world = Arc::new(World::default());
    let nothing = Artifacts::open(&folder.join("nothing")).unwrap();
    let (_volumes, access) = member(&folder.join("volumes"), content.len(), number);
    let host = endpoint(&world, 1, &nothing, Some(access));
    let user = endpoint(&world, 2, &nothing, None);
    let addresses = vec![host.local_address().unwrap()];
    let node = Some(id(1));
    let session = user.dial(Target { node, addresses }).await.unwrap();
    let opened = session.open(Service::Asset, OpenOptions::default()).await;
    let (writer, reader) = opened.unwrap();
    let remote = RemoteMember::open(reader, writer, Vec::new())
        .await
        .unwrap();
    let seats = vec![Seat::whole(Arc::new(remote))];
    let key = VolumeKey::generate().unwrap();
    let volume = Volume::open_writer(Layout::SINGLE, &key, seats)
        .await
        .unwrap();
    let begun = Instant::now();
    let mut offset = 0;
    for span in content.chunks(SPAN_BYTES_MAX) {
        volume.write(BLOCKS_FILE, offset, span).await.unwrap();
        offset += span.len() as u64;
    }
    volume.flush().await.unwrap();
    let wrote = begun.elapsed();
    let begun = Instant::now();
    let mut offset = 0;
    for span in content.chunks(SPAN_BYTES_MAX) {
        let read = volume.read(BLOCKS_FILE, offset, span.len()).await.unwrap();
        assert!(read == span, "it reads what was written");
        offset += span.len() as u64;
    }
    (wrote, begun.elapsed())
}

/// How long a fetch took, until it was durable.
async fn fetched(source: &Artifacts, folder: &Path, digest: Digest) -> Duration {
    let world = Arc::new(World::default());
    let target = Artifacts::open(folder).unwrap();
    let to = endpoint(&world, 2, &target, None);
    let from = endpoint(&world, 1, source, None);
    let addresses = vec![from.local_address().unwrap()];
    let node = Some(id(1));
    to.dial(Target { node, addresses }).await.unwrap();
    let sessions = Arc::new(Sessions::new(to.clone()));
    let mut silent = Silent;
    let ids = [id(1)];
    let begun = Instant::now();
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

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let bytes: usize = given.unwrap_or(200) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let content = content(bytes);
    let source = Artifacts::open(&folder.path().join("source")).unwrap();
    let digest = Digest::of(&content);
    let mut upload = source.upload().unwrap();
    upload.write(&content).unwrap();
    upload.finish(&digest).unwrap();
    let mut first = Vec::new();
    let mut reader = source.reader(&digest).unwrap();
    // Hash pairs, once per artifact, and not part of a fetch.
    reader.slice(&(0..1), &mut first).unwrap();
    let mut took: [Vec<Duration>; 3] = Default::default();
    for run in 1..=RUNS {
        let target = folder.path().join("target");
        took[0].push(fetched(&source, &target, digest).await);
        let run = u8::try_from(run).unwrap_or(u8::MAX);
        let (wrote, read) = used(folder.path(), &content, run).await;
        took[1].push(wrote);
        took[2].push(read);
    }
    let names = [
        "artifact, one peer",
        "volume, write and flush",
        "volume, read",
    ];
    for (name, mut took) in names.into_iter().zip(took) {
        took.sort_unstable();
        let rate = |took: &Duration| format!("{:.0}", bytes as f64 / 1e6 / took.as_secs_f64());
        let rates: Vec<String> = took.iter().map(rate).collect();
        println!(
            "benches::volume/{name}/bytes={bytes}: {} MB/s (best, median, worst)",
            rates.join(", ")
        );
    }
}
