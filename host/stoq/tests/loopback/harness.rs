//! A small world for endpoints: an authority that knows the certificates it has seen issued, and
//! nodes that echo.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypermesh_stoq::{
    CertificateDer, Config, Credentials, Endpoint, InboundStream, Occasion, Peer, PeerAuthority,
    PeerRefusal, PrivateKeyDer, Service, ServiceSet, Session, Target,
};
use tokio::sync::mpsc;
use types::NodeId;

/// Longest wait for anything; nothing here takes a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The refusal code of a revoked node.
pub(crate) const REVOKED: u32 = 7;
/// The refusal code of a certificate that was never issued.
pub(crate) const UNKNOWN: u32 = 9;

/// Who is who; shared by all nodes of a test.
#[derive(Default)]
pub(crate) struct World {
    issued: Mutex<HashMap<Vec<u8>, NodeId>>,
    revoked: Mutex<HashSet<NodeId>>,
    restricted: Mutex<HashMap<NodeId, ServiceSet>>,
}

impl World {
    pub(crate) fn issue(&self, id: NodeId) -> Credentials {
        let credentials = stray_credentials();
        let leaf = credentials.chain[0].to_vec();
        self.issued.lock().unwrap().insert(leaf, id);
        credentials
    }

    /// From now on `id` may open these services only.
    pub(crate) fn restrict(&self, id: NodeId, services: impl IntoIterator<Item = Service>) {
        let services = services.into_iter().collect();
        self.restricted.lock().unwrap().insert(id, services);
    }

    pub(crate) fn revoke(&self, id: NodeId) {
        self.revoked.lock().unwrap().insert(id);
    }
}

impl PeerAuthority for World {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let issued = self.issued.lock().unwrap();
        let id = *issued.get(&*chain[0]).ok_or_else(|| PeerRefusal {
            code: UNKNOWN,
            text: "never issued".to_owned(),
        })?;
        if self.revoked.lock().unwrap().contains(&id) {
            let text = "revoked at height 12".to_owned();
            return Err(PeerRefusal {
                code: REVOKED,
                text,
            });
        }
        let restricted = self.restricted.lock().unwrap().get(&id).copied();
        let services = restricted.unwrap_or(ServiceSet::ALL);
        Ok(Peer::node(
            id,
            services,
            format!("node {}", id.as_bytes()[0]),
        ))
    }
}

/// A certificate that nobody has heard of.
fn stray_credentials() -> Credentials {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["node.stoq".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Credentials {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    }
}

pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

/// An endpoint that echoes what comes on `invoke`.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) id: NodeId,
    pub(crate) control: mpsc::Receiver<InboundStream>,
    pub(crate) gossip: mpsc::Receiver<hypermesh_stoq::InboundDatagram>,
}

impl Node {
    pub(crate) fn start(world: &Arc<World>, number: u8) -> Self {
        Self::with(world.clone(), number, world.issue(id(number)))
    }

    pub(crate) fn with(
        authority: Arc<dyn PeerAuthority>,
        number: u8,
        credentials: Credentials,
    ) -> Self {
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(id(number), bind, credentials, authority);
        let invoke = config.streams(Service::Invoke, 1..=2);
        let control = config.streams(Service::Control, 1..=1);
        let gossip = config.datagrams(Service::Gossip);
        let endpoint = Endpoint::bind(config).unwrap();
        tokio::spawn(echo(invoke));
        Self {
            endpoint,
            id: id(number),
            control,
            gossip,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_address().unwrap()
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            node: Some(self.id),
            addresses: vec![self.address()],
        }
    }
}

async fn echo(mut streams: mpsc::Receiver<InboundStream>) {
    while let Some(mut stream) = streams.recv().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = stream.recv.read_chunk(usize::MAX).await {
                if stream.send.write_chunk(chunk).await.is_err() {
                    return;
                }
            }
            let _ = stream.send.finish().await;
        });
    }
}

/// Asks the echo and checks the answer.
pub(crate) async fn ask(session: &Session, words: &[u8]) {
    let (mut send, mut recv) = session
        .open(Service::Invoke, Default::default())
        .await
        .unwrap();
    send.write_all(words).await.unwrap();
    send.finish().await.unwrap();
    let answer = within(recv.read_to_end(1 << 20)).await.unwrap();
    assert_eq!(answer, words);
}

/// The result of `future`, which must not take forever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this should have happened by now")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
