//! `wasi:sockets`: outgoing TCP and UDP, and lookups of the names that they may reach.
//!
//! Granted are `capabilities.tcp` and `capabilities.udp`, lists of hosts with or without port.
//! The interfaces are always linked, because components with a C library import them whether or
//! not they ever open a socket; without the right every use is denied.
//!
//! Limit: each socket counts as one of `limits.outbound_connections`, from its creation until it
//! is dropped, connected or not, because each holds a file of the host. Beyond that the guest gets
//! `new-socket-limit` and the observer a breach.
//!
//! Denied with `access-denied` and a [`Denial::Socket`]: a socket without the right, a connection
//! or datagram to what no pattern covers, a fixed local port, listening, a lookup of a name that
//! no pattern covers. Datagrams from elsewhere are dropped. A connection is refused when it is
//! finished, not when it is started: its name may have to be looked up first.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    self, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{
    self, ErrorCode, HostNetwork, IpAddress, IpAddressFamily, Network,
};
use wasmtime_wasi::p2::bindings::sockets::{
    instance_network, tcp, tcp_create_socket, udp, udp_create_socket,
};
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtx, WasiSocketsCtxView};

use super::socket_policy::Reach;
use super::{Package, WASI_VERSION};
use crate::host::Host;
use crate::observer::{Denial, SocketUse};

pub(super) const PACKAGE: Package = Package {
    name: "wasi:sockets",
    version: WASI_VERSION,
    interfaces: &[
        "instance-network",
        "ip-name-lookup",
        "network",
        "tcp",
        "tcp-create-socket",
        "udp",
        "udp-create-socket",
    ],
    grant: None,
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let options = network::LinkOptions::default();
    network::add_to_linker::<Host, WasiSockets>(linker, &options, Host::sockets)?;
    instance_network::add_to_linker::<Host, WasiSockets>(linker, Host::sockets)?;
    tcp::add_to_linker::<Host, WasiSockets>(linker, Host::sockets)?;
    udp::add_to_linker::<Host, WasiSockets>(linker, Host::sockets)?;
    tcp_create_socket::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    udp_create_socket::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    ip_name_lookup::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// The sockets of one instance.
#[derive(Default)]
pub(crate) struct Sockets {
    /// Grants nothing: sockets have a context of their own while they are made. Made with the
    /// first use, which most guests never come to.
    ctx: Option<WasiSocketsCtx>,
    /// Made with the first socket or lookup.
    reach: Option<Arc<Reach>>,
    /// Running lookups, by the number of their stream.
    lookups: BTreeMap<u32, String>,
}

impl Host {
    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        WasiSocketsCtxView {
            ctx: self.sockets.ctx.get_or_insert_default(),
            table: &mut self.table,
        }
    }

    fn reach(&mut self) -> Arc<Reach> {
        let meter = self.outgoing.meter();
        let reach = || Arc::new(Reach::new(Arc::clone(meter.guest()), Arc::clone(meter)));
        Arc::clone(self.sockets.reach.get_or_insert_with(reach))
    }

    fn deny(&self, wish: SocketUse) -> SocketError {
        self.outgoing.meter().denied(Denial::Socket(wish));
        ErrorCode::AccessDenied.into()
    }

    /// What one socket is made with. The permit is in the socket's own address check, which lives
    /// exactly as long as the socket: its streams are its children and go before it.
    fn socket_ctx(&mut self) -> SocketResult<WasiSocketsCtx> {
        let Some(permit) = self.outgoing.connection() else {
            return Err(ErrorCode::NewSocketLimit.into());
        };
        let lease = Arc::new((self.reach(), permit));
        let check = move |address, wish| {
            let lease: Arc<(Arc<Reach>, OwnedSemaphorePermit)> = Arc::clone(&lease);
            Box::pin(async move { lease.0.permits(address, wish).await }) as _
        };
        let mut builder = WasiCtxBuilder::new();
        builder
            .allow_tcp(true)
            .allow_udp(true)
            .socket_addr_check(check);
        Ok(builder.build().sockets().clone())
    }
}

impl tcp_create_socket::Host for Host {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        if self.guest().sockets.tcp.is_empty() {
            return Err(self.deny(SocketUse::TcpOpen));
        }
        let ctx = &mut self.socket_ctx()?;
        let table = &mut self.table;
        tcp_create_socket::Host::create_tcp_socket(&mut WasiSocketsCtxView { ctx, table }, family)
    }
}

impl udp_create_socket::Host for Host {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        if self.guest().sockets.udp.is_empty() {
            return Err(self.deny(SocketUse::UdpOpen));
        }
        let ctx = &mut self.socket_ctx()?;
        let table = &mut self.table;
        let mut view = WasiSocketsCtxView { ctx, table };
        udp_create_socket::Host::create_udp_socket(&mut view, family).await
    }
}

impl ip_name_lookup::Host for Host {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        if !self.guest().sockets.covers_name(&name) {
            let clipped = crate::errors::clipped(&name);
            return Err(self.deny(SocketUse::Lookup(clipped)));
        }
        let mut builder = WasiCtxBuilder::new();
        let mut ctx = builder.allow_ip_name_lookup(true).build();
        let (ctx, table) = (ctx.sockets(), &mut self.table);
        let mut view = WasiSocketsCtxView { ctx, table };
        let stream = ip_name_lookup::Host::resolve_addresses(&mut view, network, name.clone())?;
        self.sockets.lookups.insert(stream.rep(), name);
        Ok(stream)
    }
}

impl HostResolveAddressStream for Host {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let rep = stream.rep();
        let next = HostResolveAddressStream::resolve_next_address(&mut self.sockets(), stream)?;
        if let Some(address) = &next {
            let reach = self.reach();
            if let Some(name) = self.sockets.lookups.get(&rep) {
                reach.learn(name, plain(address));
            }
        }
        Ok(next)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        HostResolveAddressStream::subscribe(&mut self.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.sockets.lookups.remove(&stream.rep());
        HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}

impl network::Host for Host {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl HostNetwork for Host {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        HostNetwork::drop(&mut self.sockets(), network)
    }
}

fn plain(address: &IpAddress) -> std::net::IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => [a, b, c, d].into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => [a, b, c, d, e, f, g, h].into(),
    }
}
