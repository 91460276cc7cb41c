//! `hypermesh:assets/network`: connections over leased transport, of this node and of others.
//!
//! *Grant*: `capabilities.network = "RATE"`; without it a component that imports the interface is
//! refused at deploy. Where a connection may go is `capabilities.tcp`, as with sockets: a pattern with
//! a name grants whatever the name means where it is dialled. *Limits*: what a replica has leased stays
//! within the grant, which the node counts behind [`crate::Network`]; its instances have
//! [`LINKS_OPEN_MAX`] links; each connection is one of `limits.outbound_connections`, beyond which the
//! observer gets a breach; a link carries no more than was leased where its lease lives. *Denial*: the
//! cases of `error`, each with a text that names the bound, and a [`Denial::Link`].
//!
//! Links and connections are resources of their instance: they go with it, however that ends.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::hypermesh::assets::network as wit;
use super::{Grant, Package};
use crate::bounds::{LINK_PIECE_BYTES_MAX, LINKS_OPEN_MAX};
use crate::errors::clipped;
use crate::host::Host;
use crate::memory::AssetError;
use crate::network::{NetworkConnection, NetworkError, NetworkLink};
use crate::observer::Denial;

pub(super) const PACKAGE: Package = Package {
    name: "hypermesh:assets",
    version: "0.1.0",
    interfaces: &["network"],
    grant: Some(Grant {
        interfaces: &["network"],
        line: "capabilities.network = \"RATE\"",
        covers: |capability| matches!(capability, Capability::Network { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/assets",
        world: "network-user",
        imports: { default: async | trappable },
        with: {
            "hypermesh:assets/network.link": super::OpenLink,
            "hypermesh:assets/network.connection": super::OpenConnection,
        },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// A link that an instance has.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenLink {
    link: Arc<dyn NetworkLink>,
    _place: OwnedSemaphorePermit,
}

/// A connection that an instance has.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenConnection {
    connection: Arc<dyn NetworkConnection>,
    _place: OwnedSemaphorePermit,
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn told(error: NetworkError) -> wit::Error {
    match error {
        NetworkError::Failed(text) => wit::Error::Failed(clipped(&text)),
        NetworkError::Asset(error) => match error {
            AssetError::Invalid(text) => wit::Error::Invalid(clipped(&text)),
            AssetError::Denied(text) => wit::Error::Denied(clipped(&text)),
            AssetError::Ended => wit::Error::Ended,
            AssetError::Quota(text) => wit::Error::Quota(clipped(&text)),
            AssetError::Exhausted(text) => wit::Error::Exhausted(clipped(&text)),
            AssetError::Busy(text) => wit::Error::Busy(clipped(&text)),
            AssetError::Lost(text) => wit::Error::Lost(clipped(&text)),
            AssetError::Unavailable(text) => wit::Error::Unavailable(clipped(&text)),
        },
    }
}

fn answer<T, E: Into<NetworkError>>(result: Result<T, E>) -> Answer<T> {
    Ok(result.map_err(|error| told(error.into())))
}

/// So many bytes at once, if that is allowed.
fn piece(bytes: usize) -> Result<usize, AssetError> {
    if (1..=LINK_PIECE_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    let text = format!("{bytes} bytes at once: 1 to {LINK_PIECE_BYTES_MAX} are allowed");
    Err(AssetError::Invalid(text))
}

impl Host {
    fn link(&mut self, link: &Resource<OpenLink>) -> wasmtime::Result<Arc<dyn NetworkLink>> {
        Ok(Arc::clone(&self.table().get(link)?.link))
    }

    fn connection(
        &mut self,
        connection: &Resource<OpenConnection>,
    ) -> wasmtime::Result<Arc<dyn NetworkConnection>> {
        Ok(Arc::clone(&self.table().get(connection)?.connection))
    }

    /// A place for a connection, if the manifest allows it.
    fn connecting(&mut self, host: &str, port: u16) -> Result<OwnedSemaphorePermit, AssetError> {
        if !self.guest().sockets.covers_tcp(host, port) {
            let host = clipped(host);
            let text = format!("{host}:{port} is not covered by capabilities.tcp");
            self.meter().denied(Denial::Link { host, port });
            return Err(AssetError::Denied(text));
        }
        self.outgoing.connection().ok_or_else(|| {
            let limit = self.guest().limits.outbound_connections;
            AssetError::Quota(format!(
                "the instance has {limit} connections, as many as limits.outbound_connections"
            ))
        })
    }
}

impl wit::HostConnection for Host {
    async fn read(
        &mut self,
        connection: Resource<OpenConnection>,
        bytes_max: u32,
    ) -> Answer<Vec<u8>> {
        let connection = self.connection(&connection)?;
        match piece(usize::try_from(bytes_max).unwrap_or(usize::MAX)) {
            Ok(bytes_max) => answer(connection.read(bytes_max).await),
            Err(error) => answer(Err(error)),
        }
    }

    async fn write(&mut self, connection: Resource<OpenConnection>, bytes: Vec<u8>) -> Answer<()> {
        let connection = self.connection(&connection)?;
        match piece(bytes.len()) {
            Ok(_) => answer(connection.write(bytes).await),
            Err(error) => answer(Err(error)),
        }
    }

    async fn finish(&mut self, connection: Resource<OpenConnection>) -> Answer<()> {
        let finished = self.connection(&connection)?.finish();
        answer(finished.await)
    }

    async fn drop(&mut self, connection: Resource<OpenConnection>) -> wasmtime::Result<()> {
        self.table().delete(connection)?;
        Ok(())
    }
}

impl wit::HostLink for Host {
    async fn connect(
        &mut self,
        link: Resource<OpenLink>,
        host: String,
        port: u16,
    ) -> Answer<Resource<OpenConnection>> {
        let link = self.link(&link)?;
        let place = match self.connecting(&host, port) {
            Ok(place) => place,
            Err(error) => return answer(Err(error)),
        };
        match link.connect(host, port).await {
            Ok(connection) => {
                let open = OpenConnection {
                    connection,
                    _place: place,
                };
                Ok(Ok(self.table().push(open)?))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn remaining(&mut self, link: Resource<OpenLink>) -> Answer<u64> {
        let usage = self.link(&link)?.usage();
        answer(usage.await.map(|usage| usage.left_ms))
    }

    async fn usage(&mut self, link: Resource<OpenLink>) -> Answer<wit::Usage> {
        let usage = self.link(&link)?.usage();
        answer(usage.await.map(|usage| wit::Usage {
            bytes_per_second: usage.bytes_per_s,
            sent_bytes: usage.sent_bytes,
            received_bytes: usage.received_bytes,
            connections: usage.connections,
            left_ms: usage.left_ms,
        }))
    }

    async fn renew(&mut self, link: Resource<OpenLink>, term_ms: u64) -> Answer<()> {
        let renewed = self.link(&link)?.renew(term_ms);
        answer(renewed.await)
    }

    async fn drop(&mut self, link: Resource<OpenLink>) -> wasmtime::Result<()> {
        self.table().delete(link)?;
        Ok(())
    }
}

impl wit::Host for Host {
    async fn allocate(
        &mut self,
        bytes_per_second: u64,
        term_ms: u64,
    ) -> Answer<Resource<OpenLink>> {
        let place = Arc::clone(&self.guest().transport.places).try_acquire_owned();
        let begun = place
            .map_err(|_| {
                AssetError::Quota(format!(
                    "the replica has {LINKS_OPEN_MAX} links, the most at once"
                ))
            })
            .and_then(|place| {
                let network = self.guest().transport.get()?;
                Ok((network.allocate(bytes_per_second, term_ms), place))
            });
        let (allocated, place) = match begun {
            Ok(begun) => begun,
            Err(error) => return answer(Err(error)),
        };
        match allocated.await {
            Ok(link) => {
                let open = OpenLink {
                    link,
                    _place: place,
                };
                Ok(Ok(self.table().push(open)?))
            }
            Err(error) => answer(Err(error)),
        }
    }
}
