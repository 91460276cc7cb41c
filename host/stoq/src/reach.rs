//! The ways to a target: its addresses side by side, and after them relays, one after the other.
//! Ends with a connection whose peer is known; what becomes of it is decided elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::Connection;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use types::NodeId;

use crate::authority::Occasion;
use crate::bounds::{
    DIAL_ADDRESSES_MAX, DIAL_STAGGER, HANDSHAKE_TIME, REFUSAL_LINGER, RELAY_DELAY, RELAY_LINGER,
};
use crate::circuit::is_place;
use crate::close::CloseReason;
use crate::control;
use crate::dial::{DialError, FailedAttempt, Target};
use crate::endpoint::Shared;
use crate::link::{Link, Standing};
use crate::proto::ControlFrame;
use crate::relaying::{self, FailedRelay};
use crate::tls::server_name;

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
    let relayed_node = target.node.filter(|_| ways == Ways::All);
    let given_up = Notify::new();
    let mut direct = std::pin::pin!(reach_directly(shared, target));
    let mut relayed = std::pin::pin!(async {
        let Some(node) = relayed_node else {
            return Err(Unreached::default());
        };
        // What is not found by then may still be.
        let _ = tokio::time::timeout(RELAY_DELAY, given_up.notified()).await;
        through_relays(shared, node).await
    });
    let unreached = tokio::select! {
        reached = &mut direct => {
            let unreached = match reached {
                Ok(reached) => return Ok(reached),
                Err(unreached) => unreached,
            };
            given_up.notify_one();
            match relayed.await {
                Ok(reached) => return Ok(reached),
                Err(later) => unreached.and(later),
            }
        }
        reached = &mut relayed => match reached {
            Ok(reached) => return Ok(reached),
            Err(unreached) => match direct.await {
                Ok(reached) => return Ok(reached),
                Err(later) => unreached.and(later),
            },
        },
    };
    Err(unreached.into())
}

/// Connects to the first address where the right peer answers.
async fn reach_directly(
    shared: &Arc<Shared>,
    target: Target,
) -> Result<(Connection, Standing), Unreached> {
    let mut dials = JoinSet::new();
    let mut addresses = target.addresses;
    // What others say must not lead into this endpoint's own relayed connections.
    addresses.retain(|address| !is_place(*address));
    addresses.truncate(DIAL_ADDRESSES_MAX);
    for (index, address) in addresses.into_iter().enumerate() {
        let shared = shared.clone();
        let index = u32::try_from(index).unwrap_or(0);
        dials.spawn(async move {
            tokio::time::sleep(DIAL_STAGGER * index).await;
            (address, attempt(&shared, target.node, address).await)
        });
    }
    let mut unreached = Unreached::default();
    while let Some(dialled) = dials.join_next().await {
        match dialled {
            Ok((_, Ok(reached))) => return Ok(reached),
            Ok((address, Err(Attempt::Unreachable(reason)))) => {
                unreached.attempts.push(FailedAttempt { address, reason });
            }
            Ok((_, Err(Attempt::Refused(error)))) => unreached.refused = Some(error),
            Err(_) => {}
        }
    }
    Err(unreached)
}

/// Why no way led to the target.
#[derive(Debug, Default)]
struct Unreached {
    attempts: Vec<FailedAttempt>,
    relays: Vec<FailedRelay>,
    /// Who answered and was wrong says more than who did not answer. It may have been somebody else:
    /// private addresses are many nodes' at once.
    refused: Option<DialError>,
}

impl Unreached {
    fn and(mut self, mut other: Self) -> Self {
        self.attempts.append(&mut other.attempts);
        self.relays.append(&mut other.relays);
        self.refused = self.refused.or(other.refused);
        self
    }
}

impl From<Unreached> for DialError {
    fn from(unreached: Unreached) -> Self {
        let Unreached {
            attempts,
            relays,
            refused,
        } = unreached;
        match refused {
            Some(error) => error,
            None if attempts.is_empty() && relays.is_empty() => Self::NoAddress,
            None => Self::Unreachable { attempts, relays },
        }
    }
}

/// Connects through the first relay that leads to `node`.
async fn through_relays(
    shared: &Arc<Shared>,
    node: NodeId,
) -> Result<(Connection, Standing), Unreached> {
    let mut unreached = Unreached::default();
    for link in relaying::candidates(shared, &node) {
        let relay = link.standing().peer.id;
        let reason = match through(shared, &link, node).await {
            Ok(reached) => return Ok(reached),
            Err(Attempt::Unreachable(reason)) => reason,
            Err(Attempt::Refused(error)) => {
                unreached.refused = Some(error);
                break;
            }
        };
        unreached.relays.push(FailedRelay { relay, reason });
    }
    Err(unreached)
}

/// Connects through one relay. The way lasts as long as the connection.
async fn through(
    shared: &Arc<Shared>,
    relay: &Arc<Link>,
    node: NodeId,
) -> Result<(Connection, Standing), Attempt> {
    let way = relaying::ask(shared, relay, node).await;
    let mut way = way.map_err(Attempt::Unreachable)?;
    let (connection, standing) = attempt(shared, Some(node), way.address).await?;
    let carried = connection.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = carried.closed() => tokio::time::sleep(RELAY_LINGER).await,
            () = way.ended() => {}
        }
    });
    Ok((connection, standing))
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
    let connected = tokio::time::timeout(HANDSHAKE_TIME, connecting).await;
    let connected = connected.map_err(|_| unreachable(&"timed out"))?;
    let connection = connected.map_err(|error| unreachable(&error))?;
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
