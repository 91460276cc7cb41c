//! Reading, writing and swapping 64 bytes of a region on another node, beside the same here and beside
//! a bare round trip of 64 bytes on a stream of the same session, in the same run. Two endpoints in
//! one process, over loopback. `cargo bench -p hypermesh-assets [-- OPERATIONS]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hypermesh_assets::{
    LeaseTerm, LedgerClock, RegionAccess, RegionOp, Regions, RemoteRegion, serve_region,
};
use stoq::{
    CertificateDer, Config, Credentials, Endpoint, InboundStream, Occasion, OpenOptions, Peer,
    PeerAuthority, PeerRefusal, PrivateKeyDer, Service, ServiceSet, Session, Target,
};
use tokio::sync::mpsc;
use types::{Amount, Audience, Digest, LeaseId, NodeId, RegionRights, RegionScope};

const BYTES: u32 = 64;
const REGION_BYTES: u64 = 1 << 20;
const OPERATIONS: usize = 2_000;

#[derive(Default)]
struct World(Mutex<HashMap<Vec<u8>, NodeId>>);

impl World {
    fn issue(&self, id: NodeId) -> Credentials {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["node.stoq".to_owned()]).unwrap();
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

/// An endpoint, and what peers open on it for regions and for echoes.
fn endpoint(
    world: &Arc<World>,
    number: u8,
) -> (
    Endpoint,
    mpsc::Receiver<InboundStream>,
    mpsc::Receiver<InboundStream>,
) {
    let id = NodeId::from_bytes([number; 32]);
    let bind = "127.0.0.1:0".parse().unwrap();
    let mut config = Config::new(id, bind, world.issue(id), world.clone());
    let regions = config.streams(Service::Asset, 1..=1);
    let echoes = config.streams(Service::Invoke, 1..=1);
    (Endpoint::bind(config).unwrap(), regions, echoes)
}

fn access() -> RegionAccess {
    let regions = Regions::default();
    let lease = LeaseId::from_digest(Digest::from_bytes([1; 32]));
    let term = LeaseTerm::new(1 << 50, LedgerClock::new(0, 0));
    let (bytes, limit) = (Amount(REGION_BYTES), Amount(REGION_BYTES));
    let region = regions.open(lease, bytes, limit, term, 0).unwrap();
    let scope = RegionScope {
        rights: RegionRights::ALL,
        from: 0,
        until: REGION_BYTES,
        expires_ms: 1 << 50,
        audience: Audience::Member,
    };
    RegionAccess::new(region, scope, Arc::new([]), true)
}

async fn echo(mut stream: InboundStream) {
    let mut bytes = [0; BYTES as usize];
    while stream.recv.read_exact(&mut bytes).await.is_ok() {
        if stream.send.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn kinds() -> [(&'static str, RegionOp); 3] {
    let bytes = vec![0; BYTES as usize];
    [
        (
            "read",
            RegionOp::Read {
                offset: 0,
                bytes: BYTES,
            },
        ),
        (
            "write",
            RegionOp::Write {
                offset: 0,
                bytes: bytes.clone(),
            },
        ),
        (
            "swap",
            RegionOp::Swap {
                offset: 0,
                expected: bytes.clone(),
                new: bytes,
            },
        ),
    ]
}

fn report(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| {
        let index = (took.len().saturating_sub(1)) * percent / 100;
        took.get(index).copied().unwrap_or_default()
    };
    println!(
        "assets::region/{name}/bytes={BYTES}: p50 {:?}, p99 {:?}",
        at(50),
        at(99)
    );
}

/// A stream that only echoes: what any operation on another node takes at least.
async fn round_trips(session: &Session, operations: usize) -> Vec<Duration> {
    let options = OpenOptions::default();
    let (mut send, mut recv) = session.open(Service::Invoke, options).await.unwrap();
    let mut bytes = [0; BYTES as usize];
    let mut took = Vec::with_capacity(operations);
    for _ in 0..operations {
        let begun = Instant::now();
        send.write_all(&bytes).await.unwrap();
        recv.read_exact(&mut bytes).await.unwrap();
        took.push(begun.elapsed());
    }
    took
}

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let operations = given.unwrap_or(OPERATIONS);
    let world = Arc::new(World::default());
    let (host, mut regions, mut echoes) = endpoint(&world, 1);
    let (user, ..) = endpoint(&world, 2);
    let near = access();
    let far = near.clone();
    tokio::spawn(async move {
        while let Some(stream) = regions.recv().await {
            let access = far.clone();
            let admit = |_| async move { Ok(access) };
            tokio::spawn(serve_region(stream.recv, stream.send, admit, || 0));
        }
    });
    tokio::spawn(async move {
        while let Some(stream) = echoes.recv().await {
            tokio::spawn(echo(stream));
        }
    });
    let target = Target {
        node: Some(NodeId::from_bytes([1; 32])),
        addresses: vec![host.local_address().unwrap()],
    };
    let session = user.dial(target).await.unwrap();
    let options = OpenOptions::default();
    let (send, recv) = session.open(Service::Asset, options).await.unwrap();
    let remote = RemoteRegion::open(recv, send, Vec::new()).await.unwrap();

    report("round-trip", round_trips(&session, operations).await);
    for (kind, operation) in kinds() {
        let mut took = Vec::with_capacity(operations);
        for _ in 0..operations {
            let operation = operation.clone();
            let begun = Instant::now();
            near.apply(operation, 0).unwrap();
            took.push(begun.elapsed());
        }
        report(&format!("local-{kind}"), took);
        let mut took = Vec::with_capacity(operations);
        for _ in 0..operations {
            let begun = Instant::now();
            remote.ask(&operation).await.unwrap();
            took.push(begun.elapsed());
        }
        report(&format!("remote-{kind}"), took);
    }
}
