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
    /// The member that relays for it; the node itself is dialled if there is none.
    pub relay: Option<NodeId>,
    /// Where the relay may be, or the node.
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
        let through = self.node.relay.map(|relay| format!("{}@", relay.short()));
        let through = through.unwrap_or_default();
        format!(
            "{}@{through}{}",
            self.node.node.short(),
            addresses.join(",")
        )
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
            relay,
            addresses,
            operator,
        } = &self.node;
        let now_ms = unix_ms();
        let issued = IssuedCertificate::issue(operator, fabric, false, now_ms);
        let issued = issued.map_err(io::Error::other)?;
        let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let authority = Arc::new(Pinned {
            fabric: *fabric,
            nodes: [Some(*node), *relay].into_iter().flatten().collect(),
        });
        let shown = credentials::shown(&issued);
        let config = stoq::Config::new(operator.public(), anywhere, shown, authority);
        let endpoint = Endpoint::bind(config).map_err(io::Error::other)?;
        let mut target = Target {
            node: Some(relay.unwrap_or(*node)),
            addresses: addresses.clone(),
        };
        if let Some(relay) = relay {
            endpoint.dial(target).await.map_err(io::Error::other)?;
            endpoint.set_relays(*node, &[*relay]);
            target = Target {
                node: Some(*node),
                addresses: Vec::new(),
            };
        }
        let session = endpoint.dial(target).await.map_err(io::Error::other)?;
        Ok((endpoint, session))
    }
}

/// Takes a node of one fabric, and the one that relays for it. An operator has no ledger to look into, so a certificate that
/// was revoked within its day is not noticed here; the identity key itself must have signed it.
struct Pinned {
    fabric: FabricId,
    nodes: Vec<NodeId>,
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
        let expected = |node: &&NodeId| read.subject == Subject::Node(**node);
        let Some(node) = self.nodes.iter().find(expected) else {
            let found = read.subject.key().short();
            let expected: Vec<_> = self.nodes.iter().map(NodeId::short).collect();
            return Err(refused(format!(
                "{found} answers, not {}",
                expected.join(" or ")
            )));
        };
        let now_ms = unix_ms();
        if !(read.not_before_ms..=read.not_after_ms).contains(&now_ms) {
            return Err(refused(
                "its certificate is not good now: check the clocks".to_owned(),
            ));
        }
        Ok(Peer::node(*node, ServiceSet::NONE, "member"))
    }
}
