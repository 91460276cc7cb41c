//! What all tasks of a node look at. Each field has one writer; locks are held for moments only
//! and never across an await.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use consensus::Ledger;
use ledger::{Genesis, Membership, View};
use monitor::Metrics;
use orchestrator::{Reconciler, RouteTable};
use runtime::Runtime;
use storage::Artifacts;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use types::{FabricId, HostPattern, NodeId};

use crate::bus::Bus;
use crate::checkpoints::States;
use crate::executions::Executions;
use crate::history::History;
use crate::ingress_tls::Shown;
use crate::logbook::Logbooks;
use crate::memory::NodeMemory;
use crate::mesh::NodeMesh;
use crate::peers::Peers;
use crate::replicas::Replicas;
use crate::secrets::Secrets;
use crate::signer::Signer;
use crate::stores::GuestStores;

/// The node as its tasks see it.
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) fabric: FabricId,
    pub(crate) genesis: Genesis,
    pub(crate) signer: Signer,
    pub(crate) started: Instant,
    pub(crate) data_dir: PathBuf,
    pub(crate) guests: PathBuf,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    /// What handshakes of HTTPS are shown, if it is served.
    pub(crate) shown: Option<Arc<Shown>>,
    pub(crate) ledger: Ledger,
    pub(crate) runtime: Runtime,
    /// Pool slots of the runtime.
    pub(crate) instances_max: u32,
    pub(crate) artifacts: Artifacts,
    pub(crate) stores: Arc<GuestStores>,
    pub(crate) secrets: Secrets,
    pub(crate) logs: Logbooks,
    pub(crate) metrics: Metrics,
    pub(crate) replicas: Replicas,
    pub(crate) bus: Arc<Bus>,
    pub(crate) states: States,
    pub(crate) executions: Executions,
    /// What is known of replicas of other nodes.
    pub(crate) mesh: NodeMesh,
    /// Whether this node may run singletons; written by the witness, heeded by the follower.
    pub(crate) runs_singletons: watch::Sender<bool>,
    /// Regions of leased memory.
    pub(crate) memory: NodeMemory,
    /// Where this node dials for leases of others.
    pub(crate) lease_dials: Vec<HostPattern>,
    /// Other nodes; set once at the start, if this node speaks to any.
    pub(crate) peers: OnceLock<Arc<Peers>>,
    /// Written by the follower.
    pub(crate) state: RwLock<FollowedState>,
    /// Written by the follower.
    pub(crate) history: History,
    /// Written by the follower.
    pub(crate) reconciler: Mutex<Reconciler>,
    /// Grows with every change of the state or of a replica.
    pub(crate) revision: watch::Sender<u64>,
    /// Cancelled when the node begins to stop: ends what would wait for ever.
    pub(crate) stopping: CancellationToken,
    /// Why the node has to end, once it has to.
    pub(crate) fatal: watch::Sender<Option<String>>,
}

/// Finalised state and what is derived from it.
pub(crate) struct FollowedState {
    pub(crate) view: View,
    pub(crate) routes: Arc<RouteTable>,
}

/// Monotonic milliseconds since `started`.
pub(crate) fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, FollowedState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node belongs to its fabric, as far as it has followed the ledger. State that
    /// cannot be read ends the node elsewhere.
    pub(crate) fn is_member(&self) -> bool {
        let member = self.state().view.member(&self.node);
        member.is_ok_and(|member| {
            member.is_some_and(|member| member.membership == Membership::Member)
        })
    }

    pub(crate) fn reconciler(&self) -> MutexGuard<'_, Reconciler> {
        self.reconciler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Monotonic milliseconds since the start, for the reconciler.
    pub(crate) fn now_ms(&self) -> u64 {
        elapsed_ms(self.started)
    }

    pub(crate) fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Asks the node to end. The first reason stays.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!("{reason}");
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            fatal.get_or_insert(reason);
            first
        });
    }
}
