//! What two hellos lead to: an agreement and a claim, or the reason why there is no session.

use types::NodeId;

use super::control::ControlFrame;
use super::hello::{Agreed, Hello, NegotiateError};
use super::survivor::Claim;

/// Who dialled a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialler {
    /// This node.
    Us(NodeId),
    /// The peer.
    Peer(NodeId),
}

/// The first frame of the peer was not the hello that makes a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetError {
    /// The peer does not want this node.
    #[error("refused by the peer: {text} (code {code})")]
    Refused {
        /// Its authority's code.
        code: u32,
        /// Its authority's words.
        text: String,
    },
    /// Another kind of frame came first.
    #[error("the first frame is no hello")]
    NoHello,
    /// No protocol in common.
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
}

/// What follows from `ours` and the peer's first frame, `theirs`, on a connection that is `relayed`
/// or not.
///
/// # Errors
/// [`GreetError`]; there is no session then.
pub fn greet(
    ours: &Hello,
    theirs: ControlFrame,
    dialler: Dialler,
    relayed: bool,
) -> Result<(Agreed, Claim), GreetError> {
    let theirs = match theirs {
        ControlFrame::Hello(hello) => hello,
        ControlFrame::Refusal { code, text } => return Err(GreetError::Refused { code, text }),
        ControlFrame::Credentials(_) => return Err(GreetError::NoHello),
    };
    let agreed = ours.negotiate(&theirs)?;
    let (dialler, attempt) = match dialler {
        Dialler::Us(node) => (node, ours.attempt),
        Dialler::Peer(node) => (node, theirs.attempt),
    };
    let claim = Claim {
        dialler,
        attempt,
        peer_incarnation: theirs.incarnation,
        relayed,
    };
    Ok((agreed, claim))
}
