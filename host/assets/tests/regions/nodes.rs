//! Nodes for these tests: an endpoint that serves one region, others that open it, and an authority
//! that knows what it has issued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hypermesh_assets::{RegionAccess, RemoteRegion, serve_region};
use stoq::{
    CertificateDer, Config, Credentials, Endpoint, Occasion, OpenOptions, Peer, PeerAuthority,
    PeerRefusal, PrivateKeyDer, Service, ServiceSet, Target,
};
use types::NodeId;

/// Who is who; shared by all nodes of a test.
#[derive(Default)]
pub(crate) struct World(Mutex<HashMap<Vec<u8>, NodeId>>);

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
        let issued = self.0.lock().unwrap();
        let id = *issued.get(&*chain[0]).ok_or_else(|| PeerRefusal {
            code: 1,
            text: "never issued".to_owned(),
        })?;
        Ok(Peer::node(id, ServiceSet::ALL, "a node".to_owned()))
    }
}

/// A node that serves `access` to whoever asks.
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    id: NodeId,
}

impl Host {
    pub(crate) fn start(world: &Arc<World>, access: RegionAccess) -> Self {
        let id = NodeId::from_bytes([1; 32]);
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(id, bind, world.issue(id), world.clone());
        let mut inbound = config.streams(Service::Asset, 1..=1);
        let endpoint = Endpoint::bind(config).unwrap();
        tokio::spawn(async move {
            while let Some(stream) = inbound.recv().await {
                let access = access.clone();
                let admit = |_| async move { Ok(access) };
                tokio::spawn(serve_region(stream.recv, stream.send, admit, || 1));
            }
        });
        Self { endpoint, id }
    }

    /// The region as a node with this number has it, and the endpoint that keeps its session.
    pub(crate) async fn opened_by(
        &self,
        world: &Arc<World>,
        number: u8,
    ) -> (Endpoint, RemoteRegion) {
        let id = NodeId::from_bytes([number; 32]);
        let bind = "127.0.0.1:0".parse().unwrap();
        let user = Endpoint::bind(Config::new(id, bind, world.issue(id), world.clone())).unwrap();
        let target = Target {
            node: Some(self.id),
            addresses: vec![self.endpoint.local_address().unwrap()],
        };
        let session = user.dial(target).await.unwrap();
        let opened = session.open(Service::Asset, OpenOptions::default()).await;
        let (writer, reader) = opened.unwrap();
        let region = RemoteRegion::open(reader, writer, Vec::new()).await;
        (user, region.unwrap())
    }
}
