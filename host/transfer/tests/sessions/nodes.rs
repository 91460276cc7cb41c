//! Nodes for these tests: an endpoint, a store, and an authority that knows what it has issued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypermesh_transfer::{ARTIFACT_VERSION, Server, serve_sessions};
use stoq::{
    CertificateDer, Config, Credentials, Endpoint, InboundStream, Occasion, Peer, PeerAuthority,
    PeerRefusal, PrivateKeyDer, Service, ServiceSet, Target,
};
use storage::Artifacts;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use types::NodeId;

/// Longest wait for anything; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who is who; shared by all nodes of a test.
#[derive(Default)]
pub(crate) struct World {
    issued: Mutex<HashMap<Vec<u8>, NodeId>>,
}

impl World {
    fn issue(&self, id: NodeId) -> Credentials {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["node.stoq".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let leaf = certificate.der().to_vec();
        self.issued.lock().unwrap().insert(leaf, id);
        Credentials {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}

impl PeerAuthority for World {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let issued = self.issued.lock().unwrap();
        let id = *issued.get(&*chain[0]).ok_or_else(|| PeerRefusal {
            code: 1,
            text: "never issued".to_owned(),
        })?;
        Ok(Peer::node(id, ServiceSet::ALL, "a node".to_owned()))
    }
}

pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) artifacts: Artifacts,
    pub(crate) id: NodeId,
    _folder: TempDir,
}

impl Node {
    pub(crate) fn start(world: &Arc<World>, number: u8) -> Self {
        Self::with(world, number, |artifacts, inbound| {
            serve_sessions(Server::new(artifacts, 64), inbound, |_, _| {})
        })
    }

    pub(crate) fn with<F: Future<Output = ()> + Send + 'static>(
        world: &Arc<World>,
        number: u8,
        serve: impl FnOnce(Artifacts, mpsc::Receiver<InboundStream>) -> F,
    ) -> Self {
        let bind = "127.0.0.1:0".parse().unwrap();
        let credentials = world.issue(id(number));
        let mut config = Config::new(id(number), bind, credentials, world.clone());
        let inbound = config.streams(Service::Artifact, ARTIFACT_VERSION..=ARTIFACT_VERSION);
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let endpoint = Endpoint::bind(config).unwrap();
        tokio::spawn(serve(artifacts.clone(), inbound));
        Self {
            endpoint,
            artifacts,
            id: id(number),
            _folder: folder,
        }
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            node: Some(self.id),
            addresses: vec![self.endpoint.local_address().unwrap()],
        }
    }
}

/// Serves, but changes one byte of every answer that is longer than its first slice.
pub(crate) async fn liar(artifacts: Artifacts, mut inbound: mpsc::Receiver<InboundStream>) {
    let server = Server::new(artifacts, 64);
    while let Some(mut stream) = inbound.recv().await {
        let server = server.clone();
        tokio::spawn(async move {
            let (mut sent, far) = tokio::io::duplex(64 << 10);
            let (_, writer) = tokio::io::split(far);
            tokio::spawn(async move { server.serve(stream.recv, writer).await });
            let (mut at, mut piece) = (0, vec![0; 64 << 10]);
            while let Ok(read) = sent.read(&mut piece).await {
                if read == 0 {
                    let _ = stream.send.finish().await;
                    return;
                }
                if (at..at + read).contains(&300_000) {
                    piece[300_000 - at] ^= 1;
                }
                at += read;
                if stream.send.write_all(&piece[..read]).await.is_err() {
                    return;
                }
            }
        });
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this should have happened by now")
}
