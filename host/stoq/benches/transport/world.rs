//! Certificates for benches, and an authority that takes everyone.

use hypermesh_stoq::{
    CertificateDer, Credentials, Occasion, Peer, PeerAuthority, PeerRefusal, PrivateKeyDer,
    ServiceSet,
};
use types::NodeId;

pub(crate) fn credentials() -> Credentials {
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

/// Takes any certificate for this node's.
pub(crate) struct Takes(pub(crate) u8);

impl PeerAuthority for Takes {
    fn judge(&self, _: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        Ok(Peer::node(id(self.0), ServiceSet::ALL, "peer"))
    }
}
