//! A running node: started part by part, stopped in the reverse order.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use consensus::{Finalized, Snapshot};
use ledger::{CertificateFact, Membership, View};
use monitor::Metrics;
use orchestrator::Reconciler;
use runtime::{Runtime, RuntimeConfig};
use storage::Stores;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use trust::SecretKey;
use types::{FabricId, NodeId};

use crate::api;
use crate::artifact_room::artifact_store;
use crate::checkpoints::States;
use crate::compiled::code_cache;
use crate::config::Config;
use crate::data_dir::{DataDir, Identity};
use crate::duties::begin_duties;
use crate::error::StartNodeError;
use crate::executions::Executions;
use crate::follower::{Follower, all_routes};
use crate::founding::Founding;
use crate::history::History;
use crate::listeners::Listeners;
use crate::logbook::Logbooks;
use crate::machine::Machine;
use crate::memory::NodeMemory;
use crate::mesh::NodeMesh;
use crate::peers::{Entrance, Opened, Opening, Peers, bootstrap, join};
use crate::replicas::Replicas;
use crate::secrets::Secrets;
use crate::shared::{FollowedState, Shared, elapsed_ms};
use crate::signer::Signer;
use crate::speech::Speech;
use crate::stores::GuestStores;
use crate::witness::is_alone;

/// How long the first block of a fabric may take before a start counts as failed.
const FIRST_BLOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two notices that the first block is still waited for.
const AGREEMENT_NOTICE: Duration = Duration::from_secs(5);

/// How long peers may take to hear that this node stops.
const FAREWELL_TIME: Duration = Duration::from_millis(500);

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    admin_socket: PathBuf,
    stop_ingress: CancellationToken,
    stop_follower: CancellationToken,
    stop_api: CancellationToken,
    stop_peers: CancellationToken,
    ingress: JoinSet<()>,
    follower: JoinHandle<()>,
    api: JoinHandle<()>,
    /// Dropped last: another node may have the directory only when this one is done.
    _data_dir: DataDir,
}

impl Node {
    /// Starts a node: of the fabric that its directory belongs to, else of one that it founds. When
    /// this returns, the ledger runs, everything that it places here is being started, and the
    /// admin socket answers.
    ///
    /// # Errors
    /// [`StartNodeError`]: one sentence that says what, where and what to do.
    pub async fn start(config: Config) -> Result<Self, StartNodeError> {
        Self::begin(config, None, Speech::HONEST).await
    }

    /// Joins a fabric through `entrance` and starts as a member of it. Does what [`Node::start`] does if
    /// the node is a member already, so that a join that was cut off can be repeated.
    ///
    /// # Errors
    /// [`StartNodeError`]; the directory can be used for another attempt.
    pub async fn join(config: Config, entrance: &Entrance) -> Result<Self, StartNodeError> {
        Self::begin(config, Some(entrance), Speech::HONEST).await
    }

    /// As [`Node::start`], a validator that tells its peers different things. For tests of the others.
    ///
    /// # Errors
    /// As [`Node::start`].
    #[cfg(feature = "equivocator")]
    pub async fn start_equivocating(config: Config) -> Result<Self, StartNodeError> {
        let speech = Speech {
            between: crate::equivocator::equivocating,
            ..Speech::HONEST
        };
        Self::begin(config, None, speech).await
    }

    /// As [`Node::start`], but what it states of the orders that it runs is a lie.
    ///
    /// # Errors
    /// As [`Node::start`].
    #[cfg(feature = "equivocator")]
    pub async fn start_falsifying(config: Config, lie: crate::Lie) -> Result<Self, StartNodeError> {
        let stated = lie.stated();
        let speech = Speech {
            stated,
            ..Speech::HONEST
        };
        Self::begin(config, None, speech).await
    }

    async fn begin(
        config: Config,
        entrance: Option<&Entrance>,
        speech: Speech,
    ) -> Result<Self, StartNodeError> {
        let started = Instant::now();
        let data_dir = DataDir::open(&config.data_dir)?;
        let listeners = Listeners::bind(&config, &data_dir).await?;
        let (identity, opened) = fabric_of(&data_dir, &config, entrance).await?;
        let (links, carrier) = consensus::links();
        let carrier = (speech.between)(&identity, carrier);
        let artifacts = artifact_store(&data_dir, config.storage_quota)?;
        let guests = data_dir.guests();
        // Files of replicas that a killed node left.
        let _ = std::fs::remove_dir_all(&guests);
        let (runtime, instances_max) = runtime(&config, &data_dir)?;
        let links = opened.is_some().then_some(links);
        let consensus = consensus_config(&config, &data_dir, &identity, links);
        let (ledger, snapshot, blocks) = consensus::start(consensus).await?;
        let id = identity.node.public();
        let state = followed(snapshot);
        let memory = NodeMemory::open(&data_dir, &state.view, elapsed_ms(started))?;
        let runs_singletons = is_alone(&state.view, &identity.genesis, id);
        let shared = Arc::new(Shared {
            node: id,
            signer: Signer::new(identity.node),
            fabric: identity.genesis.fabric_id(),
            genesis: identity.genesis,
            started,
            data_dir: data_dir.path().to_owned(),
            guests,
            http: listeners.http(),
            https: listeners.https(),
            shown: listeners.shown(),
            ledger,
            runtime,
            instances_max,
            artifacts,
            stores: Arc::new(GuestStores::new(Stores::open(&data_dir.stores())?)),
            secrets: Secrets::open(data_dir.secrets())?,
            logs: Logbooks::default(),
            metrics: Metrics::default(),
            replicas: Replicas::default(),
            bus: Arc::default(),
            states: States::new(data_dir.checkpoints()),
            executions: Executions::new(speech.stated),
            mesh: NodeMesh::default(),
            runs_singletons: watch::Sender::new(runs_singletons),
            lease_dials: config.dial_for_leases,
            peers: OnceLock::new(),
            memory,
            state: RwLock::new(state),
            history: History::default(),
            reconciler: Mutex::new(Reconciler::new(id)),
            revision: watch::Sender::new(0),
            stopping: CancellationToken::new(),
            fatal: watch::Sender::new(None),
        });
        retain_deployed(&shared)?;
        let stop_peers = CancellationToken::new();
        let certificate = opened.as_ref().map(Opened::fact);
        if let Some(opened) = opened {
            let peers = Peers::start(opened, &shared, carrier, &stop_peers);
            // Set here only.
            let _ = shared.peers.set(peers);
        }
        let node = Self::launch(shared, data_dir, listeners, blocks, stop_peers).await?;
        node.if_member(entrance.zip(certificate)).await
    }

    /// The node, unless it is no member of its fabric; then it is stopped.
    async fn if_member(
        self,
        joining: Option<(&Entrance, CertificateFact)>,
    ) -> Result<Self, StartNodeError> {
        match self.become_member(joining).await {
            Ok(()) => Ok(self),
            Err(error) => {
                self.stop(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// Sees to it that this node is a member, with a way in and a first certificate if it has them.
    async fn become_member(
        &self,
        joining: Option<(&Entrance, CertificateFact)>,
    ) -> Result<(), StartNodeError> {
        let shared = &self.shared;
        if let (Some((entrance, certificate)), Some(peers)) = (joining, shared.peers.get()) {
            join(shared, peers, entrance, certificate).await?;
        }
        let member = shared.state().view.member(&shared.node);
        // State that cannot be read ends the node by itself.
        let Ok(member) = member else { return Ok(()) };
        let reason = match member.map(|member| member.membership) {
            Some(Membership::Member) => return Ok(()),
            Some(Membership::Evicted { reason, .. }) => format!(": it was evicted ({reason})"),
            Some(Membership::Left { .. }) => ": it left".to_owned(),
            None => String::new(),
        };
        let fabric = shared.fabric;
        Err(StartNodeError::NotAMember { fabric, reason })
    }

    async fn launch(
        shared: Arc<Shared>,
        data_dir: DataDir,
        listeners: Listeners,
        blocks: mpsc::Receiver<Finalized>,
        stop_peers: CancellationToken,
    ) -> Result<Self, StartNodeError> {
        let admin_socket = data_dir.admin_socket();
        let socket = bind_admin_socket(&admin_socket)?;
        let [stop_ingress, stop_follower, stop_api] =
            std::array::from_fn(|_| CancellationToken::new());
        let follower = Follower::new(Arc::clone(&shared), blocks, stop_follower.clone());
        let follower = tokio::spawn(follower.follow());
        begin_duties(&shared, &stop_peers);
        let status = shared.ledger.status();
        if status.role == consensus::Role::Validator {
            match status.validators {
                1 => first_block(&shared).await,
                _ => first_agreement(&shared).await,
            }
        }
        let api = tokio::spawn(api::serve(Arc::clone(&shared), socket, stop_api.clone()));
        let ingress = listeners.serve(&shared, &stop_ingress);
        Ok(Self {
            shared,
            admin_socket,
            stop_ingress,
            stop_follower,
            stop_api,
            stop_peers,
            ingress,
            follower,
            api,
            _data_dir: data_dir,
        })
    }

    /// Where HTTP for workloads is served, if it is.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.shared.http
    }

    /// Where HTTPS for workloads is served, if it is.
    #[must_use]
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.shared.https
    }

    /// Where other nodes reach this one, if it listens for them.
    #[must_use]
    pub fn stoq_address(&self) -> Option<SocketAddr> {
        self.shared.peers.get().and_then(|peers| peers.listening())
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.node
    }

    /// The fabric that it is part of.
    #[must_use]
    pub fn fabric(&self) -> FabricId {
        self.shared.fabric
    }

    /// Waits until the node has to end, and says why. Pending as long as all is well.
    pub async fn failed(&self) -> String {
        let mut fatal = self.shared.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives in `shared`, which `self` holds.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops: no new requests, then calls in flight end, then instances, then the ledger.
    /// After `grace` what is left is cut off.
    pub async fn stop(self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        self.shared.stopping.cancel();
        self.stop_ingress.cancel();
        self.stop_follower.cancel();
        self.stop_api.cancel();
        let ingress = async {
            let mut tasks = self.ingress;
            let ended = async { while tasks.join_next().await.is_some() {} };
            // Too late: dropping the tasks ends them.
            let _ = tokio::time::timeout_at(deadline, ended).await;
        };
        self.shared.bus.close();
        let instances = tokio::time::timeout_at(deadline, self.follower);
        let api = tokio::time::timeout_at(deadline, self.api);
        let _ = tokio::join!(ingress, instances, api);
        self.stop_peers.cancel();
        if let Some(peers) = self.shared.peers.get() {
            // Peers that cannot be told find out by themselves.
            let _ = tokio::time::timeout(FAREWELL_TIME, peers.close()).await;
        }
        if let Err(error) = self.shared.ledger.shutdown().await {
            tracing::warn!("{error}");
        }
        // Gone already, or the next start replaces it.
        let _ = std::fs::remove_file(&self.admin_socket);
    }
}

/// The fabric that a directory belongs to, or comes to belong to now, and the way to other nodes:
/// whoever has no vote needs one, whoever votes has one if it is told to listen.
async fn fabric_of(
    data_dir: &DataDir,
    config: &Config,
    entrance: Option<&Entrance>,
) -> Result<(Identity, Option<Opened>), StartNodeError> {
    let open = |identity: &SecretKey, fabric: FabricId| {
        Opened::open(Opening {
            fabric,
            identity,
            listen: config.stoq,
            advertise: &config.advertise,
            mdns: config.mdns,
            certificate_path: data_dir.certificate(),
            book_path: data_dir.peers(),
        })
    };
    let identity = match (data_dir.identity()?, entrance) {
        (None, Some(entrance)) => {
            let node = data_dir.joining_key()?;
            let mut opened = open(&node, entrance.fabric())?;
            let genesis = bootstrap(&mut opened, entrance).await?;
            data_dir.keep_genesis(&genesis)?;
            return Ok((Identity { node, genesis }, Some(opened)));
        }
        (None, None) => match &config.founding {
            Some(founding) => data_dir.found(founding.genesis())?,
            None => data_dir.found_fabric()?,
        },
        (Some(identity), _) => identity,
    };
    let fabric = identity.genesis.fabric_id();
    let founding = config.founding.as_ref();
    if let Some(wanted) = entrance
        .map(Entrance::fabric)
        .or(founding.map(Founding::fabric))
        .filter(|wanted| *wanted != fabric)
    {
        return Err(StartNodeError::OtherFabric {
            path: data_dir.path().to_owned(),
            found: fabric,
            wanted,
        });
    }
    // The only validator needs nobody else.
    if identity.genesis.validators() == [identity.node.public()] && config.stoq.is_none() {
        return Ok((identity, None));
    }
    let mut opened = open(&identity.node, fabric)?;
    if let Some(founding) = founding {
        opened.meet(&founding.others(&identity.node.public()));
    }
    if let Some(entrance) = entrance.filter(|entrance| !entrance.addresses().is_empty()) {
        opened.enter(entrance.addresses());
    }
    Ok((identity, Some(opened)))
}

fn consensus_config(
    config: &Config,
    data_dir: &DataDir,
    identity: &Identity,
    links: Option<consensus::Links>,
) -> consensus::Config {
    let sync_beyond_blocks = config.sync_beyond_blocks;
    consensus::Config {
        data_dir: data_dir.consensus(),
        secret_key: consensus::SecretKey::from_seed(&identity.node.expose_seed()),
        genesis: identity.genesis.clone(),
        rules: ledger::KnownRules::RELEASED,
        heartbeat: consensus::Config::HEARTBEAT,
        sync_beyond_blocks: sync_beyond_blocks.unwrap_or(consensus::Config::SYNC_BEYOND_BLOCKS),
        retention: consensus::Retention::USUAL,
        links,
    }
}

/// The runtime, and how many instances it can hold.
fn runtime(config: &Config, data_dir: &DataDir) -> Result<(Runtime, u32), StartNodeError> {
    let machine = Machine::look();
    let instances_max = config.instances.unwrap_or_else(|| machine.instances());
    machine.check(instances_max)?;
    let code = code_cache(&data_dir.compiled(), &data_dir.compiled_secret()?)?;
    let config = RuntimeConfig {
        instances_max,
        ..RuntimeConfig::default()
    };
    Ok((Runtime::with_code_cache(config, code)?, instances_max))
}

/// A node that was killed may have left data of workloads that are gone.
fn retain_deployed(shared: &Shared) -> Result<(), StartNodeError> {
    // State that is not understood ends the node later, and must not cost any data here.
    if let Ok(deployments) = shared.state().view.deployments() {
        let deployed = deployments.iter().map(|entry| entry.spec.name.clone());
        shared.stores.retain_on_disk(&deployed.collect())?;
    }
    Ok(())
}

fn followed(snapshot: Snapshot) -> FollowedState {
    let view = View::new(snapshot.height, snapshot.time_ms, snapshot.entries);
    // State that is not understood ends the node as soon as the follower looks at it.
    let routes = Arc::new(all_routes(&view).unwrap_or_default());
    FollowedState { view, routes }
}

/// A fresh fabric has no operators until its first block: a client that came earlier would be
/// told that it is a stranger.
async fn first_block(shared: &Shared) {
    let mut revision = shared.revision.subscribe();
    let begun = revision.wait_for(|_| shared.state().view.height() > 0);
    if tokio::time::timeout(FIRST_BLOCK_TIMEOUT, begun)
        .await
        .is_err()
    {
        shared.fail(format!("no block became final in {FIRST_BLOCK_TIMEOUT:?}"));
    }
}

/// As [`first_block`] for a fabric of several validators, whose machines start when they start.
async fn first_agreement(shared: &Shared) {
    let mut revision = shared.revision.subscribe();
    loop {
        let begun = revision.wait_for(|_| shared.state().view.height() > 0);
        if tokio::time::timeout(AGREEMENT_NOTICE, begun).await.is_ok() {
            return;
        }
        let status = shared.ledger.status();
        tracing::info!(
            "no block is final yet: {} of {} other validators are connected",
            status.peers,
            status.validators.saturating_sub(1)
        );
    }
}

/// Only the user who runs the node may speak to it: the mode is set before anyone can connect,
/// because the directory lock makes this process the only one that uses the path.
fn bind_admin_socket(path: &Path) -> Result<UnixListener, StartNodeError> {
    let failed = |action| {
        move |source| StartNodeError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("remove")(error));
        }
        _ => {}
    }
    let unfinished = path.with_extension("new");
    let _ = std::fs::remove_file(&unfinished);
    let socket = UnixListener::bind(&unfinished).map_err(failed("listen on"))?;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&unfinished, private).map_err(failed("restrict"))?;
    std::fs::rename(&unfinished, path).map_err(failed("rename"))?;
    Ok(socket)
}
