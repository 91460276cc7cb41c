//! Dialling: several addresses at once, one session, and every failure with its reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use types::NodeId;

use crate::authority::Occasion;
use crate::bounds::{
    DIAL_ADDRESSES_MAX, DIAL_STAGGER, HANDSHAKE_TIME, REFUSAL_LINGER, SURVIVOR_TIME,
};
use crate::close::{CloseReason, Closer};
use crate::control;
use crate::endpoint::Shared;
use crate::link::{Established, Link, Standing, lock};
use crate::listen::serve;
use crate::proto::{self, ControlFrame, Dialler, Hello};
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
    /// No address answered.
    #[error("no address answered: {}", list(.attempts))]
    Unreachable {
        /// Each with its reason.
        attempts: Vec<FailedAttempt>,
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

fn list(attempts: &[FailedAttempt]) -> String {
    let each = attempts
        .iter()
        .map(|attempt| format!("{} ({})", attempt.address, attempt.reason));
    each.collect::<Vec<_>>().join(", ")
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
        return connect(shared, target).await;
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
    connect(shared, target).await
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
async fn connect(shared: &Arc<Shared>, target: Target) -> Result<Session, DialError> {
    let name = server_name(target.node.as_ref());
    let had_ticket = shared.kept.has(&name);
    match connect_once(shared, target.clone()).await {
        Err(DialError::RefusedByPeer { .. } | DialError::PeerRefused { .. }) if had_ticket => {
            shared.kept.forget_one(&name);
            connect_once(shared, target).await
        }
        other => other,
    }
}

async fn connect_once(shared: &Arc<Shared>, target: Target) -> Result<Session, DialError> {
    let node = target.node;
    let (connection, standing) = reach(shared, target).await?;
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

/// Connects to the first address where the right peer answers.
pub(crate) async fn reach(
    shared: &Arc<Shared>,
    target: Target,
) -> Result<(Connection, Standing), DialError> {
    let mut dials = JoinSet::new();
    let mut addresses = target.addresses;
    addresses.truncate(DIAL_ADDRESSES_MAX);
    for (index, address) in addresses.into_iter().enumerate() {
        let shared = shared.clone();
        let index = u32::try_from(index).unwrap_or(0);
        dials.spawn(async move {
            tokio::time::sleep(DIAL_STAGGER * index).await;
            let tried =
                tokio::time::timeout(HANDSHAKE_TIME, attempt(&shared, target.node, address));
            let timed_out = || Err(Attempt::Unreachable("timed out".to_owned()));
            (address, tried.await.unwrap_or_else(|_| timed_out()))
        });
    }
    let mut attempts = Vec::new();
    let mut refused = None;
    while let Some(dialled) = dials.join_next().await {
        match dialled {
            Ok((_, Ok(reached))) => return Ok(reached),
            Ok((address, Err(Attempt::Unreachable(reason)))) => {
                attempts.push(FailedAttempt { address, reason });
            }
            Ok((_, Err(Attempt::Refused(error)))) => refused = Some(error),
            Err(_) => {}
        }
    }
    // Who answered and was wrong says more than who did not answer.
    Err(match refused {
        Some(error) => error,
        None if attempts.is_empty() => DialError::NoAddress,
        None => DialError::Unreachable { attempts },
    })
}

/// Why one address failed.
enum Attempt {
    Unreachable(String),
    Refused(DialError),
}

async fn attempt(
    shared: &Shared,
    expected: Option<NodeId>,
    address: SocketAddr,
) -> Result<(Connection, Standing), Attempt> {
    let name = server_name(expected.as_ref());
    let unreachable = |error: &dyn ToString| Attempt::Unreachable(error.to_string());
    let connecting = shared
        .quinn
        .connect_with(shared.client.clone(), address, &name)
        .map_err(|error| unreachable(&error))?;
    let connection = connecting.await.map_err(|error| unreachable(&error))?;
    let standing = expect(shared, &connection, expected).map_err(Attempt::Refused)?;
    Ok((connection, standing))
}

/// Who answered, if it is who was dialled and may be.
pub(crate) fn expect(
    shared: &Shared,
    connection: &Connection,
    expected: Option<NodeId>,
) -> Result<Standing, DialError> {
    let standing = match shared.judge(connection, Occasion::Dialled) {
        Ok(standing) => standing,
        Err(reason) => {
            tokio::spawn(decline(connection.clone(), reason.clone()));
            return Err(reason.into());
        }
    };
    let found = standing.peer.id;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(DialError::WrongNode { expected, found });
    }
    if found == shared.node {
        return Err(DialError::Oneself);
    }
    Ok(standing)
}

/// Tells the peer why it is not wanted, and leaves.
async fn decline(connection: Connection, reason: CloseReason) {
    let told = async {
        let (mut send, _recv) = connection.open_bi().await.ok()?;
        if let CloseReason::Refused { code, text, .. } = &reason {
            let (code, text) = (*code, text.clone());
            let frame = ControlFrame::Refusal { code, text };
            control::write(&mut send, &frame).await.ok()?;
        }
        connection.closed().await;
        Some(())
    };
    let _ = tokio::time::timeout(REFUSAL_LINGER, told).await;
    let (code, text) = reason.to_wire();
    connection.close(code, text.as_bytes());
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
    let (_, claim) =
        proto::greet(&ours, theirs, Dialler::Us(shared.node)).map_err(CloseReason::ungreeted)?;
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
