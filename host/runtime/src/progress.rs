//! How far a component is on its way to machine code. Knows nothing of how that is done.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is being done for a component that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompilePhase {
    /// Others are compiled first.
    Waiting,
    /// Its code is looked for in the cache, judged and mapped.
    Loading,
    /// It is validated and compiled.
    Compiling,
}

/// A component that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileProgress {
    /// What is being done.
    pub phase: CompilePhase,
    /// For how long.
    pub elapsed: Duration,
}

impl fmt::Display for CompilePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting for the compiler",
            Self::Loading => "loading compiled code",
            Self::Compiling => "compiling",
        })
    }
}

/// One component's progress; none once it is ready, or cannot be.
pub(crate) struct Progress(Mutex<Option<(CompilePhase, Instant)>>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some((CompilePhase::Waiting, Instant::now()))))
    }

    pub(crate) fn enter(&self, phase: CompilePhase) {
        self.set(Some((phase, Instant::now())));
    }

    pub(crate) fn end(&self) {
        self.set(None);
    }

    pub(crate) fn read(&self) -> Option<CompileProgress> {
        let progress = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.map(|(phase, since)| CompileProgress {
            phase,
            elapsed: since.elapsed(),
        })
    }

    fn set(&self, progress: Option<(CompilePhase, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}
