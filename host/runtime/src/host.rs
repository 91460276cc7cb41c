//! The state behind one instance, and what all instances of a replica share. Knows no call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use types::{Limits, Name, Topic};
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::p2::body::{
    HostFutureTrailers, HostIncomingBody, HostIncomingBodyStream, HostOutgoingBody,
};
use wasmtime_wasi_http::p2::types::{
    HostIncomingRequest, HostOutgoingResponse, HostResponseOutparam,
};
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::background::Background;
use crate::bounds::{HANDLES_MAX, HOSTCALL_BYTES_MAX, RANDOM_BYTES_MAX, RESOURCES_MAX};
use crate::capability::{Outgoing, OutgoingPolicy, SocketPolicy, Sockets, Stores, cli, filesystem};
use crate::consensus::Agreement;
use crate::cpu::Cpu;
use crate::deterministic::{Clock, Determinism, World};
use crate::gate::Gate;
use crate::limiter::InstanceLimiter;
use crate::log::Log;
use crate::memory::{Leased, Memory};
use crate::meter::Meter;
use crate::network::Network;
use crate::observer::Observer;
use crate::services::Publisher;
use crate::ticker::Ticker;
use crate::volume::Stored;

/// A host directory that a guest sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    /// On this machine.
    pub host_dir: PathBuf,
    /// Where the guest finds it: `/etc`.
    pub guest_path: String,
    /// Whether it may change what is inside.
    pub writable: bool,
}

/// What all instances of a replica share.
pub(crate) struct Guest {
    pub(crate) engine: Engine,
    pub(crate) name: Name,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// The same settings for both interfaces that show them: one keeps its own to itself.
    pub(crate) config: WasiConfigVariables,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) stores: Stores,
    /// Whether it can say that a value for its blobstore is whole.
    pub(crate) finishes_values: bool,
    pub(crate) preopens: Vec<Preopen>,
    pub(crate) limits: Limits,
    /// Of a deterministic component.
    pub(crate) determinism: Option<Determinism>,
    pub(crate) outgoing: OutgoingPolicy,
    pub(crate) sockets: SocketPolicy,
    pub(crate) publish: Vec<Topic>,
    pub(crate) publisher: Option<Arc<dyn Publisher>>,
    pub(crate) agreement: Agreement,
    pub(crate) leased: Leased<dyn Memory>,
    pub(crate) processors: Leased<dyn Cpu>,
    pub(crate) transport: Leased<dyn Network>,
    /// Places of calls that run on leased processors.
    pub(crate) leased_calls: Arc<Semaphore>,
    pub(crate) stored: Stored,
    pub(crate) log: Arc<Log>,
    pub(crate) observer: Arc<dyn Observer>,
    /// Held: as long as a guest can compute, its time slices must end.
    pub(crate) ticker: Arc<Ticker>,
    /// Where calls go that compute for long.
    pub(crate) background: Arc<Background>,
    pub(crate) stop: CancellationToken,
    /// Closed while the replica is paused.
    pub(crate) gate: Arc<Gate>,
}

/// The data of one store.
pub(crate) struct Host {
    pub(crate) table: ResourceTable,
    meter: Arc<Meter>,
    /// Made when the guest first asks: many instances never do. Apart, as it is large and the rest
    /// is moved into its store.
    wasi: Option<Box<WasiCtx>>,
    /// Of a deterministic guest.
    world: Option<World>,
    http: WasiHttpCtx,
    pub(crate) outgoing: Outgoing,
    pub(crate) sockets: Sockets,
    /// Of all messages that the guest holds.
    pub(crate) message_bytes: usize,
    limiter: InstanceLimiter,
}

impl Guest {
    /// An empty store for one instance, with every bound set that a store can hold. A guest that
    /// is deterministic needs a `world`.
    ///
    /// # Errors
    /// A preopened directory that cannot be opened.
    pub(crate) fn store(meter: &Arc<Meter>, world: Option<World>) -> wasmtime::Result<Store<Host>> {
        let guest = meter.guest();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        // Opening a directory can fail, so it is done here, where an error can still be told.
        let wasi = if guest.preopens.is_empty() {
            None
        } else {
            Some(Box::new(guest.wasi(world.as_ref())?))
        };
        let host = Host {
            meter: Arc::clone(meter),
            table,
            wasi,
            world,
            http: WasiHttpCtx::new(),
            outgoing: Outgoing::new(Arc::clone(meter)),
            sockets: Sockets::default(),
            message_bytes: 0,
            limiter: InstanceLimiter::new(
                &guest.limits,
                guest.determinism.is_some(),
                Arc::clone(meter),
            ),
        };
        let mut store = Store::new(&guest.engine, host);
        store.limiter(|host| &mut host.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(HANDLES_MAX);
        }
        guest.refuel(&mut store)?;
        Ok(store)
    }

    /// Makes the store of a kept instance the next call's: a full budget, a meter of its own. What
    /// the instance holds in memory goes on counting against its limits.
    pub(crate) fn renew(
        &self,
        store: &mut Store<Host>,
        meter: &Arc<Meter>,
    ) -> wasmtime::Result<()> {
        store.data_mut().serve(meter);
        self.refuel(store)
    }

    /// Gives the budget of one call.
    pub(crate) fn refuel(&self, store: &mut Store<Host>) -> wasmtime::Result<()> {
        match self.limits.fuel {
            Some(fuel) => store.set_fuel(fuel.get()),
            None => Ok(()),
        }
    }

    fn wasi(&self, world: Option<&World>) -> wasmtime::Result<WasiCtx> {
        let mut builder = self.wasi_without_files(world);
        filesystem::preopen(&mut builder, &self.preopens)?;
        Ok(builder.build())
    }

    fn wasi_without_files(&self, world: Option<&World>) -> WasiCtxBuilder {
        let mut builder = WasiCtxBuilder::new();
        cli::configure(&mut builder, self);
        builder.max_random_size(RANDOM_BYTES_MAX);
        if let Some(world) = world {
            world.configure(&mut builder);
        }
        builder
    }
}

impl Host {
    /// Charges what follows to another call.
    pub(crate) fn serve(&mut self, meter: &Arc<Meter>) {
        self.limiter.account_to(Arc::clone(meter));
        self.outgoing.account_to(Arc::clone(meter));
        self.meter = Arc::clone(meter);
    }

    pub(crate) fn virtual_clock(&self) -> Option<Clock> {
        self.world.as_ref().map(|world| world.clock.clone())
    }

    pub(crate) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.meter.guest().config)
    }

    /// Whether the guest gave back the request, the response and all bodies. What it keeps of
    /// them would keep a client's connection, or let a client wait for a body that nobody ends.
    pub(crate) fn is_clear(&mut self) -> bool {
        !self.table.iter_mut().any(|entry| {
            entry.is::<HostIncomingRequest>()
                || entry.is::<HostResponseOutparam>()
                || entry.is::<HostIncomingBody>()
                || entry.is::<HostIncomingBodyStream>()
                || entry.is::<HostFutureTrailers>()
                || entry.is::<HostOutgoingResponse>()
                || entry.is::<HostOutgoingBody>()
                || entry.is::<p3::Request>()
                || entry.is::<p3::Response>()
        })
    }

    pub(crate) fn settings(&self) -> &BTreeMap<String, String> {
        &self.guest().settings
    }

    pub(crate) fn guest(&self) -> &Arc<Guest> {
        self.meter.guest()
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.guest().stores
    }

    pub(crate) fn log_output(&self) -> &Log {
        &self.guest().log
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (guest, world) = (self.meter.guest(), self.world.as_ref());
        let ctx = self
            .wasi
            .get_or_insert_with(|| Box::new(guest.wasi_without_files(world).build()));
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
