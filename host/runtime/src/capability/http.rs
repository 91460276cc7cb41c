//! `wasi:http`: types for everyone, outgoing requests to the hosts that the manifest grants.
//!
//! A pattern grants a *name*: the request goes wherever that name resolves to when it is sent, also
//! if its owner points it at a private address. Grant names whose owner is trusted, or addresses.

use std::sync::Arc;

use http::uri::Scheme;
use http::{Request, Response, Uri};
use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::{Capability, HostPattern};
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::add_only_http_to_linker_async;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::http_send::{Destination, send};
use super::{Grant, Package, WASI_VERSION, http_error};
use crate::bounds::{BODY_CHUNK_BYTES_MAX, BODY_CHUNKS_MAX};
use crate::errors::Breach;
use crate::host::Host;
use crate::meter::Meter;
use crate::observer::Denial;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:http",
    version: WASI_VERSION,
    interfaces: &["outgoing-handler", "types"],
    grant: Some(Grant {
        interfaces: &["outgoing-handler"],
        line: "capabilities.http_outgoing = [\"HOST\"]",
        covers: |capability| matches!(capability, Capability::HttpOutgoing { .. }),
    }),
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)?;
    http_error::link(linker)
}

/// What the manifest grants, for all instances of a replica.
pub(crate) struct OutgoingPolicy {
    allow: Vec<HostPattern>,
    tls: Arc<ClientConfig>,
}

impl OutgoingPolicy {
    pub(crate) fn new(capabilities: &[Capability], tls: Arc<ClientConfig>) -> Self {
        let allow = capabilities.iter().find_map(|capability| match capability {
            Capability::HttpOutgoing { allow } => Some(allow.clone()),
            _ => None,
        });
        Self {
            allow: allow.unwrap_or_default(),
            tls,
        }
    }

    fn covers(&self, destination: &Destination) -> bool {
        self.allow
            .iter()
            .any(|pattern| pattern.matches(&destination.host, destination.port))
    }
}

/// The outgoing side of one instance.
pub(crate) struct Outgoing {
    meter: Arc<Meter>,
    /// Made with the first request or socket.
    connections: Option<Arc<Semaphore>>,
}

/// A response, and what drives its connection until the body has arrived.
pub(super) type Sent = (
    Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl Outgoing {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            connections: None,
        }
    }

    /// The right to one more outgoing connection; none, and a breach, at the limit. Sockets take
    /// theirs here, too.
    pub(super) fn connection(&mut self) -> Option<OwnedSemaphorePermit> {
        let limit = self.meter.guest().limits.outbound_connections;
        let connections = self
            .connections
            .get_or_insert_with(|| Arc::new(Semaphore::new(usize::from(limit))));
        let permit = Arc::clone(connections).try_acquire_owned().ok();
        if permit.is_none() {
            self.meter.breach(&Breach::OutboundConnections { limit });
        }
        permit
    }

    pub(super) const fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// From now on `meter` is told. Connections that the guest left open still count.
    pub(crate) fn account_to(&mut self, meter: Arc<Meter>) {
        self.meter = meter;
    }

    fn try_send(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<impl Future<Output = Result<Sent, Error>> + Send + use<>, Error> {
        let destination = destination(request.uri())?;
        if !self.meter.guest().outgoing.covers(&destination) {
            let Destination { host, port, .. } = destination;
            self.meter.denied(Denial::HttpHost { host, port });
            return Err(Error::HttpRequestDenied);
        }
        let permit = self.connection().ok_or(Error::ConnectionLimitReached)?;
        let tls = Arc::clone(&self.meter.guest().outgoing.tls);
        Ok(send(request, options, destination, tls, permit))
    }
}

impl WasiHttpHooks for Outgoing {
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS_MAX
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processing: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        match self.try_send(request, options) {
            Ok(sending) => Box::new(sending),
            Err(error) => Box::new(std::future::ready(Err(error))),
        }
    }
}

/// Host and port exactly as they will be connected to. User names in an authority are refused:
/// they only serve to make one host look like another.
fn destination(uri: &Uri) -> Result<Destination, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(Error::HttpRequestUriInvalid);
    }
    let https = uri.scheme() == Some(&Scheme::HTTPS);
    let port = match authority.port() {
        Some(port) => port
            .as_str()
            .parse()
            .map_err(|_| Error::HttpRequestUriInvalid)?,
        None if https => 443,
        None => 80,
    };
    Ok(Destination {
        host: authority.host().to_owned(),
        port,
        https,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uri: &str) -> Option<(String, u16)> {
        destination(&uri.parse().unwrap())
            .ok()
            .map(|found| (found.host, found.port))
    }

    #[test]
    fn the_destination_is_what_is_matched_and_connected_to() {
        let found = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("https://a.example/x"), found("a.example", 443));
        assert_eq!(parsed("http://a.example/x"), found("a.example", 80));
        assert_eq!(parsed("http://[::1]:8080/"), found("[::1]", 8080));
        assert_eq!(parsed("https://good.example@evil.example/"), None);
        assert_eq!(parsed("/only/a/path"), None);
    }
}
