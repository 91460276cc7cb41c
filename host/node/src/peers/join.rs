//! Joining: from a ticket to membership. Both sides prove themselves: the peer by a certificate
//! that the ledger, verified from the fabric id alone, has logged; this node by its identity and
//! the ticket's secret, which never leaves this machine.

use std::sync::Arc;
use std::time::Duration;

use admin::{Client, ClientError};
use discovery::LanError;
use ledger::{
    Admission, CertificateFact, DecodeGenesisError, Genesis, MembershipOperation, Operation,
    join_bytes,
};
use stoq::{DialError, Target};
use trust::Standing;
use types::{FabricId, NodeId};

use crate::clock::unix_ms;
use crate::peers::authority::standing;
use crate::peers::control::SessionDial;
use crate::peers::lan::members_on_lan;
use crate::peers::{Entrance, Opened, Peers};
use crate::shared::Shared;
use crate::signer::SignError;

/// How long it may take to read the ledger up to where the peer is.
const CATCH_UP_TIME: Duration = Duration::from_secs(120);
/// How long a peer may take to have its own certificate logged, once the ledger is read: it may
/// have just begun.
const LOGGED_TIME: Duration = Duration::from_secs(10);

/// No fabric was found behind a ticket.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Too late.
    #[error("the ticket expired {seconds} s ago: ask for another one")]
    Expired {
        /// So long ago, by this machine's clock.
        seconds: u64,
    },
    /// It names no address.
    #[error("the ticket names no address")]
    NoAddress,
    /// The local network cannot be spoken to.
    #[error("members cannot be looked for on the local network: {0}")]
    Lan(#[from] LanError),
    /// Nobody is there.
    #[error(
        "no member of fabric {} is on the local network: name one with FABRIC@IP:PORT", .0.short()
    )]
    NobodyOnLan(FabricId),
    /// No member answered, or none that is good.
    #[error("no member of fabric {} can be reached: {source}", fabric.short())]
    Dial {
        /// The ticket's fabric.
        fabric: FabricId,
        /// Why.
        source: DialError,
    },
    /// The peer did not say how the fabric began.
    #[error("the peer does not answer: {0}")]
    Ask(#[from] ClientError),
    /// The peer's answer is not a genesis.
    #[error("the peer's genesis is none: {0}")]
    Genesis(#[from] DecodeGenesisError),
    /// The peer's answer is the genesis of another fabric.
    #[error("the peer answers for fabric {found}, the ticket is for {expected}")]
    OtherFabric {
        /// The ticket's.
        expected: FabricId,
        /// What the peer's genesis hashes to.
        found: FabricId,
    },
}

/// Asks members, where the entrance says that they are, how the fabric began; remembers where. What
/// comes back is checked against the fabric id; who answered is checked later, against the ledger.
pub(crate) async fn bootstrap(
    opened: &mut Opened,
    entrance: &Entrance,
) -> Result<Genesis, BootstrapError> {
    if let Some(seconds) = entrance.over_for_s(unix_ms() / 1_000) {
        return Err(BootstrapError::Expired { seconds });
    }
    let fabric = entrance.fabric();
    let addresses = match (entrance, entrance.addresses()) {
        (Entrance::Vote { .. }, []) => match members_on_lan(fabric).await? {
            found if found.is_empty() => return Err(BootstrapError::NobodyOnLan(fabric)),
            found => found,
        },
        (Entrance::Ticket(_), []) => return Err(BootstrapError::NoAddress),
        (_, named) => named.to_vec(),
    };
    let target = Target {
        node: None,
        addresses: addresses.clone(),
    };
    let session = opened.endpoint.dial(target).await;
    let session = session.map_err(|source| BootstrapError::Dial { fabric, source })?;
    let bytes = Client::over(Arc::new(SessionDial(session)))
        .genesis()
        .await?;
    let genesis = Genesis::decode(&bytes)?;
    let (expected, found) = (fabric, genesis.fabric_id());
    if expected != found {
        return Err(BootstrapError::OtherFabric { expected, found });
    }
    opened.enter(&addresses);
    Ok(genesis)
}

/// A node that did not become a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The ledger could not be read.
    #[error("the ledger could not be read up to its end within {} s (height {height}, {peers} peers)", CATCH_UP_TIME.as_secs())]
    CatchUp {
        /// How far it was read.
        height: u64,
        /// Connected peers.
        peers: usize,
    },
    /// The peer is no member by the ledger's word: a man in the middle, or a member whose
    /// certificate was never logged.
    #[error(
        "the certificate of {} was never logged by fabric {}: whoever answers at the ticket's \
         address is not a member, or someone stands in between", node.short(), fabric.short()
    )]
    NeverLogged {
        /// Who the peer claims to be.
        node: NodeId,
        /// The fabric.
        fabric: FabricId,
    },
    /// Nobody is left to join through.
    #[error("the session with the member that the ticket leads to has ended")]
    SessionLost,
    /// The ledger refused.
    #[error("{0}")]
    Refused(String),
}

/// Becomes a member through `entrance`, unless this node is one. The ledger runs and follows its peers.
pub(crate) async fn join(
    shared: &Arc<Shared>,
    peers: &Peers,
    entrance: &Entrance,
    certificate: CertificateFact,
) -> Result<(), JoinError> {
    tokio::select! {
        read = catch_up(shared) => read?,
        reason = peers.refused() => return Err(JoinError::Refused(reason)),
    }
    if shared.is_member() {
        return Ok(());
    }
    peer_is_logged(shared, peers).await?;
    let admission = match entrance {
        Entrance::Ticket(ticket) => {
            let key = ticket.key();
            Admission::Ticket {
                ticket: key.public(),
                signature: key.sign(&join_bytes(&shared.fabric, &shared.node)),
            }
        }
        Entrance::Vote { .. } => {
            approved(shared).await;
            Admission::Vote
        }
    };
    let operation = MembershipOperation::Join {
        admission,
        certificate,
    };
    let signed = shared
        .signer
        .submit(shared, Operation::Membership(operation))
        .await;
    let signed = signed.map_err(|error| match error {
        SignError::Refused(refusal) => JoinError::Refused(refusal.to_string()),
        SignError::Submit(error) => JoinError::Refused(error.to_string()),
    })?;
    // What comes next must find this node among the members.
    let mut revision = shared.revision.subscribe();
    let seen = revision.wait_for(|_| shared.state().view.height() >= signed.height);
    let _ = seen.await;
    Ok(())
}

/// Waits until enough validators have voted for this node.
async fn approved(shared: &Shared) {
    let node = shared.node;
    tracing::info!("this node waits to be let in: validators run `nexus fabric approve {node}`");
    let mut revision = shared.revision.subscribe();
    // State that cannot be read ends the node elsewhere.
    let is_approved = || shared.state().view.is_approved(&node).unwrap_or(false);
    // The sender is in `shared`.
    let _ = revision.wait_for(|_| is_approved()).await;
}

/// Waits until the ledger is read as far as a peer has proved it to go.
async fn catch_up(shared: &Shared) -> Result<(), JoinError> {
    let mut revision = shared.revision.subscribe();
    let read = async {
        loop {
            let status = shared.ledger.status();
            let height = shared.state().view.height();
            let heard = status.heard.as_ref().map(|heard| heard.height);
            if heard.is_some_and(|heard| height >= heard) {
                return;
            }
            // Either a block comes, or a peer says how far there is to go.
            let _ = tokio::time::timeout(Duration::from_millis(20), revision.changed()).await;
        }
    };
    tokio::time::timeout(CATCH_UP_TIME, read)
        .await
        .map_err(|_| {
            let status = shared.ledger.status();
            JoinError::CatchUp {
                height: status.height,
                peers: status.peers,
            }
        })
}

/// Checks the one that answered against the ledger, which was verified from the fabric id alone.
async fn peer_is_logged(shared: &Shared, peers: &Peers) -> Result<(), JoinError> {
    let deadline = tokio::time::Instant::now() + LOGGED_TIME;
    loop {
        peers.standing_changed(shared);
        let sessions = peers.sessions();
        let mut stranger = None;
        for session in &sessions {
            match standing(&session.peer) {
                Standing::Member(_) => return Ok(()),
                Standing::Unlogged(node) | Standing::Stranger(node) => stranger = Some(node),
                Standing::Operator(_) => {}
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(match stranger {
                Some(node) => JoinError::NeverLogged {
                    node,
                    fabric: shared.fabric,
                },
                None => JoinError::SessionLost,
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
