//! What an endpoint needs to begin.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use quinn::AsyncUdpSocket;
use tokio::sync::mpsc;
use types::NodeId;

use crate::authority::PeerAuthority;
use crate::bounds::{INBOUND_DATAGRAMS_MAX, INBOUND_STREAMS_MAX};
use crate::credentials::{Credentials, CredentialsError};
use crate::inbound::{InboundDatagram, InboundStream};
use crate::proto::Service;

/// An endpoint to be: who it is, where it listens, whom it asks, what it serves.
pub struct Config {
    pub(crate) node: NodeId,
    pub(crate) bind: SocketAddr,
    pub(crate) credentials: Credentials,
    pub(crate) authority: Arc<dyn PeerAuthority>,
    pub(crate) reset_secret: Option<[u8; 32]>,
    pub(crate) socket: Option<Arc<dyn AsyncUdpSocket>>,
    pub(crate) services: [Served; Service::ALL.len()],
}

/// Where inbound streams and datagrams of one service go.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) streams: Option<(RangeInclusive<u16>, mpsc::Sender<InboundStream>)>,
    pub(crate) datagrams: Option<mpsc::Sender<InboundDatagram>>,
}

/// An endpoint that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be bound, for instance because another program has it.
    #[error("UDP {address}: {source}")]
    Socket {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// TLS refuses its settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Config {
    /// An endpoint of `node` at `bind` that serves nothing yet. `[::]:PORT` listens for IPv4 too.
    #[must_use]
    pub fn new(
        node: NodeId,
        bind: SocketAddr,
        credentials: Credentials,
        authority: Arc<dyn PeerAuthority>,
    ) -> Self {
        Self {
            node,
            bind,
            credentials,
            authority,
            reset_secret: None,
            socket: None,
            services: Default::default(),
        }
    }

    /// Keeps what recognises packets of sessions from before a restart: with the same secret as
    /// then, their peers are told at once that those sessions are gone (RFC 9000, 10.3), instead of
    /// waiting for silence. Whoever has it can end sessions.
    pub const fn reset_secret(&mut self, secret: [u8; 32]) {
        self.reset_secret = Some(secret);
    }

    /// Sends and receives through `socket` instead of one of the system's: the address to bind is
    /// not heeded then. For networks that are simulated; timers follow tokio's clock, so a paused
    /// one simulates time as well.
    pub fn socket(&mut self, socket: Arc<dyn AsyncUdpSocket>) {
        self.socket = Some(socket);
    }

    /// Serves streams of `service` in these versions of its own protocol; they arrive here.
    #[must_use = "a service whose receiver is dropped refuses every stream"]
    pub fn streams(
        &mut self,
        service: Service,
        versions: RangeInclusive<u16>,
    ) -> mpsc::Receiver<InboundStream> {
        let (sender, receiver) = mpsc::channel(INBOUND_STREAMS_MAX);
        if let Some(served) = self.services.get_mut(service.index()) {
            served.streams = Some((versions, sender));
        }
        receiver
    }

    /// Takes datagrams of `service`; they arrive here.
    #[must_use = "datagrams are lost when their receiver is dropped"]
    pub fn datagrams(&mut self, service: Service) -> mpsc::Receiver<InboundDatagram> {
        let (sender, receiver) = mpsc::channel(INBOUND_DATAGRAMS_MAX);
        if let Some(served) = self.services.get_mut(service.index()) {
            served.datagrams = Some(sender);
        }
        receiver
    }
}
