//! One call from its place to its record: store, time limits, cancellation, what went wrong.
//! Knows nothing of HTTP, commands or WAVE.

use std::future::Future;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until};
use types::Millis;
use wasmtime::{Error, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use crate::admission::Place;
use crate::cpu_share::{CpuShare, Draw};
use crate::deterministic::{Input, World};
use crate::errors::{Breach, CallError, clipped};
use crate::frame::backtrace;
use crate::host::{Guest, Host};
use crate::meter::Meter;
use crate::observer::{CallKind, CallOutcome, CallRecord};
use crate::pace::{Pace, Turn};
use crate::pool::Slots;

/// A call that has a place. Its record is written when it ends; dropped before that, it counts as
/// cancelled. Declare the store after it, so that the store goes before the place does.
pub(crate) struct Call {
    meter: Arc<Meter>,
    kind: CallKind,
    wall_limit: Millis,
    fuel_limit: Option<NonZeroU64>,
    /// Of a call that shares processors with others.
    draw: Option<Arc<Draw>>,
    /// How long the replica had been paused when the call began: later pauses are no time of its.
    paused_before: Duration,
    /// Of a deterministic guest.
    world: Option<World>,
    /// Read when the call returned; else it ends when it is dropped.
    wall: Option<Duration>,
    fuel_used: Option<u64>,
    outcome: CallOutcome,
    place: Place,
}

/// Time that a guest has, and the limit that gave it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    deadline: Instant,
    limit: Millis,
    /// How long the replica had been paused when it began: later pauses are no time of it.
    paused_before: Duration,
}

impl Call {
    pub(crate) fn begin(guest: &Arc<Guest>, kind: CallKind, place: Place) -> Self {
        Self {
            meter: Arc::new(Meter::new(Arc::clone(guest))),
            kind,
            wall_limit: guest.limits.wall_time,
            fuel_limit: guest.limits.fuel,
            draw: None,
            paused_before: guest.gate.closed_for(),
            world: guest.determinism.map(|of| of.world(&Input::NOTHING)),
            wall: None,
            fuel_used: None,
            outcome: CallOutcome::Cancelled,
            place,
        }
    }

    pub(crate) fn with_wall_limit(mut self, limit: Millis) -> Self {
        self.wall_limit = limit.min(self.wall_limit);
        self
    }

    /// For a guest whose fuel is counted.
    pub(crate) fn with_fuel_limit(mut self, limit: NonZeroU64) -> Self {
        self.fuel_limit = self.fuel_limit.map(|most| most.min(limit));
        self
    }

    /// Charges its cpu time to `share`, too, and keeps within that.
    pub(crate) fn with_share(mut self, share: Arc<CpuShare>) -> Self {
        self.draw = Some(Arc::new(Draw::new(share)));
        self
    }

    /// Says what a deterministic guest's chance depends on.
    pub(crate) fn with_input(mut self, input: &Input<'_>) -> Self {
        self.world = self.guest().determinism.map(|of| of.world(input));
        self
    }

    pub(crate) const fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    fn guest(&self) -> &Arc<Guest> {
        self.meter.guest()
    }

    /// A store in which every limit of this call is set.
    pub(crate) fn store(&self) -> Result<Store<Host>, CallError> {
        self.store_in(self.world.clone())
    }

    /// As [`Self::store`], when the input is known only after the call has begun.
    pub(crate) fn store_for(&self, input: &Input<'_>) -> Result<Store<Host>, CallError> {
        self.store_in(self.guest().determinism.map(|of| of.world(input)))
    }

    fn store_in(&self, world: Option<World>) -> Result<Store<Host>, CallError> {
        let store = Guest::store(&self.meter, world);
        let mut store = store.map_err(|e| in_host(&e))?;
        if let Some(limit) = self.fuel_limit {
            store.set_fuel(limit.get()).map_err(|e| in_host(&e))?;
        }
        self.arm(&mut store, self.span());
        Ok(store)
    }

    /// Sets every limit of this call in the store of a kept instance.
    pub(crate) fn adopt(&self, store: &mut Store<Host>) -> Result<(), CallError> {
        let renewed = self.guest().renew(store, &self.meter);
        renewed.map_err(|e| in_host(&e))?;
        self.arm(store, self.span());
        Ok(())
    }

    /// The time that the whole call has.
    pub(crate) fn span(&self) -> Span {
        Span {
            deadline: self.meter.begun() + self.wall_limit.duration(),
            limit: self.wall_limit,
            paused_before: self.paused_before,
        }
    }

    /// Time for a part of the call that begins now.
    pub(crate) fn span_from_now(&self, limit: Millis) -> Span {
        Span {
            deadline: Instant::now() + limit.duration(),
            limit,
            paused_before: self.guest().gate.closed_for(),
        }
    }

    /// Lets a store's guest compute within `span` and its cpu share, in slices.
    pub(crate) fn arm(&self, store: &mut Store<Host>, span: Span) {
        let Span {
            deadline,
            limit,
            paused_before,
        } = span;
        let cpu_percent = self.guest().limits.cpu_percent;
        let mut pace = Pace::new(cpu_percent, self.meter.begun(), deadline);
        let (meter, draw) = (Arc::clone(&self.meter), self.draw.clone());
        store.set_epoch_deadline(1);
        // tokio's own yield, not wasmtime's: it lets the worker look at sockets and timers between
        // two slices, which a task that wakes itself keeps it from.
        store.epoch_deadline_callback(move |_| {
            // A clock that stands still in pauses. A guest whose gate has closed yields here and is
            // not polled again before it opens.
            let gate = &meter.guest().gate;
            let paused = gate.closed_for().saturating_sub(paused_before);
            let now = Instant::now();
            let now = now.checked_sub(paused).unwrap_or(now);
            let cpu = meter.end_slice();
            let shared = draw
                .as_ref()
                .and_then(|draw| draw.settle(cpu, Instant::now()));
            let own = match pace.tick(now, cpu) {
                Turn::Yield => None,
                Turn::Sleep(time) => Some(time),
                Turn::Expired => {
                    meter.breach(&Breach::WallTime { limit });
                    return Ok(UpdateDeadline::Interrupt);
                }
            };
            // Whoever drives the call ends a rest that is longer than its time.
            Ok(match own.max(shared) {
                None => UpdateDeadline::YieldCustom(1, Box::pin(yield_now())),
                Some(time) => UpdateDeadline::YieldCustom(1, Box::pin(sleep(time))),
            })
        });
    }

    /// Runs the guest until it returns, its time is over or its replica is stopped. After an error
    /// the store must not be used again.
    pub(crate) async fn drive<T>(
        &self,
        work: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, CallError> {
        self.drive_within(self.span(), work).await
    }

    /// As [`Self::drive`], for a part of the call whose store was armed with `span`.
    pub(crate) async fn drive_within<T>(
        &self,
        span: Span,
        work: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, CallError> {
        let limit = span.limit;
        let work = self.guest().gate.pass(self.meter.measure(work));
        tokio::select! {
            // The guest first: a call that needs no wait arms neither timer nor cancellation. One
            // that computes comes back here after every slice.
            biased;
            result = work => result.map_err(|error| self.classify(&error, limit)),
            () = self.guest().stop.cancelled() => Err(CallError::Stopped),
            () = self.expired(span) => Err(self.breached(Breach::WallTime { limit })),
        }
    }

    /// Waits until the time is over, pauses not counted.
    async fn expired(&self, span: Span) {
        let gate = &self.guest().gate;
        loop {
            gate.opened().await;
            let paused = gate.closed_for().saturating_sub(span.paused_before);
            let deadline = span.deadline + paused;
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline.into()).await;
        }
    }

    pub(crate) const fn fuel_used(&self) -> Option<u64> {
        self.fuel_used
    }

    /// Reads what the guest used of the budget that the store was last given.
    pub(crate) fn note_fuel(&mut self, store: &Store<Host>) -> Option<u64> {
        let left = || store.get_fuel().unwrap_or_default();
        let budget = self.fuel_limit;
        self.fuel_used = budget.map(|budget| budget.get().saturating_sub(left()));
        self.fuel_used
    }

    /// Writes the record. A failure is published before the store goes, and with it the guest's
    /// end of every stream.
    pub(crate) fn end(mut self, store: Option<Store<Host>>, outcome: CallOutcome) {
        self.conclude(store.as_ref(), outcome);
        drop(store);
    }

    /// As [`Self::end`] for a call that completed, but the instance lives on, with its slots.
    pub(crate) fn end_keeping(mut self, store: &Store<Host>) -> Option<Slots> {
        self.conclude(Some(store), CallOutcome::Completed);
        self.place.take_slots()
    }

    fn conclude(&mut self, store: Option<&Store<Host>>, outcome: CallOutcome) {
        if let Some(store) = store {
            self.note_fuel(store);
        }
        if let CallOutcome::Failed(error) = &outcome {
            self.meter.fail(error.clone());
        }
        if outcome == CallOutcome::Completed {
            self.wall = Some(self.meter.wall());
        }
        self.outcome = outcome;
    }

    fn breached(&self, breach: Breach) -> CallError {
        self.meter.breach(&breach);
        CallError::Breach(breach)
    }

    fn classify(&self, error: &Error, wall_limit: Millis) -> CallError {
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return CallError::Exit(u8::try_from(*code).unwrap_or(u8::MAX));
        }
        let trap = error.downcast_ref::<Trap>();
        if let Some(Trap::StackOverflow | Trap::Interrupt | Trap::OutOfFuel) = trap {
            self.meter.stop_at(backtrace(error));
        }
        match (trap, self.fuel_limit) {
            (Some(Trap::StackOverflow), _) => return self.breached(Breach::STACK),
            (Some(Trap::Interrupt), _) => {
                return self.breached(Breach::WallTime { limit: wall_limit });
            }
            (Some(Trap::OutOfFuel), Some(limit)) => {
                return self.breached(Breach::Fuel { limit: limit.get() });
            }
            _ => {}
        }
        // A guest whose allocation failed usually aborts: the limit is the cause to report.
        if let Some(breach) = self.meter.refused_growth() {
            return CallError::Breach(breach.clone());
        }
        match trap {
            Some(trap) => CallError::Trap {
                name: trap.to_string(),
                backtrace: backtrace(error),
            },
            None => CallError::Host {
                reason: clipped(&chain(error)),
            },
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(draw) = &self.draw {
            draw.end(self.meter.cpu(), self.fuel_used, Instant::now());
        }
        let outcome = std::mem::replace(&mut self.outcome, CallOutcome::Cancelled);
        let kind = std::mem::replace(&mut self.kind, CallKind::Trial);
        self.guest().observer.call(CallRecord {
            kind,
            queued: self.place.queued,
            wall: self.wall.unwrap_or_else(|| self.meter.begun().elapsed()),
            cpu: self.meter.cpu(),
            fuel_used: self.fuel_used,
            memory_peak_bytes: self.meter.memory(),
            stopped_at: self.meter.stopped_at().to_vec(),
            outcome,
        });
    }
}

fn in_host(error: &Error) -> CallError {
    CallError::Host {
        reason: clipped(&format!("{error:#}")),
    }
}

/// The causes without the backtrace, which wasmtime puts in front as context.
fn chain(error: &Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let told = causes
        .iter()
        .filter(|cause| !cause.starts_with("error while executing"));
    told.cloned().collect::<Vec<_>>().join(": ")
}
