//! Stateful libraries: one resident instance that takes calls one after another, and whose state
//! is kept after each of them through its own `hypermesh:workload/lifecycle`. Knows no file.
//!
//! A caller gets its answer only once the state that its call led to survives a crash. A call that
//! ends in any other way takes its instance with it: the next one begins with a fresh instance,
//! restored from the last checkpoint. A caller that goes away while its state is being written
//! cannot stop that: the next call finds the one or the other state, never a mixture.
//!
//! Deterministic libraries get a fresh, restored instance for every call: what a resident one
//! remembers beside its checkpoint, such as the seeds of its hash maps, would make a call after a
//! restart differ from the same call without one.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use types::{ComponentKind, Digest, Millis};
use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, Val,
};

use crate::admission::Place;
use crate::bounds::{CHECKPOINT_BYTES_MAX, CHECKPOINT_TIME_MAX};
use crate::call::{Call, Span};
use crate::checkpoint::{Checkpoint, CheckpointError, CheckpointMark, ReplicaState, StateTurn};
use crate::compile::Compiled;
use crate::errors::{CallError, clipped};
use crate::host::Host;
use crate::invoke::{Asked, Used};
use crate::observer::{CallKind, CallOutcome};
use crate::replica::Replica;

/// Exports of this interface are the host's to call.
const INTERFACE: &str = "hypermesh:workload/lifecycle";

/// Whether an exported function belongs to the host.
pub(crate) fn owns(export: &str) -> bool {
    export
        .strip_prefix(INTERFACE)
        .is_some_and(|rest| rest.starts_with(['@', '#']))
}

/// State that could not be restored or kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The checkpoint could not be read or written.
    #[error("checkpoint: {0}")]
    Storage(#[from] CheckpointError),
    /// The guest refused the checkpoint; it stays where it is.
    #[error("`restore` refused checkpoint {sequence}: {reason}")]
    Restore {
        /// Which one.
        sequence: u64,
        /// What the guest says.
        reason: String,
    },
    /// The guest would not give its state.
    #[error("`checkpoint` failed: {reason}")]
    Checkpoint {
        /// What the guest says.
        reason: String,
    },
    /// The guest gave too much.
    #[error("`checkpoint` returned {bytes} bytes: at most {max} are kept")]
    TooLarge {
        /// How much.
        bytes: usize,
        /// [`CHECKPOINT_BYTES_MAX`].
        max: usize,
    },
    /// `checkpoint` or `restore` trapped or reached a limit.
    #[error("`{function}` failed: {error}")]
    Call {
        /// Which of them.
        function: &'static str,
        /// How.
        error: CallError,
    },
    /// The node keeps no state.
    #[error("it exports {INTERFACE}, but no place for checkpoints was given to it")]
    NoPlace,
    /// State is kept for libraries only.
    #[error(
        "it is a {kind} component that exports {INTERFACE}: state is kept for libraries only, whose calls come one after another"
    )]
    Kind {
        /// What it is.
        kind: ComponentKind,
    },
    /// The exported functions have other types than the interface.
    #[error("it exports {INTERFACE}, but not as version 0.1.0 has it: {reason}")]
    Interface {
        /// What does not fit.
        reason: String,
    },
}

fn call_error(error: impl Into<StateError>) -> CallError {
    CallError::State(Box::new(error.into()))
}

/// The two functions of a component that has state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Functions {
    checkpoint: ComponentExportIndex,
    restore: ComponentExportIndex,
}

impl Functions {
    /// None for a component without state.
    pub(crate) fn find(
        compiled: &Compiled,
        kind: ComponentKind,
    ) -> Result<Option<Self>, StateError> {
        let mut owned = compiled.inspection.exports.iter();
        let Some(export) = owned.find(|export| owns(&export.name)) else {
            return Ok(None);
        };
        if kind != ComponentKind::Library {
            return Err(StateError::Kind { kind });
        }
        let interface = export.name.split('#').next().unwrap_or_default();
        let function = |name| find(&compiled.component, interface, name);
        Ok(Some(Self {
            checkpoint: function("checkpoint")?,
            restore: function("restore")?,
        }))
    }
}

fn find(
    component: &Component,
    interface: &str,
    name: &str,
) -> Result<ComponentExportIndex, StateError> {
    let instance = component.get_export_index(None, interface);
    instance
        .and_then(|instance| component.get_export_index(Some(&instance), name))
        .ok_or_else(|| StateError::Interface {
            reason: format!("`{interface}` has no `{name}`"),
        })
}

/// An instance that holds the state.
struct Resident {
    store: Store<Host>,
    instance: Instance,
    /// Calls that led to its state.
    sequence: u64,
}

/// The state of one replica that runs.
pub(crate) struct Lifecycle {
    functions: Functions,
    artifact: Digest,
    state: Arc<ReplicaState>,
    /// Of this generation; it changes the state as long as nobody took over since.
    term: AtomicU64,
    /// None while a call has it, after a call lost it, and always in deterministic libraries.
    resident: Mutex<Option<Resident>>,
    stays: bool,
    time_max: Millis,
    /// The pool slots of the resident instance, beyond single calls.
    _slots: OwnedSemaphorePermit,
}

impl Lifecycle {
    pub(crate) fn new(
        functions: Functions,
        artifact: Digest,
        state: Arc<ReplicaState>,
        (deterministic, wall_time): (bool, Millis),
        slots: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            functions,
            artifact,
            state,
            term: AtomicU64::new(0),
            resident: Mutex::new(None),
            stays: !deterministic,
            time_max: millis(CHECKPOINT_TIME_MAX).min(wall_time),
            _slots: slots,
        }
    }

    pub(crate) fn mark(&self) -> Option<CheckpointMark> {
        self.state.mark()
    }

    fn take(&self) -> Option<Resident> {
        self.slot().take()
    }

    fn keep(&self, resident: Resident) {
        if self.stays {
            *self.slot() = Some(resident);
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Resident>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change the state, unless a later generation has taken it over.
    async fn turn(&self) -> Result<StateTurn, CallError> {
        let turn = self.state.turn().await;
        if *turn == self.term.load(Ordering::SeqCst) {
            Ok(turn)
        } else {
            Err(CallError::Stopped)
        }
    }
}

pub(crate) fn millis(time: Duration) -> Millis {
    Millis::new(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl Replica {
    /// Restores the last checkpoint and takes over from the generation before. If that fails, the
    /// one before goes on.
    pub(crate) async fn take_over(
        &self,
        lifecycle: &Lifecycle,
        place: Place,
    ) -> Result<(), CallError> {
        let mut turn = lifecycle.state.turn().await;
        let call = Call::begin(&self.shared.guest, CallKind::Trial, place)
            .with_wall_limit(lifecycle.time_max);
        match self.revive(lifecycle, &call, None).await {
            Ok(resident) => {
                *turn += 1;
                lifecycle.term.store(*turn, Ordering::SeqCst);
                lifecycle.keep(resident);
                call.end(None, CallOutcome::Completed);
                Ok(())
            }
            Err(error) => {
                call.end(None, CallOutcome::Failed(error.clone()));
                Err(error)
            }
        }
    }

    /// One call of a stateful library: the guest's function, its checkpoint, the disk, the answer.
    pub(crate) async fn call_with_state(
        &self,
        lifecycle: &Lifecycle,
        asked: &Asked<'_>,
    ) -> Result<(Option<Val>, Used), CallError> {
        let place = self.shared.admission.place().await?;
        let turn = lifecycle.turn().await?;
        let mut call = Call::begin(&self.shared.guest, asked.kind(), place);
        let done = self.run_with_state(lifecycle, &mut call, asked).await;
        let (results, resident, checkpoint) = match done {
            Ok(done) => done,
            Err(error) => {
                call.end(None, CallOutcome::Failed(error.clone()));
                return Err(error);
            }
        };
        let kept = commit(self.clone(), resident, checkpoint, turn).await;
        let used = Used {
            cpu: call.meter().cpu(),
            fuel: call.fuel_used(),
            memory_peak_bytes: call.meter().memory(),
        };
        let outcome = match &kept {
            Ok(()) => CallOutcome::Completed,
            Err(error) => CallOutcome::Failed(error.clone()),
        };
        call.end(None, outcome);
        kept.map(|()| (results, used))
    }

    async fn run_with_state(
        &self,
        lifecycle: &Lifecycle,
        call: &mut Call,
        asked: &Asked<'_>,
    ) -> Result<(Option<Val>, Resident, Checkpoint), CallError> {
        let mut resident = match lifecycle.take() {
            Some(resident) => resident,
            None => self.revive(lifecycle, call, Some(asked)).await?,
        };
        let Resident {
            store,
            instance,
            sequence,
        } = &mut resident;
        store.data_mut().serve(call.meter());
        let span = call.span_from_now(self.shared.guest.limits.wall_time);
        self.prepare(call, store, span)?;
        let results = call
            .drive_within(span, pin!(asked.run(store, instance)))
            .await?;
        call.note_fuel(store);
        *sequence += 1;
        let sequence = *sequence;
        let state = self.save(lifecycle, call, &mut resident).await?;
        let artifact = lifecycle.artifact;
        let checkpoint = Checkpoint {
            sequence,
            artifact,
            state,
        };
        Ok((results, resident, checkpoint))
    }

    /// A fresh instance with the last checkpoint in it. `asked` is what a deterministic guest's
    /// chance depends on.
    async fn revive(
        &self,
        lifecycle: &Lifecycle,
        call: &Call,
        asked: Option<&Asked<'_>>,
    ) -> Result<Resident, CallError> {
        let loaded = lifecycle.state.load().await.map_err(call_error)?;
        let sequence = loaded.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
        let span = call.span_from_now(lifecycle.time_max);
        let mut store = match asked {
            Some(asked) => call.store_for(&asked.input(sequence))?,
            None => call.store()?,
        };
        call.arm(&mut store, span);
        let instantiate = self.shared.pre.instantiate_async(&mut store);
        let instance = call.drive_within(span, instantiate).await?;
        let mut resident = Resident {
            store,
            instance,
            sequence,
        };
        if let Some(checkpoint) = loaded {
            self.restore(lifecycle, call, &mut resident, checkpoint)
                .await?;
        }
        Ok(resident)
    }

    async fn restore(
        &self,
        lifecycle: &Lifecycle,
        call: &Call,
        resident: &mut Resident,
        checkpoint: Checkpoint,
    ) -> Result<(), CallError> {
        let Checkpoint {
            sequence, state, ..
        } = checkpoint;
        let index = lifecycle.functions.restore;
        let name = "restore";
        let answer: Result<(), String> = self
            .ask(lifecycle, call, resident, (name, index), (state,))
            .await?;
        answer.map_err(|reason| {
            call_error(StateError::Restore {
                sequence,
                reason: clipped(&reason),
            })
        })
    }

    async fn save(
        &self,
        lifecycle: &Lifecycle,
        call: &Call,
        resident: &mut Resident,
    ) -> Result<Vec<u8>, CallError> {
        let index = lifecycle.functions.checkpoint;
        let answer: Result<Vec<u8>, String> = self
            .ask(lifecycle, call, resident, ("checkpoint", index), ())
            .await?;
        let state = answer.map_err(|reason| {
            let reason = clipped(&reason);
            call_error(StateError::Checkpoint { reason })
        })?;
        let (bytes, max) = (state.len(), CHECKPOINT_BYTES_MAX);
        if bytes > max {
            return Err(call_error(StateError::TooLarge { bytes, max }));
        }
        Ok(state)
    }

    /// Calls one of the host's own functions, with a budget and a time of its own.
    async fn ask<P, R>(
        &self,
        lifecycle: &Lifecycle,
        call: &Call,
        resident: &mut Resident,
        (function, index): (&'static str, ComponentExportIndex),
        params: P,
    ) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let Resident {
            store, instance, ..
        } = resident;
        let span = call.span_from_now(lifecycle.time_max);
        self.prepare(call, store, span)?;
        let typed = instance.get_typed_func::<P, (R,)>(&mut *store, index);
        let typed = typed.map_err(|error| {
            let reason = clipped(&format!("{error:#}"));
            call_error(StateError::Interface { reason })
        })?;
        let asked = pin!(typed.call_async(store, params));
        let asked = call.drive_within(span, asked);
        let (answer,) = asked.await.map_err(|error| match error {
            CallError::Stopped => CallError::Stopped,
            error => call_error(StateError::Call { function, error }),
        })?;
        Ok(answer)
    }

    /// Gives a store a budget and a time.
    fn prepare(&self, call: &Call, store: &mut Store<Host>, span: Span) -> Result<(), CallError> {
        let refuelled = self.shared.guest.refuel(store);
        refuelled.map_err(|error| CallError::Host {
            reason: clipped(&format!("{error:#}")),
        })?;
        call.arm(store, span);
        Ok(())
    }
}

/// Writes the checkpoint in a task of its own, which goes on when the caller leaves: else a write
/// that was given up could overtake a later one.
async fn commit(
    replica: Replica,
    resident: Resident,
    checkpoint: Checkpoint,
    turn: StateTurn,
) -> Result<(), CallError> {
    let commit = tokio::spawn(async move {
        let Some(lifecycle) = &replica.shared.lifecycle else {
            return Err(StateError::NoPlace);
        };
        lifecycle.state.store(checkpoint).await?;
        lifecycle.keep(resident);
        drop(turn);
        Ok(())
    });
    match commit.await {
        Ok(kept) => kept.map_err(call_error),
        Err(error) => Err(CallError::Host {
            reason: clipped(&format!("the task that keeps state ended: {error}")),
        }),
    }
}
