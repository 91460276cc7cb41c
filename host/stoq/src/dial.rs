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
    DIAL_ADDRESSES_MAX, DIAL_STAGGER, HANDSHAKE_TIME, REFUSAL_LINGER, RELAY_DELAY, RELAY_LINGER,
    SURVIVOR_TIME,
};
use crate::circuit::is_place;
use crate::close::{CloseReason, Closer};
use crate::control;
use crate::endpoint::Shared;
use crate::link::{Established, Link, Standing, lock};
use crate::listen::serve;
use crate::proto::{self, ControlFrame, Dialler, Hello};
use crate::relaying::{self, FailedRelay};
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

/// Which ways a dial may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    /// The target's addresses, then relays.
    All,
    /// The target's addresses only.
    Direct,
}

/// Connects to the first address where the right peer answers, or through the first relay that
/// leads to it.
pub(crate) async fn reach(
    shared: &Arc<Shared>,
    target: Target,
    ways: Ways,
) -> Result<(Connection, Standing), DialError> {
    let mut dials = JoinSet::new();
    if let (Ways::All, Some(node)) = (ways, target.node) {
        let shared = shared.clone();
        let has_addresses = !target.addresses.is_empty();
        dials.spawn(async move {
            if has_addresses {
                tokio::time::sleep(RELAY_DELAY).await;
            }
            through_relays(&shared, node).await
        });
    }
    let mut addresses = target.addresses;
    addresses.truncate(DIAL_ADDRESSES_MAX);
    for (index, address) in addresses.into_iter().enumerate() {
        let shared = shared.clone();
        let index = u32::try_from(index).unwrap_or(0);
        dials.spawn(async move {
            tokio::time::sleep(DIAL_STAGGER * index).await;
            let tried =
                tokio::time::timeout(HANDSHAKE_TIME, attempt(&shared, target.node, address));
            let timed_out = || Err(Attempt::Unreachable(TIMED_OUT.to_owned()));
            let tried = tried.await.unwrap_or_else(|_| timed_out());
            tried.map_err(|attempt| match attempt {
                Attempt::Unreachable(reason) => Unreached::At(FailedAttempt { address, reason }),
                Attempt::Refused(error) => Unreached::Refused(error),
            })
        });
    }
    let (mut attempts, mut relays) = (Vec::new(), Vec::new());
    let mut refused = None;
    while let Some(dialled) = dials.join_next().await {
        match dialled {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(Unreached::At(failed))) => attempts.push(failed),
            Ok(Err(Unreached::Through(failed))) => relays = failed,
            Ok(Err(Unreached::Refused(error))) => refused = Some(error),
            Err(_) => {}
        }
    }
    // Who answered and was wrong says more than who did not answer.
    Err(match refused {
        Some(error) => error,
        None if attempts.is_empty() && relays.is_empty() => DialError::NoAddress,
        None => DialError::Unreachable { attempts, relays },
    })
}

/// What a handshake that takes too long is said to have done.
const TIMED_OUT: &str = "timed out";

/// Why one way failed.
enum Unreached {
    At(FailedAttempt),
    Through(Vec<FailedRelay>),
    Refused(DialError),
}

/// Connects through the first relay that leads to `node`.
async fn through_relays(
    shared: &Arc<Shared>,
    node: NodeId,
) -> Result<(Connection, Standing), Unreached> {
    let mut failed = Vec::new();
    for link in relaying::candidates(shared, &node) {
        let relay = link.standing().peer.id;
        let mut way = match relaying::ask(shared, &link, node).await {
            Ok(way) => way,
            Err(reason) => {
                failed.push(FailedRelay { relay, reason });
                continue;
            }
        };
        let tried = tokio::time::timeout(HANDSHAKE_TIME, attempt(shared, Some(node), way.address));
        let reason = match tried.await {
            Ok(Ok((connection, standing))) => {
                let carried = connection.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = carried.closed() => tokio::time::sleep(RELAY_LINGER).await,
                        () = way.ended() => {}
                    }
                });
                return Ok((connection, standing));
            }
            Ok(Err(Attempt::Refused(error))) => return Err(Unreached::Refused(error)),
            Ok(Err(Attempt::Unreachable(reason))) => reason,
            Err(_) => TIMED_OUT.to_owned(),
        };
        failed.push(FailedRelay { relay, reason });
    }
    Err(Unreached::Through(failed))
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
    let client = if is_place(address) {
        &shared.relayed_client
    } else {
        &shared.client
    };
    let unreachable = |error: &dyn ToString| Attempt::Unreachable(error.to_string());
    let connecting = shared
        .quinn
        .connect_with(client.clone(), address, &name)
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
