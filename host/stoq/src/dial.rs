//! Dialling: several addresses at once, one session, and every failure with its reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::sync::OwnedMutexGuard;
use types::NodeId;

use crate::bounds::{HANDSHAKE_TIME, SURVIVOR_TIME};
use crate::circuit::is_place;
use crate::close::{CloseReason, Closer};
use crate::control;
use crate::endpoint::Shared;
use crate::link::{Established, Link, Standing, lock};
use crate::listen::serve;
use crate::proto::{self, ControlFrame, Dialler, Hello};
use crate::reach::{Ways, reach};
use crate::relaying::FailedRelay;
use crate::session::Session;
use crate::tls::server_name;

/// Whom to dial, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who must answer; `None` takes whomever the authority takes.
    pub node: Option<NodeId>,
    /// Where it may be; the first 16 are tried, the first of them first.
    pub addresses: Vec<SocketAddr>,
}

/// One address that did not lead to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The address.
    pub address: SocketAddr,
    /// What happened.
    pub reason: String,
}

/// A dial that led to no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The target has no address.
    #[error("no address is known")]
    NoAddress,
    /// No address answered, and no relay led there.
    #[error("no address answered: {}", list(.attempts, .relays))]
    Unreachable {
        /// Each address with its reason.
        attempts: Vec<FailedAttempt>,
        /// Each relay that was asked, with its reason.
        relays: Vec<FailedRelay>,
    },
    /// The peer's authority refused this node.
    #[error("the peer refused this node: {text} (code {code})")]
    RefusedByPeer {
        /// The authority's code.
        code: u32,
        /// The authority's words.
        text: String,
    },
    /// This node's authority refused the peer.
    #[error("this node refused the peer: {text} (code {code})")]
    PeerRefused {
        /// The authority's code.
        code: u32,
        /// The authority's words.
        text: String,
    },
    /// Someone else answered.
    #[error("{found} answered where {expected} was expected")]
    WrongNode {
        /// Who was dialled.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// The addresses lead back to this node.
    #[error("the addresses lead back to this node")]
    Oneself,
    /// The connection ended before it was a session.
    #[error("{0}")]
    Ended(CloseReason),
}

fn list(attempts: &[FailedAttempt], relays: &[FailedRelay]) -> String {
    let direct = attempts
        .iter()
        .map(|attempt| format!("{} ({})", attempt.address, attempt.reason));
    let relayed = relays
        .iter()
        .map(|failed| format!("through {} ({})", failed.relay.short(), failed.reason));
    direct.chain(relayed).collect::<Vec<_>>().join(", ")
}

impl From<CloseReason> for DialError {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Refused { by, code, text } => match by {
                Closer::Us => Self::PeerRefused { code, text },
                Closer::Peer => Self::RefusedByPeer { code, text },
            },
            other => Self::Ended(other),
        }
    }
}

/// The session with `target`, dialled if there is none.
pub(crate) async fn dial(shared: &Arc<Shared>, target: Target) -> Result<Session, DialError> {
    let Some(node) = target.node else {
        return connect(shared, target, Ways::All).await;
    };
    if node == shared.node {
        return Err(DialError::Oneself);
    }
    if let Some(session) = shared.session(&node) {
        return Ok(session);
    }
    let _turn = Turn::take(shared, node).await;
    if let Some(session) = shared.session(&node) {
        return Ok(session);
    }
    connect(shared, target, Ways::All).await
}

/// Replaces a relayed session with `target` by a direct one, if one of its addresses answers now.
pub(crate) async fn improve(shared: &Arc<Shared>, target: Target) -> Result<(), DialError> {
    let Some(node) = target.node else {
        return Ok(());
    };
    let _turn = Turn::take(shared, node).await;
    let session = shared.session(&node);
    if session.is_some_and(|session| session.is_relayed()) {
        connect(shared, target, Ways::Direct).await?;
    }
    Ok(())
}

/// The right to dial a node: whoever wants the same node meanwhile waits, and finds the session.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    node: NodeId,
    _guard: OwnedMutexGuard<()>,
}

impl Turn {
    pub(crate) async fn take(shared: &Arc<Shared>, node: NodeId) -> Self {
        let turn = lock(&shared.dialling).entry(node).or_default().clone();
        let shared = shared.clone();
        let _guard = turn.lock_owned().await;
        Self {
            shared,
            node,
            _guard,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut dialling = lock(&self.shared.dialling);
        // The table and this turn: nobody waits.
        if dialling
            .get(&self.node)
            .is_some_and(|turn| Arc::strong_count(turn) <= 2)
        {
            dialling.remove(&self.node);
        }
    }
}

/// Connects; if a ticket was refused, which may be older than the peers' certificates, then once
/// more in full.
async fn connect(shared: &Arc<Shared>, target: Target, ways: Ways) -> Result<Session, DialError> {
    let name = server_name(target.node.as_ref());
    let had_ticket = shared.kept.has(&name);
    match connect_once(shared, target.clone(), ways).await {
        Err(DialError::RefusedByPeer { .. } | DialError::PeerRefused { .. }) if had_ticket => {
            shared.kept.forget_one(&name);
            connect_once(shared, target, ways).await
        }
        other => other,
    }
}

async fn connect_once(
    shared: &Arc<Shared>,
    target: Target,
    ways: Ways,
) -> Result<Session, DialError> {
    let node = target.node;
    let (connection, standing) = reach(shared, target, ways).await?;
    let peer = standing.peer.id;
    let established = tokio::time::timeout(HANDSHAKE_TIME, greet(shared, &connection, standing));
    let reason = match established.await {
        Ok(Ok(link)) => return Ok(Session(link)),
        Ok(Err(reason)) => reason,
        Err(_) => CloseReason::protocol("no hello came in time"),
    };
    let (code, text) = reason.to_wire();
    connection.close(code, text.as_bytes());
    if reason == CloseReason::Replaced
        && let Some(session) = survivor(shared, node.unwrap_or(peer)).await
    {
        return Ok(session);
    }
    Err(reason.into())
}

/// The session that won over the one that was just dialled.
async fn survivor(shared: &Arc<Shared>, node: NodeId) -> Option<Session> {
    const STEP: Duration = Duration::from_millis(10);
    let found = async {
        loop {
            if let Some(session) = shared.session(&node) {
                return session;
            }
            tokio::time::sleep(STEP).await;
        }
    };
    tokio::time::timeout(SURVIVOR_TIME, found).await.ok()
}

/// Makes a session of an outbound connection.
async fn greet(
    shared: &Arc<Shared>,
    connection: &Connection,
    standing: Standing,
) -> Result<Arc<Link>, CloseReason> {
    let (mut send, recv) = connection
        .open_bi()
        .await
        .map_err(|error| CloseReason::from_error(&error))?;
    let ours = Hello::new(shared.incarnation, shared.next_attempt());
    control::write(&mut send, &ControlFrame::Hello(ours.clone())).await?;
    finish_hello(
        shared.clone(),
        connection.clone(),
        standing,
        (ours, send, recv),
    )
    .await
}

/// Hears the peer's hello, after ours went out.
pub(crate) async fn finish_hello(
    shared: Arc<Shared>,
    connection: Connection,
    standing: Standing,
    (ours, send, mut recv): (Hello, quinn::SendStream, quinn::RecvStream),
) -> Result<Arc<Link>, CloseReason> {
    let frame = control::read(&mut recv).await;
    let theirs = frame.map_err(|error| error.reason())?;
    let relayed = is_place(connection.remote_address());
    let (_, claim) = proto::greet(&ours, theirs, Dialler::Us(shared.node), relayed)
        .map_err(CloseReason::ungreeted)?;
    let link = shared.link(Established {
        connection,
        standing,
        control: send,
        claim,
    });
    shared.seat(&link)?;
    tokio::spawn(serve(shared, link.clone(), recv));
    Ok(link)
}
