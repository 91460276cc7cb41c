//! A placed copy of a component: linked, tried, ready for calls, drained, stopped. Knows nothing
//! of where it was placed or why.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use types::{ByteSize, ComponentKind, ComponentSpec, Name};
use wasmtime::component::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre as Command02;
use wasmtime_wasi::p3::bindings::CommandPre as Command03;
use wasmtime_wasi_http::p2::bindings::ProxyPre as Http02;
use wasmtime_wasi_http::p3::bindings::ServicePre as Http03;

use crate::admission::Admission;
use crate::background::Background;
use crate::bounds::{
    BUDGETS_OPEN_MAX, DETERMINISTIC_FUEL, LEASED_CALLS_MAX, LINKS_OPEN_MAX, REGIONS_OPEN_MAX,
    TRIAL_TIME_MAX,
};
use crate::call::Call;
use crate::capability::messaging::{MessagingCorePre, granted_topics};
use crate::capability::{OutgoingPolicy, SocketPolicy, Stores, finishes_values};
use crate::checkpoint::CheckpointMark;
use crate::compile::Compiled;
use crate::consensus::Agreement;
use crate::deterministic::Determinism;
use crate::engine::Profile;
use crate::errors::{CallError, clipped};
use crate::gate::Gate;
use crate::host::{Guest, Host};
use crate::http_call::ServicePre;
use crate::imports;
use crate::inspect::Inspection;
use crate::invoke::Export;
use crate::kept::Kept;
use crate::lifecycle::{Functions, Lifecycle, StateError, millis};
use crate::log::Log;
use crate::memory::Leased;
use crate::observer::{CallKind, CallOutcome, Observer};
use crate::pool::Pool;
use crate::services::Services;
use crate::start_error::StartReplicaError;
use crate::ticker::Ticker;
use crate::volume::Stored;

pub use crate::host::Preopen;

/// After the grace of a drain, how long stopped guests may take to be gone.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// Which replica of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicaId {
    /// The workload.
    pub workload: Name,
    /// Its component.
    pub component: Name,
    /// Counted from 0.
    pub index: u16,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.workload, self.component, self.index)
    }
}

/// Everything that a replica needs to start.
pub struct ReplicaConfig {
    /// Which it is.
    pub id: ReplicaId,
    /// What was admitted.
    pub spec: ComponentSpec,
    /// Its code, compiled for [`Profile::of`] it.
    pub compiled: Arc<Compiled>,
    /// Directories that it sees.
    pub preopens: Vec<Preopen>,
    /// What the node does for its guests.
    pub services: Services,
    /// Who is told what happens in it.
    pub observer: Arc<dyn Observer>,
}

/// What became of the calls in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Ended by themselves.
    pub finished: usize,
    /// Stopped when the grace was over.
    pub aborted: usize,
}

/// How a component's own entry point is called.
pub(crate) enum Driver {
    Http(ServicePre),
    Command(CommandPre),
    Worker(MessagingCorePre<Host>),
    Library,
}

/// A command of either version of WASI.
pub(crate) enum CommandPre {
    P2(Command02<Host>),
    P3(Command03<Host>),
}

/// For a replica whose instances answer more than one request.
pub(crate) struct Reuse {
    pub(crate) kept: Arc<Kept>,
    /// Per instance.
    pub(crate) requests_max: NonZeroU32,
}

impl Reuse {
    fn of(spec: &ComponentSpec, pool: &Arc<Pool>, gate: &Arc<Gate>) -> Option<Self> {
        let requests_max = spec.requests_per_instance;
        let reused = spec.kind == ComponentKind::Http && requests_max.get() > 1;
        reused.then(|| Self {
            kept: Kept::new(pool, gate),
            requests_max,
        })
    }
}

pub(crate) struct Shared {
    pub(crate) id: ReplicaId,
    pub(crate) kind: ComponentKind,
    pub(crate) guest: Arc<Guest>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) pre: InstancePre<Host>,
    pub(crate) driver: Driver,
    pub(crate) exports: Vec<Arc<Export>>,
    /// Of a stateful library.
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) reuse: Option<Reuse>,
    log: Arc<Log>,
}

/// A placed copy of a component. Clones are the same replica.
#[derive(Clone)]
pub struct Replica {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

/// What the node gives to every replica.
pub(crate) struct Surroundings {
    pub(crate) pool: Arc<Pool>,
    pub(crate) memory_max: ByteSize,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) background: Arc<Background>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Replica {
    /// Links and tries; nothing is left behind if that fails.
    pub(crate) async fn start(
        config: ReplicaConfig,
        around: &Surroundings,
    ) -> Result<Self, StartReplicaError> {
        check(&config, around)?;
        let ReplicaConfig {
            id,
            mut spec,
            compiled,
            preopens,
            services,
            observer,
        } = config;
        if spec.deterministic_seed.is_some() && spec.limits.fuel.is_none() {
            spec.limits.fuel = NonZeroU64::new(DETERMINISTIC_FUEL);
        }
        let pre = compiled
            .engine
            .linker
            .instantiate_pre(&compiled.component)
            .map_err(|error| link_error(&error))?;
        let driver = driver(spec.kind, &compiled.inspection, &pre)?;
        let pool = Arc::clone(&around.pool);
        let functions = Functions::find(&compiled, spec.kind).map_err(StartReplicaError::State)?;
        let lifecycle = match functions {
            Some(functions) => {
                Some(residence(functions, &spec, &compiled, &services, around).await?)
            }
            None => None,
        };
        let slots = if lifecycle.is_some() {
            // Calls come one after another, and the instance they come to has its slots.
            spec.limits.requests_in_flight = 1;
            0
        } else {
            compiled.slots
        };
        let gate = Arc::<Gate>::default();
        let admission = Admission::new(&spec.limits, pool, slots, Arc::clone(&gate));
        let reuse = Reuse::of(&spec, &around.pool, &gate);
        let log = Arc::new(Log::new(Arc::clone(&observer), spec.limits.log_rate));
        let exports = Export::all(&compiled);
        let kind = spec.kind;
        let mut guest = guest(spec, &compiled, &services, (observer, &log), around);
        (guest.preopens, guest.gate) = (preopens, gate);
        let shared = Shared {
            id,
            kind,
            guest: Arc::new(guest),
            admission,
            pre,
            driver,
            exports,
            lifecycle,
            reuse,
            log,
        };
        let replica = Self {
            shared: Arc::new(shared),
        };
        // A command is tried by running it.
        if kind != ComponentKind::Command {
            replica.try_out().await.map_err(|error| match error {
                CallError::State(error) => StartReplicaError::State(*error),
                error => StartReplicaError::Instantiate(error),
            })?;
        }
        tracing::debug!(replica = %replica.shared.id, "started");
        Ok(replica)
    }

    async fn try_out(&self) -> Result<(), CallError> {
        let limit = millis(TRIAL_TIME_MAX);
        let place = self.shared.admission.trial_place(TRIAL_TIME_MAX).await?;
        if let Some(lifecycle) = &self.shared.lifecycle {
            return self.take_over(lifecycle, place).await;
        }
        let call = Call::begin(&self.shared.guest, CallKind::Trial, place).with_wall_limit(limit);
        let (store, result) = match call.store() {
            Ok(mut store) => {
                let instantiate = self.shared.pre.instantiate_async(&mut store);
                let result = call.drive(instantiate).await;
                (Some(store), result.map(|_| ()))
            }
            Err(error) => (None, Err(error)),
        };
        let outcome = match &result {
            Ok(()) => CallOutcome::Completed,
            Err(error) => CallOutcome::Failed(error.clone()),
        };
        call.end(store, outcome);
        result
    }

    /// Which replica this is.
    #[must_use]
    pub fn id(&self) -> &ReplicaId {
        &self.shared.id
    }

    /// How it is driven.
    #[must_use]
    pub fn kind(&self) -> ComponentKind {
        self.shared.kind
    }

    /// The latest checkpoint of a stateful library.
    #[must_use]
    pub fn checkpoint(&self) -> Option<CheckpointMark> {
        self.shared.lifecycle.as_ref().and_then(Lifecycle::mark)
    }

    /// Calls that run now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.admission.in_flight()
    }

    /// Output dropped so far because of `limits.log_rate`.
    #[must_use]
    pub fn log_bytes_dropped(&self) -> u64 {
        self.shared.log.dropped_bytes()
    }

    /// Halts it: guests that compute stop within a time slice, those that wait are not woken, new
    /// calls wait for `limits.queue_time`. Instances, their memory and their streams stay as they
    /// are; wall time stands still. Whether that is a change.
    pub fn pause(&self) -> bool {
        self.shared.guest.gate.close()
    }

    /// Lets it go on where it was. Whether that is a change.
    pub fn resume(&self) -> bool {
        self.shared.guest.gate.open()
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.guest.gate.is_closed()
    }

    /// Refuses new calls, gives those in flight `grace` to end, then stops them. Calls of a paused
    /// replica get no grace: they cannot end.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        let before = self.in_flight();
        self.shared.close();
        if !self.is_paused() {
            self.shared.admission.idle(grace).await;
        }
        let aborted = self.in_flight();
        self.stop();
        self.shared.admission.idle(STOP_TIME_MAX).await;
        DrainReport {
            finished: before.saturating_sub(aborted),
            aborted,
        }
    }

    /// Refuses new calls and stops those in flight, within a time slice where they compute.
    pub fn stop(&self) {
        self.shared.close();
        self.shared.guest.stop.cancel();
    }
}

impl Shared {
    /// Takes no more calls and keeps no more instances.
    fn close(&self) {
        self.admission.close();
        if let Some(reuse) = &self.reuse {
            reuse.kept.close();
        }
    }
}

fn check(config: &ReplicaConfig, around: &Surroundings) -> Result<(), StartReplicaError> {
    let ReplicaConfig {
        spec,
        compiled,
        preopens,
        ..
    } = config;
    spec.limits.check().map_err(StartReplicaError::Limits)?;
    let (limit, max) = (spec.limits.memory, around.memory_max);
    if limit > max {
        return Err(StartReplicaError::MemoryAbovePool { limit, max });
    }
    if compiled.slots > around.pool.size() {
        let (needed, available) = (compiled.slots, around.pool.size());
        return Err(StartReplicaError::PoolTooSmall { needed, available });
    }
    let needed = Profile::of(spec, &compiled.inspection);
    let found = compiled.profile;
    if found != needed {
        return Err(StartReplicaError::Profile { found, needed });
    }
    let found = compiled.inspection.kind;
    if found != spec.kind {
        return Err(StartReplicaError::Kind {
            admitted: spec.kind,
            found,
        });
    }
    imports::check(&compiled.inspection, spec).map_err(StartReplicaError::Imports)?;
    for Preopen {
        host_dir,
        guest_path,
        ..
    } in preopens
    {
        std::fs::read_dir(host_dir).map_err(|error| StartReplicaError::Preopen {
            host_dir: host_dir.clone(),
            guest_path: guest_path.clone(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// What all instances share. Sees no directory and has no gate of the replica yet.
fn guest(
    spec: ComponentSpec,
    compiled: &Compiled,
    services: &Services,
    (observer, log): (Arc<dyn Observer>, &Arc<Log>),
    around: &Surroundings,
) -> Guest {
    let secrets = services.secrets.iter();
    let secrets = secrets.map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    let settings: BTreeMap<String, String> = spec.config.into_iter().chain(secrets).collect();
    Guest {
        engine: compiled.engine.engine.clone(),
        name: spec.name,
        args: spec.args,
        env: spec.env,
        config: settings.clone().into_iter().collect(),
        settings,
        stores: Stores::new(services),
        finishes_values: finishes_values(&compiled.component),
        preopens: Vec::new(),
        limits: spec.limits,
        determinism: spec.deterministic_seed.map(|seed| Determinism {
            seed,
            artifact: compiled.artifact,
        }),
        outgoing: OutgoingPolicy::new(&spec.capabilities, Arc::clone(&around.tls)),
        sockets: SocketPolicy::new(&spec.capabilities),
        publish: granted_topics(&spec.capabilities),
        publisher: services.publisher.clone(),
        agreement: Agreement::new(services.consensus.clone()),
        leased: Leased::new("leased memory", services.memory.clone(), REGIONS_OPEN_MAX),
        processors: Leased::new("leased cpu", services.cpu.clone(), BUDGETS_OPEN_MAX),
        transport: Leased::new("leased transport", services.network.clone(), LINKS_OPEN_MAX),
        leased_calls: Arc::new(Semaphore::new(LEASED_CALLS_MAX)),
        stored: Stored::new(services.volumes.clone()),
        log: Arc::clone(log),
        observer,
        ticker: Arc::clone(&around.ticker),
        background: Arc::clone(&around.background),
        stop: CancellationToken::new(),
        gate: Arc::default(),
    }
}

/// What a stateful library needs beside its calls; waits for slots of the pool.
async fn residence(
    functions: Functions,
    spec: &ComponentSpec,
    compiled: &Compiled,
    services: &Services,
    around: &Surroundings,
) -> Result<Lifecycle, StartReplicaError> {
    let no_place = StartReplicaError::State(StateError::NoPlace);
    let state = services.state.clone().ok_or(no_place)?;
    let slots = around.pool.take(compiled.slots);
    let Ok(Ok(slots)) = tokio::time::timeout(TRIAL_TIME_MAX, slots).await else {
        let waited = millis(TRIAL_TIME_MAX);
        let retry_after = TRIAL_TIME_MAX;
        let error = CallError::QueueTimeout {
            waited,
            retry_after,
        };
        return Err(StartReplicaError::Instantiate(error));
    };
    let with = (spec.deterministic_seed.is_some(), spec.limits.wall_time);
    Ok(Lifecycle::new(functions, spec.artifact, state, with, slots))
}

fn driver(
    kind: ComponentKind,
    inspection: &Inspection,
    pre: &InstancePre<Host>,
) -> Result<Driver, StartReplicaError> {
    let has = |interface: &str| inspection.exports_interface(interface, "0.3.");
    match kind {
        ComponentKind::Http if has("wasi:http/handler") => {
            Http03::new(pre.clone()).map(|pre| Driver::Http(ServicePre::P3(pre)))
        }
        ComponentKind::Http => {
            Http02::new(pre.clone()).map(|pre| Driver::Http(ServicePre::P2(pre)))
        }
        ComponentKind::Command if has("wasi:cli/run") => {
            Command03::new(pre.clone()).map(|pre| Driver::Command(CommandPre::P3(pre)))
        }
        ComponentKind::Command => {
            Command02::new(pre.clone()).map(|pre| Driver::Command(CommandPre::P2(pre)))
        }
        ComponentKind::Worker => MessagingCorePre::new(pre.clone()).map(Driver::Worker),
        ComponentKind::Library => Ok(Driver::Library),
    }
    .map_err(|error| link_error(&error))
}

fn link_error(error: &wasmtime::Error) -> StartReplicaError {
    StartReplicaError::Link {
        reason: clipped(&format!("{error:#}")),
    }
}
