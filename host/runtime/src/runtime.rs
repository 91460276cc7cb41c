//! The runtime of a node: engines, pool, compilations, replicas. Knows nothing of what should run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use types::{ByteSize, ComponentSpec, Digest, Limits};

use crate::background::Background;
use crate::bounds::INSTANCES_MAX;
use crate::capability;
use crate::code_cache::{CodeCache, CompileStats};
use crate::compile::{CompileCache, CompileError, Compiled};
use crate::engine::{Profile, ProfiledEngine};
use crate::errors::clipped;
use crate::imports::{self, ImportRefusal};
use crate::inspect::{self, InspectError, Inspection};
use crate::pool::Pool;
use crate::progress::CompileProgress;
use crate::replica::{Replica, ReplicaConfig, Surroundings};
use crate::start_error::StartReplicaError;
use crate::ticker::Ticker;

/// What a node sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Slots of the pool, 1 to [`INSTANCES_MAX`]: instances that live at once, where one with
    /// several memories takes several. Costs address space only until used.
    pub instances_max: u32,
    /// Largest memory of one slot, 64 KiB to [`Limits::MEMORY_MAX`].
    pub memory_max: ByteSize,
    /// Compiled components that stay in memory beyond those that replicas hold.
    pub compiled_cache_entries: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            instances_max: 1_000,
            memory_max: Limits::MEMORY_MAX,
            compiled_cache_entries: 128,
        }
    }
}

/// A runtime that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartRuntimeError {
    /// The pool's size is out of range.
    #[error("{instances} pool slots: 1 to {INSTANCES_MAX} are possible (vm.max_map_count)")]
    Instances {
        /// What was asked for.
        instances: u32,
    },
    /// The slots' size is out of range.
    #[error("pool slots of {memory}: 64KiB to {} are possible", Limits::MEMORY_MAX)]
    Memory {
        /// What was asked for.
        memory: ByteSize,
    },
    /// The engine refused its configuration, usually for want of address space.
    #[error("the engine cannot be started: {reason}; try a smaller pool")]
    Engine {
        /// What it says.
        reason: String,
    },
    /// No thread for time slices.
    #[error("no thread for time slices: {0}")]
    Ticker(std::io::Error),
    /// No threads for calls that compute for long.
    #[error("no threads for long calls: {0}")]
    Background(std::io::Error),
    /// Outgoing https cannot be set up.
    #[error("outgoing https cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// Runs components on this machine. Clones are the same runtime.
///
/// ```
/// use hypermesh_runtime::{Runtime, RuntimeConfig, assemble_text};
///
/// let runtime = Runtime::new(RuntimeConfig { instances_max: 16, ..RuntimeConfig::default() })?;
/// let component = assemble_text(br#"(component (import "wasi:io/poll@0.2.0" (instance)))"#)?;
/// let inspection = runtime.inspect(&component)?;
/// assert_eq!(inspection.imports[0].interface(), "wasi:io/poll");
/// assert_eq!(inspection.kind, types::ComponentKind::Library);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    config: RuntimeConfig,
    fast: Arc<ProfiledEngine>,
    /// The other profiles, each started with the first component that needs it: an engine
    /// reserves a pool of its own, though the slots are counted over all of them.
    others: Mutex<HashMap<Profile, Arc<ProfiledEngine>>>,
    cache: CompileCache,
    around: Surroundings,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Reserves the pool and starts the thread of time slices, which sleeps until guests compute.
    ///
    /// # Errors
    /// [`StartRuntimeError`] names the setting that is out of range or what the system refused.
    pub fn new(config: RuntimeConfig) -> Result<Self, StartRuntimeError> {
        Self::start(config, None)
    }

    /// A runtime whose compiled code outlives it.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_code_cache(
        config: RuntimeConfig,
        code: CodeCache,
    ) -> Result<Self, StartRuntimeError> {
        Self::start(config, Some(code))
    }

    fn start(config: RuntimeConfig, code: Option<CodeCache>) -> Result<Self, StartRuntimeError> {
        let RuntimeConfig {
            instances_max: instances,
            memory_max: memory,
            ..
        } = config;
        if !(1..=INSTANCES_MAX).contains(&instances) {
            return Err(StartRuntimeError::Instances { instances });
        }
        if !(ByteSize::kib(64)..=Limits::MEMORY_MAX).contains(&memory) {
            return Err(StartRuntimeError::Memory { memory });
        }
        let fast = ProfiledEngine::new(&config, Profile::Fast).map_err(|error| {
            StartRuntimeError::Engine {
                reason: format!("{error:#}"),
            }
        })?;
        let ticker = Ticker::start().map_err(StartRuntimeError::Ticker)?;
        ticker.add(&fast.engine);
        let around = Surroundings {
            pool: Arc::new(Pool::new(instances)),
            memory_max: memory,
            ticker: Arc::new(ticker),
            background: Arc::new(Background::start().map_err(StartRuntimeError::Background)?),
            tls: capability::tls_config().map_err(StartRuntimeError::Tls)?,
        };
        let cache = CompileCache::new(config.compiled_cache_entries, code);
        let (fast, others) = (Arc::new(fast), Mutex::default());
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                fast,
                others,
                cache,
                around,
            }),
        })
    }

    /// Validates a binary component and says what it is, without compiling it.
    ///
    /// Takes time in proportion to the code in it: call it off the async threads for large ones.
    ///
    /// # Errors
    /// [`InspectError`] if it is no component that this node can look at.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, InspectError> {
        inspect::inspect(bytes)
    }

    /// How `bytes` must be compiled for `spec`. Looks at types only, since [`Self::compile`] validates
    /// the functions of what it has no code for: code from the cache needs no look at them at all.
    ///
    /// # Errors
    /// [`InspectError`] if it is no component that this node can look at.
    pub fn profile(&self, bytes: &[u8], spec: &ComponentSpec) -> Result<Profile, InspectError> {
        let inspection = inspect::inspect_known(bytes)?;
        Ok(Profile::of(spec, &inspection))
    }

    /// Whether everything that a component imports is offered and granted.
    ///
    /// # Errors
    /// Every import that is not, with what to do about it.
    pub fn check_imports(
        &self,
        inspection: &Inspection,
        spec: &ComponentSpec,
    ) -> Result<(), Vec<ImportRefusal>> {
        imports::check(inspection, spec)
    }

    /// Compiles `bytes`, or waits for whoever is at it, or returns what is still known: from memory,
    /// or from the code cache.
    ///
    /// Must be called within a tokio runtime; the work is done on its blocking threads.
    ///
    /// # Errors
    /// [`CompileError`], also if `bytes` are not what `artifact` names.
    pub async fn compile(
        &self,
        artifact: Digest,
        bytes: impl AsRef<[u8]> + Send + 'static,
        profile: Profile,
    ) -> Result<Arc<Compiled>, CompileError> {
        let engine = self.engine(profile)?;
        self.inner
            .cache
            .compile(artifact, bytes, engine, profile)
            .await
    }

    /// How far a compilation is; none if it is done, or nobody asked for it.
    #[must_use]
    pub fn compile_progress(&self, artifact: Digest) -> Option<CompileProgress> {
        self.inner.cache.progress(artifact)
    }

    /// What compiling has cost and the code cache has saved since the start.
    #[must_use]
    pub fn compile_stats(&self) -> CompileStats {
        self.inner.cache.stats()
    }

    /// Links a replica and, unless it is a command, tries whether it can be instantiated.
    ///
    /// # Errors
    /// [`StartReplicaError`]; nothing of the replica is left behind.
    pub async fn replica(&self, config: ReplicaConfig) -> Result<Replica, StartReplicaError> {
        Replica::start(config, &self.inner.around).await
    }

    /// Pool slots that are free now, of [`RuntimeConfig::instances_max`]. Instances that are kept for
    /// a next request hold theirs until somebody needs them.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.inner.around.pool.free()
    }

    fn engine(&self, profile: Profile) -> Result<Arc<ProfiledEngine>, CompileError> {
        if profile == Profile::Fast {
            return Ok(Arc::clone(&self.inner.fast));
        }
        let mut others = self
            .inner
            .others
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = others.get(&profile) {
            return Ok(Arc::clone(engine));
        }
        let engine = ProfiledEngine::new(&self.inner.config, profile).map_err(|error| {
            CompileError::Engine {
                reason: clipped(&format!("{error:#}")),
            }
        })?;
        self.inner.around.ticker.add(&engine.engine);
        let engine = Arc::new(engine);
        others.insert(profile, Arc::clone(&engine));
        Ok(engine)
    }
}
