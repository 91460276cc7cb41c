//! Compiles components, each once, off the threads that run guests, and keeps the latest ones.
//! Knows no replica.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use types::Digest;
use wasmtime::component::Component;

use crate::bounds::{COMPILES_AT_ONCE_MAX, TABLES_PER_SLOT};
use crate::engine::{Profile, ProfiledEngine};
use crate::errors::clipped;
use crate::inspect::{InspectError, Inspection, inspect};

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
}

struct Entry {
    outcome: Shared<BoxFuture<'static, Outcome>>,
    used_at: u64,
}

impl CompileCache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            entries_max: entries_max.max(1),
            uses: AtomicU64::new(0),
            turns: Arc::new(Semaphore::new(COMPILES_AT_ONCE_MAX)),
        }
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
                let turns = Arc::clone(&self.turns);
                Entry {
                    outcome: begin(turns, artifact, bytes, engine, profile),
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

fn begin(
    turns: Arc<Semaphore>,
    artifact: Digest,
    bytes: impl AsRef<[u8]> + Send + 'static,
    engine: Arc<ProfiledEngine>,
    profile: Profile,
) -> Shared<BoxFuture<'static, Outcome>> {
    let task = tokio::spawn(async move {
        // The semaphore is never closed.
        let _turn = turns.acquire_owned().await;
        let work =
            tokio::task::spawn_blocking(move || compile(artifact, bytes.as_ref(), engine, profile));
        work.await.unwrap_or_else(|error| Err(stopped(&error)))
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

fn compile(
    artifact: Digest,
    bytes: &[u8],
    engine: Arc<ProfiledEngine>,
    profile: Profile,
) -> Outcome {
    let found = Digest::of(bytes);
    if found != artifact {
        return Err(CompileError::DigestMismatch {
            wanted: artifact,
            found,
        });
    }
    let inspection = inspect(bytes).map_err(CompileError::Inspect)?;
    let component =
        Component::from_binary(&engine.engine, bytes).map_err(|error| CompileError::Compiler {
            reason: clipped(&format!("{error:#}")),
        })?;
    let slots = slots(&component)?;
    Ok(Arc::new(Compiled {
        artifact,
        profile,
        engine,
        component,
        inspection,
        slots,
    }))
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
