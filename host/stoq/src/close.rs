//! Why connections end, and the numbers that say so on the wire.

use quinn::{ConnectionError, VarInt};

use crate::authority::PeerRefusal;
use crate::proto::{GreetError, bounded_text};

const SHUTDOWN: u32 = 1;
const REPLACED: u32 = 2;
const PROTOCOL: u32 = 3;
const FULL: u32 = 4;
/// Codes of authorities begin here and are cut to 29 bits, as QUIC's numbers have 62 and quinn's
/// plain ones 32.
const REFUSED_FIRST: u32 = 1 << 16;
const REFUSED_MASK: u32 = (1 << 29) - 1;

/// Which end closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closer {
    /// This one.
    Us,
    /// The other one.
    Peer,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// One end wanted it, for instance because it stops.
    #[error("closed by {by}: {text}")]
    Shutdown {
        /// Which end.
        by: Closer,
        /// Its words.
        text: String,
    },
    /// Another connection of the same two nodes took its place.
    #[error("replaced by another connection of the same two nodes")]
    Replaced,
    /// An authority refused the peer.
    #[error("refused by {by}: {text} (code {code})")]
    Refused {
        /// Which end's authority.
        by: Closer,
        /// The authority's code.
        code: u32,
        /// The authority's words.
        text: String,
    },
    /// One end broke the protocol, or speaks another.
    #[error("protocol error found by {by}: {text}")]
    Protocol {
        /// Which end found it.
        by: Closer,
        /// What it found.
        text: String,
    },
    /// The end that closed has no place for more sessions.
    #[error("closed by {by}: too many sessions")]
    Full {
        /// Which end.
        by: Closer,
    },
    /// The peer fell silent or was started again, or the network between is gone.
    #[error("lost: {text}")]
    Lost {
        /// What QUIC says.
        text: String,
    },
}

impl std::fmt::Display for Closer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Us => "this node",
            Self::Peer => "the peer",
        })
    }
}

impl CloseReason {
    /// This node's refusal.
    pub(crate) fn refused(refusal: &PeerRefusal) -> Self {
        Self::Refused {
            by: Closer::Us,
            code: refusal.code & REFUSED_MASK,
            text: bounded_text(&refusal.text),
        }
    }

    /// Why the peer's first frame led to no session.
    pub(crate) fn ungreeted(error: GreetError) -> Self {
        match error {
            GreetError::Refused { code, text } => {
                let by = Closer::Peer;
                let text = bounded_text(&text);
                Self::Refused { by, code, text }
            }
            other => Self::protocol(other),
        }
    }

    /// This node's finding.
    pub(crate) fn protocol(finding: impl ToString) -> Self {
        Self::Protocol {
            by: Closer::Us,
            text: bounded_text(&finding.to_string()),
        }
    }

    /// What travels in the closing frame.
    pub(crate) fn to_wire(&self) -> (VarInt, &str) {
        let (code, text) = match self {
            Self::Shutdown { text, .. } => (SHUTDOWN, text.as_str()),
            Self::Replaced => (REPLACED, ""),
            Self::Refused { code, text, .. } => (REFUSED_FIRST + (code & REFUSED_MASK), &**text),
            Self::Protocol { text, .. } => (PROTOCOL, text.as_str()),
            Self::Full { .. } => (FULL, ""),
            Self::Lost { text } => (0, text.as_str()),
        };
        (VarInt::from_u32(code), text)
    }

    /// What a connection's end means, unless this node ended it.
    pub(crate) fn from_error(error: &ConnectionError) -> Self {
        let by = Closer::Peer;
        let ConnectionError::ApplicationClosed(close) = error else {
            return Self::Lost {
                text: error.to_string(),
            };
        };
        let text = bounded_text(&String::from_utf8_lossy(&close.reason));
        let code = u32::try_from(close.error_code.into_inner()).unwrap_or(0);
        match code {
            SHUTDOWN => Self::Shutdown { by, text },
            REPLACED => Self::Replaced,
            PROTOCOL => Self::Protocol { by, text },
            FULL => Self::Full { by },
            code if code >= REFUSED_FIRST => Self::Refused {
                by,
                code: code - REFUSED_FIRST,
                text,
            },
            _ => Self::Lost { text },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_reads_what_this_end_closed_with() {
        let text = "x".to_owned();
        let (us, peer) = (Closer::Us, Closer::Peer);
        let told = |by| {
            [
                CloseReason::Shutdown {
                    by,
                    text: text.clone(),
                },
                CloseReason::Replaced,
                CloseReason::Refused {
                    by,
                    code: 70_000,
                    text: text.clone(),
                },
                CloseReason::Protocol {
                    by,
                    text: text.clone(),
                },
                CloseReason::Full { by },
            ]
        };
        for (said, heard) in told(us).into_iter().zip(told(peer)) {
            let (error_code, reason) = said.to_wire();
            let error = ConnectionError::ApplicationClosed(quinn::ApplicationClose {
                error_code,
                reason: reason.to_owned().into(),
            });
            assert_eq!(CloseReason::from_error(&error), heard);
        }
    }
}
