//! `wasi:clocks/monotonic-clock` for deterministic guests: waits move the guest's own clock. The
//! wall clock needs nothing here: it only shows what the store's context was given.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::deterministic::Clock;
use crate::host::Host;

struct VirtualClocks;

impl HasData for VirtualClocks {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    clock: Option<Clock>,
    table: &'a mut ResourceTable,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    monotonic_clock::add_to_linker::<Host, VirtualClocks>(linker, |host| View {
        clock: host.virtual_clock(),
        table: host.ctx().table,
    })
}

impl View<'_> {
    fn clock(&self) -> wasmtime::Result<&Clock> {
        self.clock
            .as_ref()
            .ok_or_else(|| wasmtime::format_err!("the store has no virtual clock"))
    }

    fn subscribe_at(&mut self, at_nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let clock = self.clock()?.clone();
        let instant = self.table.push(Instant { clock, at_nanos })?;
        subscribe(self.table, instant)
    }
}

impl monotonic_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock()?.read())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(wasmtime_wasi::HostMonotonicClock::resolution(self.clock()?))
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_at(when)
    }

    fn subscribe_duration(&mut self, nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let at_nanos = self.clock()?.read().saturating_add(nanos);
        self.subscribe_at(at_nanos)
    }
}

/// An instant that can be waited for.
struct Instant {
    clock: Clock,
    at_nanos: u64,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Instant {
    async fn ready(&mut self) {
        self.clock.reach(self.at_nanos).await;
    }
}
