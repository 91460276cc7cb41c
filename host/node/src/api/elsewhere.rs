//! What other nodes say of the replicas that are placed on them. Asks each for its own only, so
//! that no question goes in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use admin::{Client, ClientError, LogLine, LogQuery, ReplicaStatus, WorkloadStatus};
use futures::{Stream, stream};
use tokio::task::JoinSet;
use types::{Name, NodeId};

use crate::api::refusal::Refused;
use crate::shared::Shared;
use crate::status;

/// How long a node has to answer beyond what it was asked to wait.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// What was heard, by node; none of a node that did not answer.
pub(super) type Heard = BTreeMap<NodeId, Vec<WorkloadStatus>>;

/// The other nodes that `workloads` are placed on.
pub(super) fn hosts<'a>(
    shared: &Shared,
    workloads: impl IntoIterator<Item = &'a WorkloadStatus>,
) -> BTreeSet<NodeId> {
    let components = workloads.into_iter().flat_map(|status| &status.components);
    let replicas = components.flat_map(|component| &component.replicas);
    let nodes = replicas.map(|replica| replica.node);
    nodes.filter(|node| *node != shared.node).collect()
}

/// What a node is asked about the replicas that are placed on it.
#[derive(Clone)]
pub(super) enum Question {
    /// All of them.
    All,
    /// Those of one workload; if `settled`, only once that generation is, or `wait` is over.
    One {
        name: Name,
        settled: Option<u64>,
        wait: Duration,
    },
}

impl Question {
    const fn wait(&self) -> Duration {
        match self {
            // Answered at once: a node that hangs must not hold up who only looks.
            Self::All | Self::One { settled: None, .. } => Duration::ZERO,
            Self::One { wait, .. } => *wait,
        }
    }

    async fn put(self, client: Client) -> Result<Vec<WorkloadStatus>, ClientError> {
        match self {
            Self::All => Ok(client.workloads_there().await?.workloads),
            Self::One {
                name,
                settled,
                wait,
            } => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                let there = client.workload_there(&name, settled, wait_ms).await?;
                Ok(vec![there])
            }
        }
    }
}

/// Asks nodes, all at once.
pub(super) async fn ask(shared: &Shared, nodes: BTreeSet<NodeId>, question: Question) -> Heard {
    let peers = shared.peers.get();
    let clients = nodes.into_iter().filter_map(|node| {
        let client = peers?.admin_of(&node)?;
        Some((node, client))
    });
    let within = question.wait() + ANSWER_TIME;
    let mut asked = JoinSet::new();
    for (node, client) in clients {
        let put = tokio::time::timeout(within, question.clone().put(client));
        asked.spawn(async move { (node, put.await) });
    }
    let mut heard = Heard::new();
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok((node, Ok(Ok(answer)))) => drop(heard.insert(node, answer)),
            Ok((node, Ok(Err(error)))) => {
                tracing::debug!(node = %node.short(), "its replicas are not known: {error}");
            }
            // Too slow, or the runtime is going away.
            Ok((_, Err(_))) | Err(_) => {}
        }
    }
    heard
}

/// Lines of a workload's log as they come from one node.
pub(super) type Lines = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

/// The logs of other nodes that a workload is placed on. A node that does not answer, or answers no
/// more, is left out.
pub(super) async fn logs(
    shared: &Shared,
    name: &Name,
    query: &LogQuery,
) -> Result<Vec<Lines>, Refused> {
    let placements = shared.state().view.placements_of(name);
    let placements = placements.map_err(Refused::internal)?;
    let nodes = placements.iter().map(|placed| placed.node);
    let nodes: BTreeSet<NodeId> = nodes.filter(|node| *node != shared.node).collect();
    let query = LogQuery {
        here: true,
        ..query.clone()
    };
    let mut asked = JoinSet::new();
    let peers = shared.peers.get();
    for client in nodes.iter().filter_map(|node| peers?.admin_of(node)) {
        let (name, query) = (name.clone(), query.clone());
        asked.spawn(async move {
            let answered = client.logs(&name, &query);
            let answered = tokio::time::timeout(ANSWER_TIME, answered).await;
            answered.ok().and_then(Result::ok)
        });
    }
    let mut heard: Vec<Lines> = Vec::new();
    while let Some(answered) = asked.join_next().await {
        let Some(lines) = answered.ok().flatten() else {
            continue;
        };
        let within = (!query.follow).then_some(ANSWER_TIME);
        heard.push(Box::pin(stream::unfold(
            lines,
            move |mut lines| async move {
                let next = lines.next();
                let line = match within {
                    Some(within) => tokio::time::timeout(within, next).await.ok()?,
                    None => next.await,
                };
                Some((line.ok().flatten()?, lines))
            },
        )));
    }
    Ok(heard)
}

/// Puts what was heard into `workload`, which knows the replicas that are here.
pub(super) fn complete(shared: &Shared, workload: &mut WorkloadStatus, heard: &Heard) {
    let name = workload.name.clone();
    for component in &mut workload.components {
        if component.exports.is_empty() {
            component.exports = exports(heard, &name, &component.name);
        }
        for replica in &mut component.replicas {
            if replica.node == shared.node {
                continue;
            }
            let said = heard.get(&replica.node);
            let said = said.and_then(|said| find(said, &name, &component.name, replica));
            match said {
                Some(said) => *replica = said.clone(),
                None => {
                    let reason = format!("node {} does not answer", replica.node.short());
                    replica.reason = Some(reason);
                }
            }
        }
    }
    status::conclude(shared, workload);
}

/// What can be invoked, from the first node that runs a replica.
fn exports(heard: &Heard, workload: &Name, component: &Name) -> Vec<String> {
    let said = heard.values().flatten();
    let ours = said.filter(|status| status.name == *workload);
    let components = ours.flat_map(|status| &status.components);
    let mut ours = components.filter(|status| status.name == *component);
    let found = ours.find(|status| !status.exports.is_empty());
    found
        .map(|status| status.exports.clone())
        .unwrap_or_default()
}

/// What a node said of a replica that the ledger places on it; what it says of others' is not
/// heard.
fn find<'a>(
    said: &'a [WorkloadStatus],
    workload: &Name,
    component: &Name,
    replica: &ReplicaStatus,
) -> Option<&'a ReplicaStatus> {
    let workload = said.iter().find(|status| status.name == *workload)?;
    let mut components = workload.components.iter();
    let component = components.find(|status| status.name == *component)?;
    let mut replicas = component.replicas.iter();
    replicas.find(|said| said.index == replica.index && said.node == replica.node)
}
