//! Requests for components whose replicas are on other nodes: which node is asked, again or not, and
//! what is known of how that went. Knows no TCP and no stream; carrying is `peers::mesh`'s.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use ledger::DecodeRecordError;
use orchestrator::{Mesh, Target};
use types::NodeId;

use crate::peers::{CarryError, NoReplica};
use crate::shared::Shared;

/// Nodes that are asked for one request: beyond that, waiting is better than trying.
const TRIES_MAX: usize = 3;
/// What a request may take to its response beyond the limits of its component: the way there and back.
const WAY_TIME: Duration = Duration::from_secs(5);

/// What this node remembers of others as places of replicas.
#[derive(Debug, Default)]
pub(crate) struct NodeMesh {
    mesh: Mutex<Mesh>,
    /// Chance that need not be secret.
    draws: AtomicU64,
}

/// A request that no other node answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// Nothing of it is placed anywhere else.
    #[error("it has no replica")]
    NotPlaced,
    /// No node with a replica can be asked now.
    #[error("no node that has a replica of it can be reached now")]
    Unreachable,
    /// The last one that was asked did not answer.
    #[error("node {} did not answer: {error}", .node.short())]
    Carry {
        /// Which one.
        node: NodeId,
        /// Why.
        error: CarryError,
    },
    /// The nodes that have it do not run it at the moment.
    #[error("it does not run")]
    NotRunning,
    /// The ledger's state cannot be read; that ends the node elsewhere.
    #[error(transparent)]
    State(#[from] DecodeRecordError),
}

/// A call under way. Dropped, it has ended well, unless it was said to have failed: whoever asked went
/// away.
pub(crate) struct Way {
    shared: Arc<Shared>,
    target: Target,
    node: NodeId,
    well: bool,
}

impl Way {
    /// The next node to ask for a replica of `target`: one of `nodes` that can be reached and was not
    /// tried, if any is left.
    pub(crate) fn choose(
        shared: &Arc<Shared>,
        target: &Target,
        nodes: &BTreeSet<NodeId>,
        tried: &BTreeSet<NodeId>,
    ) -> Option<Self> {
        if tried.len() >= TRIES_MAX {
            return None;
        }
        let peers = shared.peers.get()?;
        let open = nodes.difference(tried).filter(|node| peers.reaches(node));
        let open: Vec<NodeId> = open.copied().collect();
        let (now_ms, chance) = (shared.now_ms(), shared.mesh.chance());
        let node = shared.mesh.mesh().choose(now_ms, target, &open, chance)?;
        Some(Self {
            shared: Arc::clone(shared),
            target: target.clone(),
            node,
            well: true,
        })
    }

    /// Whom it goes to.
    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// The node did not answer it.
    pub(crate) const fn failed(&mut self) {
        self.well = false;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let now_ms = self.shared.now_ms();
        let mut mesh = self.shared.mesh.mesh();
        mesh.ended(now_ms, &self.target, &self.node, self.well);
    }
}

impl NodeMesh {
    fn mesh(&self) -> MutexGuard<'_, Mesh> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Weyl's sequence: every draw is another, and neighbours are far apart.
    fn chance(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let drawn = self.draws.fetch_add(STEP, Ordering::Relaxed);
        drawn ^ (drawn >> 29)
    }
}

/// The body of an answer that comes from another node.
pub(crate) struct Forwarded {
    body: Incoming,
    way: Option<Way>,
}

impl Body for Forwarded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => {
                if let Some(mut way) = self.way.take() {
                    way.failed();
                }
            }
            Poll::Ready(None) => self.way = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Has another node answer a request, one with a replica of `target`.
///
/// # Errors
/// [`ForwardError`].
pub(crate) async fn forward(
    shared: &Arc<Shared>,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Forwarded>, ForwardError> {
    let nodes = elsewhere(shared, target)?;
    if nodes.is_empty() {
        return Err(ForwardError::NotPlaced);
    }
    let within = patience(shared, target)?;
    let peers = shared.peers.get().ok_or(ForwardError::Unreachable)?;
    shared.mesh.mesh().began();
    let spare = spare(&request);
    let mut next = Some(request.map(Either::Left));
    let mut tried = BTreeSet::new();
    let mut failed = ForwardError::Unreachable;
    while let Some(request) = next.take() {
        let Some(mut way) = Way::choose(shared, target, &nodes, &tried) else {
            break;
        };
        let node = way.node();
        tried.insert(node);
        let carried = peers.carry(&node, target, request, within).await;
        match carried {
            Ok(Ok(response)) => {
                let with_way = |body| Forwarded {
                    body,
                    way: Some(way),
                };
                return Ok(response.map(with_way));
            }
            Ok(Err(NoReplica)) => {
                way.failed();
                failed = ForwardError::NotRunning;
                next = again(shared, &spare);
            }
            Err((error, unsent)) => {
                way.failed();
                // What was not sent costs nobody anything.
                next = unsent.map_or_else(|| again(shared, &spare), |unsent| Some(*unsent));
                failed = ForwardError::Carry { node, error };
            }
        }
    }
    Err(failed)
}

/// The request once more, if it may be made twice and the budget allows it.
fn again<L>(shared: &Shared, spare: &Option<Request<()>>) -> Option<Request<Either<L, NoBody>>> {
    let spare = spare.as_ref()?;
    let takes = shared.mesh.mesh().takes_retry();
    takes.then(|| spare.clone().map(|()| Either::Right(NoBody::new())))
}

/// A body that is empty.
pub(crate) type NoBody = http_body_util::Empty<Bytes>;

/// A copy of a request that can be made twice: it changes nothing (RFC 9110, section 9.2.1) and has no
/// body.
fn spare(request: &Request<Incoming>) -> Option<Request<()>> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// The other nodes that a component is placed on, each once.
pub(crate) fn elsewhere(
    shared: &Shared,
    target: &Target,
) -> Result<BTreeSet<NodeId>, DecodeRecordError> {
    let state = shared.state();
    let placements = state.view.placements_of(&target.workload)?.into_iter();
    let ours = placements.filter(|placed| placed.component == target.component);
    let nodes = ours.map(|placed| placed.node);
    Ok(nodes.filter(|node| *node != shared.node).collect())
}

/// How long a request may take to its response.
pub(crate) fn patience(shared: &Shared, target: &Target) -> Result<Duration, DecodeRecordError> {
    let deployment = shared.state().view.deployment(&target.workload)?;
    let components = deployment.iter().flat_map(|it| &it.spec.components);
    let mut ours = components.filter(|spec| spec.name == target.component);
    let limits = ours.next().map(|spec| &spec.limits);
    Ok(limits.map_or(WAY_TIME, |limits| {
        limits.wall_time.duration() + limits.queue_time.duration() + WAY_TIME
    }))
}
