//! Compiles components, each once, off the threads that run guests, and keeps the latest ones: in
//! memory, and where there is a [`CodeCache`] beyond the process. Knows no replica.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use types::Digest;
use wasmtime::component::Component;

use crate::bounds::{COMPILES_AT_ONCE_MAX, DEBUG_INFO_BYTES_MAX, TABLES_PER_SLOT};
use crate::code_cache::{CodeCache, CodeId, CompileStats, Counters};
use crate::debug_info;
use crate::engine::{Profile, ProfiledEngine};
use crate::errors::clipped;
use crate::inspect::{InspectError, Inspection, inspect, inspect_known};
use crate::progress::{CompilePhase, CompileProgress, Progress};

/// A component in machine code, for one profile.
pub struct Compiled {
    pub(crate) artifact: Digest,
    pub(crate) profile: Profile,
    pub(crate) engine: Arc<ProfiledEngine>,
    pub(crate) component: Component,
    pub(crate) inspection: Inspection,
    /// Pool slots that one instance takes.
    pub(crate) slots: u32,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("artifact", &self.artifact)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Compiled {
    /// The digest of its binary.
    #[must_use]
    pub const fn artifact(&self) -> Digest {
        self.artifact
    }

    /// How it was compiled.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// What it says about itself.
    #[must_use]
    pub const fn inspection(&self) -> &Inspection {
        &self.inspection
    }
}

/// A component that cannot be compiled. Shared by all who waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not what the digest names.
    #[error("the bytes have the digest {found}, not {wanted}: fetch the artifact again")]
    DigestMismatch {
        /// The artifact asked for.
        wanted: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
    /// Not a component that this node can look at.
    #[error("{0}")]
    Inspect(InspectError),
    /// Modules or components are imported, so what an instance needs cannot be known.
    #[error("the component imports core modules or components: compose it with them first")]
    ImportsModules,
    /// The compiler refused it, or it has more memories, tables or modules than a slot can hold.
    #[error("cannot be compiled: {reason}")]
    Compiler {
        /// What it says.
        reason: String,
    },
    /// The engine for this profile cannot be started.
    #[error("the engine cannot be started: {reason}")]
    Engine {
        /// What it says.
        reason: String,
    },
}

type Key = (Digest, Profile);
type Outcome = Result<Arc<Compiled>, CompileError>;

/// Results and running compilations, the least recently used dropped first.
pub(crate) struct CompileCache {
    entries: Mutex<HashMap<Key, Entry>>,
    entries_max: usize,
    uses: AtomicU64,
    turns: Arc<Semaphore>,
    code: Option<Arc<CodeCache>>,
    counters: Arc<Counters>,
}

struct Entry {
    outcome: Shared<BoxFuture<'static, Outcome>>,
    progress: Arc<Progress>,
    used_at: u64,
}

impl CompileCache {
    pub(crate) fn new(entries_max: usize, code: Option<CodeCache>) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            entries_max: entries_max.max(1),
            uses: AtomicU64::new(0),
            turns: Arc::new(Semaphore::new(COMPILES_AT_ONCE_MAX)),
            code: code.map(Arc::new),
            counters: Arc::default(),
        }
    }

    /// How far a component is; none if it is ready, or nobody asked for it.
    /// For whatever profile it is.
    pub(crate) fn progress(&self, artifact: Digest) -> Option<CompileProgress> {
        let entries = self.entries();
        let mut of_artifact = entries.iter().filter(|((of, _), _)| *of == artifact);
        of_artifact.find_map(|(_, entry)| entry.progress.read())
    }

    pub(crate) fn stats(&self) -> CompileStats {
        self.counters.read()
    }

    /// Compiles unless that was done or is being done. A compilation goes on when its callers
    /// leave: the next one finds it.
    pub(crate) async fn compile(
        &self,
        artifact: Digest,
        bytes: impl AsRef<[u8]> + Send + 'static,
        engine: Arc<ProfiledEngine>,
        profile: Profile,
    ) -> Outcome {
        let key = (artifact, profile);
        let used_at = self.uses.fetch_add(1, Ordering::Relaxed);
        let outcome = {
            let mut entries = self.entries();
            let entry = entries.entry(key).or_insert_with(|| {
                let job = Job {
                    artifact,
                    profile,
                    engine,
                    code: self.code.clone(),
                    counters: Arc::clone(&self.counters),
                    progress: Arc::new(Progress::new()),
                };
                let progress = Arc::clone(&job.progress);
                let outcome = begin(Arc::clone(&self.turns), job, bytes);
                Entry {
                    outcome,
                    progress,
                    used_at,
                }
            });
            entry.used_at = used_at;
            let outcome = entry.outcome.clone();
            self.shrink(&mut entries);
            outcome
        };
        let result = outcome.await;
        if result.is_err() {
            self.entries().remove(&key);
        }
        result
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shrink(&self, entries: &mut HashMap<Key, Entry>) {
        while entries.len() > self.entries_max {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used_at);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            entries.remove(&key);
        }
    }
}

/// One component to make ready.
struct Job {
    artifact: Digest,
    profile: Profile,
    engine: Arc<ProfiledEngine>,
    code: Option<Arc<CodeCache>>,
    counters: Arc<Counters>,
    progress: Arc<Progress>,
}

fn begin(
    turns: Arc<Semaphore>,
    job: Job,
    bytes: impl AsRef<[u8]> + Send + 'static,
) -> Shared<BoxFuture<'static, Outcome>> {
    let task = tokio::spawn(async move {
        // The semaphore is never closed.
        let turn = turns.acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let result = job.run(bytes.as_ref());
            job.progress.end();
            (result, job)
        });
        let (result, job) = work.await.map_err(|error| stopped(&error))?;
        let (compiled, is_new) = result?;
        if is_new {
            // Nobody waits for the disk. The turn is kept: what is written is in memory twice.
            let compiled = Arc::clone(&compiled);
            tokio::task::spawn_blocking(move || {
                job.keep(&compiled);
                drop(turn);
            });
        }
        Ok(compiled)
    });
    async move { task.await.unwrap_or_else(|error| Err(stopped(&error))) }
        .boxed()
        .shared()
}

fn stopped(error: &tokio::task::JoinError) -> CompileError {
    CompileError::Compiler {
        reason: clipped(&format!("the compilation stopped: {error}")),
    }
}

impl Job {
    /// The component, and whether its code is new.
    fn run(&self, bytes: &[u8]) -> Result<(Arc<Compiled>, bool), CompileError> {
        let found = Digest::of(bytes);
        if found != self.artifact {
            return Err(CompileError::DigestMismatch {
                wanted: self.artifact,
                found,
            });
        }
        if let Some(component) = self.load() {
            // This release compiled these bytes before: their code was valid then.
            let inspection = inspect_known(bytes).map_err(CompileError::Inspect)?;
            return Ok((self.compiled(component, inspection)?, false));
        }
        self.progress.enter(CompilePhase::Compiling);
        let begun = Instant::now();
        let inspection = inspect(bytes).map_err(CompileError::Inspect)?;
        let bytes = debug_info::bounded(bytes, DEBUG_INFO_BYTES_MAX);
        let component = Component::from_binary(&self.engine.engine, &bytes);
        let component = component.map_err(|error| CompileError::Compiler {
            reason: clipped(&format!("{error:#}")),
        })?;
        let time = begun.elapsed();
        self.counters.compiled(time);
        let (artifact, ms) = (self.artifact, time.as_millis());
        tracing::info!(%artifact, ms, "compiled");
        Ok((self.compiled(component, inspection)?, true))
    }

    fn load(&self) -> Option<Component> {
        let code = self.code.as_ref()?;
        self.progress.enter(CompilePhase::Loading);
        let begun = Instant::now();
        let component = code.load(&self.id(), &self.engine.engine, &self.counters)?;
        let (artifact, ms) = (self.artifact, begun.elapsed().as_millis());
        tracing::info!(%artifact, ms, "compiled code taken from the cache");
        Some(component)
    }

    fn keep(&self, compiled: &Compiled) {
        if let Some(code) = &self.code {
            code.keep(&self.id(), &compiled.component);
        }
    }

    fn id(&self) -> CodeId {
        CodeId::new(self.artifact, &self.engine.engine, self.profile)
    }

    fn compiled(
        &self,
        component: Component,
        inspection: Inspection,
    ) -> Result<Arc<Compiled>, CompileError> {
        let slots = slots(&component)?;
        Ok(Arc::new(Compiled {
            artifact: self.artifact,
            profile: self.profile,
            engine: Arc::clone(&self.engine),
            component,
            inspection,
            slots,
        }))
    }
}

/// Pool slots of one instance: each slot has one memory and [`TABLES_PER_SLOT`] tables.
fn slots(component: &Component) -> Result<u32, CompileError> {
    let needed = component
        .resources_required()
        .ok_or(CompileError::ImportsModules)?;
    Ok(needed
        .num_memories
        .max(needed.num_tables.div_ceil(TABLES_PER_SLOT))
        .max(1))
}
