//! What an endpoint tells about its sessions.

use std::net::SocketAddr;

use types::NodeId;

use crate::close::CloseReason;
use crate::session::Session;

/// Something happened to a session, or kept one from being.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// A peer that had no session has one.
    Up(Session),
    /// A peer's session is over and no other has taken its place.
    Down {
        /// Whose.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A connection that came in ended before it was a session.
    Refused {
        /// Where it came from.
        remote: SocketAddr,
        /// Why; it also says which end refused.
        reason: CloseReason,
    },
}
