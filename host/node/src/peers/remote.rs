//! The admin API of a node elsewhere, for an operator's command line: one session, dialled when the
//! first call needs it, to a node whose identity is known beforehand.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use admin::{Dial, Dialling};
use stoq::{
    CertificateDer, Endpoint, Occasion, Peer, PeerAuthority, PeerRefusal, ServiceSet, Session,
    Target,
};
use tokio::sync::OnceCell;
use trust::{IssuedCertificate, PresentedCertificate, SecretKey, Subject};
use types::{FabricId, NodeId};

use crate::clock::unix_ms;
use crate::peers::control::SessionDial;
use crate::peers::credentials;

/// A node elsewhere and the operator who speaks to it.
pub struct RemoteNode {
    /// Its fabric.
    pub fabric: FabricId,
    /// Who must answer.
    pub node: NodeId,
    /// Where it may be.
    pub addresses: Vec<SocketAddr>,
    /// The operator's key.
    pub operator: SecretKey,
}

/// The way to a node elsewhere, for [`admin::Client::over`].
#[must_use]
pub fn remote(node: RemoteNode) -> Arc<dyn Dial> {
    Arc::new(Remote {
        node,
        session: OnceCell::new(),
    })
}

struct Remote {
    node: RemoteNode,
    /// The endpoint lives as long as its session.
    session: OnceCell<(Endpoint, Session)>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.place())
    }
}

impl Dial for Remote {
    fn place(&self) -> String {
        let addresses: Vec<_> = self
            .node
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        format!("{}@{}", self.node.node.short(), addresses.join(","))
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            let (_, session) = self.session.get_or_try_init(|| self.connect()).await?;
            SessionDial(session.clone()).dial().await
        })
    }
}

impl Remote {
    async fn connect(&self) -> io::Result<(Endpoint, Session)> {
        let RemoteNode {
            fabric,
            node,
            addresses,
            operator,
        } = &self.node;
        let now_ms = unix_ms();
        let issued = IssuedCertificate::issue(operator, fabric, false, now_ms);
        let issued = issued.map_err(io::Error::other)?;
        let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let authority = Arc::new(Pinned {
            fabric: *fabric,
            node: *node,
        });
        let shown = credentials::shown(&issued);
        let config = stoq::Config::new(operator.public(), anywhere, shown, authority);
        let endpoint = Endpoint::bind(config).map_err(io::Error::other)?;
        let target = Target {
            node: Some(*node),
            addresses: addresses.clone(),
        };
        let session = endpoint.dial(target).await.map_err(io::Error::other)?;
        Ok((endpoint, session))
    }
}

/// Takes one node of one fabric. An operator has no ledger to look into, so a certificate that
/// was revoked within its day is not noticed here; the identity key itself must have signed it.
struct Pinned {
    fabric: FabricId,
    node: NodeId,
}

impl PeerAuthority for Pinned {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let refused = |text: String| PeerRefusal { code: 1, text };
        let leaf = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
        let read = PresentedCertificate::read(leaf).map_err(|error| refused(error.to_string()))?;
        if read.fabric != self.fabric {
            return Err(refused(format!(
                "it is a node of fabric {}",
                read.fabric.short()
            )));
        }
        if read.subject != Subject::Node(self.node) {
            let found = read.subject.key().short();
            return Err(refused(format!(
                "{found} answers, not {}",
                self.node.short()
            )));
        }
        let now_ms = unix_ms();
        if !(read.not_before_ms..=read.not_after_ms).contains(&now_ms) {
            return Err(refused(
                "its certificate is not good now: check the clocks".to_owned(),
            ));
        }
        Ok(Peer::node(self.node, ServiceSet::NONE, "member"))
    }
}
