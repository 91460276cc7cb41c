//! What the runtime tells its embedder while guests run. Keeps nothing itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use types::Topic;

use crate::errors::{Breach, CallError};
use crate::frame::WasmFrame;

/// Which output a guest wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// What a call was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallKind {
    /// An HTTP request.
    Http,
    /// A run of a command.
    Command,
    /// An invocation of this export.
    Invoke(Arc<str>),
    /// A message to a worker.
    Message,
    /// The instantiation that a replica is tried with before it counts as started.
    Trial,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// The guest returned.
    Completed,
    /// A command exited with this status.
    Exited(u8),
    /// It failed.
    Failed(CallError),
    /// The caller went away; the guest was stopped.
    Cancelled,
}

/// What one call used.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// What it was for.
    pub kind: CallKind,
    /// How long it waited for that place.
    pub queued: Duration,
    /// From its place to its end.
    pub wall: Duration,
    /// Time on a thread, of guest and host functions.
    pub cpu: Duration,
    /// Fuel, if the component has a budget.
    pub fuel_used: Option<u64>,
    /// Most memory, over all memories of the instance.
    pub memory_peak_bytes: u64,
    /// Where the guest was when a limit stopped it while it computed, innermost frame first; a
    /// guest that waited for something has no such place.
    pub stopped_at: Vec<WasmFrame>,
    /// How it ended.
    pub outcome: CallOutcome,
}

/// A right that a guest used without having it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// An outgoing request to a host that no pattern covers.
    HttpHost {
        /// The host as the guest named it.
        host: String,
        /// The port, given or implied by the scheme.
        port: u16,
    },
    /// A message to a topic that is not granted.
    Publish {
        /// The topic.
        topic: Topic,
    },
    /// A connection over leased transport to what no pattern covers.
    Link {
        /// The host as the guest named it.
        host: String,
        /// The port.
        port: u16,
    },
    /// A use of a socket that no pattern covers, or that nothing can grant.
    Socket(SocketUse),
}

/// What a guest wanted of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketUse {
    /// To have a TCP socket at all.
    TcpOpen,
    /// To connect.
    TcpConnect(SocketAddr),
    /// To have this local port.
    TcpBind(SocketAddr),
    /// To accept connections.
    TcpListen(SocketAddr),
    /// To have a UDP socket at all.
    UdpOpen,
    /// To have this local port.
    UdpBind(SocketAddr),
    /// To send there.
    UdpSend(SocketAddr),
    /// To know the addresses of this name.
    Lookup(String),
}

impl SocketUse {
    /// The manifest's name of the right that it needs.
    #[must_use]
    pub const fn capability(&self) -> &'static str {
        match self {
            Self::TcpOpen | Self::TcpConnect(_) | Self::TcpBind(_) | Self::TcpListen(_) => "tcp",
            Self::UdpOpen | Self::UdpBind(_) | Self::UdpSend(_) => "udp",
            Self::Lookup(_) => "name-lookup",
        }
    }
}

impl fmt::Display for SocketUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIXED: &str = "nothing grants a local port";
        match self {
            Self::TcpOpen => f.write_str("TCP socket denied: capabilities.tcp is not there"),
            Self::TcpConnect(to) => {
                write!(
                    f,
                    "TCP connection to {to} denied: capabilities.tcp does not cover it"
                )
            }
            Self::TcpBind(at) => write!(f, "TCP socket at {at} denied: {FIXED}"),
            Self::TcpListen(at) => write!(f, "listening at {at} denied: nothing grants it"),
            Self::UdpOpen => f.write_str("UDP socket denied: capabilities.udp is not there"),
            Self::UdpBind(at) => write!(f, "UDP socket at {at} denied: {FIXED}"),
            Self::UdpSend(to) => {
                write!(
                    f,
                    "datagram to {to} denied: capabilities.udp does not cover it"
                )
            }
            Self::Lookup(name) => write!(
                f,
                "lookup of `{name}` denied: neither capabilities.tcp nor capabilities.udp covers it"
            ),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HttpHost { host, port } => write!(
                f,
                "request to {host}:{port} denied: capabilities.http_outgoing does not list it"
            ),
            Self::Publish { topic } => {
                write!(
                    f,
                    "message to {topic} denied: capabilities.publish does not list it"
                )
            }
            Self::Link { host, port } => write!(
                f,
                "connection over a link to {host}:{port} denied: capabilities.tcp does not cover it"
            ),
            Self::Socket(wish) => wish.fmt(f),
        }
    }
}

/// Receives what happens in one replica's instances.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Observer: Send + Sync + 'static {
    /// Output of a guest: bytes as written, not lines.
    fn log(&self, stream: LogStream, bytes: &[u8]);
    /// A limit was reached: once per kind and call, for logs once per flood.
    fn breach(&self, breach: Breach);
    /// A call ended, in whatever way.
    fn call(&self, record: CallRecord);
    /// A guest was refused something that it has no right to.
    fn denied(&self, what: Denial);
}
