//! What can be asked of a leased link, and the answers, here and on the wire. The order of variants and
//! fields is wire format.
//!
//! A stream of a link is asked one thing. After [`LinkDone::Connected`] it carries what the connection
//! does, byte by byte, each way until that is finished.

use serde::{Deserialize, Serialize};

/// Longest name of a host: that of DNS, or an address in brackets.
pub const HOST_BYTES_MAX: usize = 255;

/// One thing that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkOp {
    /// Connects.
    Connect {
        /// To this host, at most [`HOST_BYTES_MAX`] bytes.
        host: String,
        /// At this port.
        port: u16,
    },
    /// Asks what it carried and how long it lasts.
    Usage,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkDone {
    /// There is a connection.
    Connected,
    /// What there is.
    Usage {
        /// Bytes per second that were leased.
        bytes_per_s: u64,
        /// Bytes that went out.
        sent_bytes: u64,
        /// Bytes that came in.
        received_bytes: u64,
        /// Connections that are open.
        connections: u32,
        /// How long its lease is certainly live, milliseconds.
        left_ms: u64,
    },
}

/// What was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LinkError {
    /// The lease is over, or was given back.
    #[error("the lease of the link has ended")]
    Ended,
    /// Nobody may dial there from here.
    #[error(
        "the operator of the node that has the lease does not let others dial this address from there: `nexus up --dial-for-leases HOST:PORT` does"
    )]
    NotAllowed,
    /// As many connections as a link has.
    #[error("the link has as many connections as it may: {0}")]
    TooMany(u32),
    /// No host has such a name.
    #[error("this is no name of a host")]
    NoHost,
    /// It did not answer.
    #[error("{0}")]
    Failed(String),
}

/// The answer.
pub type LinkAnswer = Result<LinkDone, LinkError>;
