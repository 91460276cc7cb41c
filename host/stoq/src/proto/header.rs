//! The first frame of each direction of a stream: the header of the one who opens it, the reply of
//! the one who is asked.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame::{FrameError, decode, encode};
use super::service::Service;
use crate::bounds::{HEADER_BYTES_MAX, REFUSAL_TEXT_BYTES_MAX};

/// Ties together what one request causes on several nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceId(pub [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of the shortest header's body: one each for the frame's version and the five fields.
/// Whoever reads a header can ask for these along with the length.
pub const HEADER_BODY_BYTES_MIN: usize = 6;

/// Bytes of the shortest reply's body: the frame's version and which reply it is.
pub const REPLY_BODY_BYTES_MIN: usize = 2;

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// Who is asked.
    pub service: Service,
    /// Version of the service's own protocol.
    pub version: u16,
    /// Time that was left when the header was made: the stream is reset when it has passed.
    pub deadline: Option<Duration>,
    /// The request that this stream belongs to.
    pub trace: Option<TraceId>,
    /// Whether asking twice has the effect of asking once: only then may the request travel before
    /// the handshake has ended, where it can be replayed.
    pub idempotent: bool,
}

/// The header as it travels: a service that this build does not know must still decode.
#[derive(Serialize, Deserialize)]
struct WireHeader {
    service: u8,
    version: u16,
    deadline_ms: Option<u32>,
    trace: Option<TraceId>,
    idempotent: bool,
}

/// A first frame that is no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A service that this build does not know: the stream is refused, the session lives on.
    #[error("service {number} is unknown here")]
    UnknownService {
        /// The number on the wire.
        number: u8,
    },
}

impl StreamHeader {
    /// The header as a frame. Deadlines beyond 49 days are cut to that.
    ///
    /// # Errors
    /// Never in practice: a header is far below its bound.
    pub fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        let deadline_ms = self
            .deadline
            .map(|left| u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
        let wire = WireHeader {
            service: self.service.number(),
            version: self.version,
            deadline_ms,
            trace: self.trace,
            idempotent: self.idempotent,
        };
        encode(wire, HEADER_BYTES_MAX)
    }

    /// The header of a frame's `body`.
    ///
    /// # Errors
    /// [`HeaderError`] says whether the session or only the stream is at fault.
    pub fn from_body(body: &[u8]) -> Result<Self, HeaderError> {
        let wire: WireHeader = decode(body)?;
        let number = wire.service;
        let service = Service::from_number(number).ok_or(HeaderError::UnknownService { number })?;
        Ok(Self {
            service,
            version: wire.version,
            deadline: wire
                .deadline_ms
                .map(|left| Duration::from_millis(u64::from(left))),
            trace: wire.trace,
            idempotent: wire.idempotent,
        })
    }
}

/// Why a stream was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The service is unknown or nobody serves it there.
    UnknownService,
    /// The service does not speak this version.
    UnknownVersion,
    /// The peer may not open this service.
    NotPermitted,
    /// Too many streams at the moment: try again later.
    Busy,
    /// The request could be a replay and is not marked idempotent.
    Replayable,
    /// The service itself said no.
    Declined,
    /// The header did not decode.
    BadHeader,
    /// A newer peer's reason.
    Other(u16),
}

impl RefusalCode {
    const TABLE: [(Self, u16); 7] = [
        (Self::UnknownService, 1),
        (Self::UnknownVersion, 2),
        (Self::NotPermitted, 3),
        (Self::Busy, 4),
        (Self::Replayable, 5),
        (Self::Declined, 6),
        (Self::BadHeader, 7),
    ];

    /// The number on the wire; it never changes.
    #[must_use]
    pub fn number(self) -> u16 {
        if let Self::Other(number) = self {
            return number;
        }
        Self::TABLE
            .iter()
            .find(|(code, _)| *code == self)
            .map_or(0, |(_, number)| *number)
    }

    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        Self::TABLE
            .iter()
            .find(|(_, known)| *known == number)
            .map_or(Self::Other(number), |(code, _)| *code)
    }
}

/// A stream that was refused; the session lives on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream was refused ({code:?}): {text}")]
pub struct StreamRefusal {
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, for people; at most 256 bytes.
    pub text: String,
}

/// The answer to a header; it comes before the first data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamReply {
    /// The service has the stream.
    Accepted,
    /// Nobody has the stream.
    Refused(StreamRefusal),
}

#[derive(Serialize, Deserialize)]
enum WireReply {
    Accepted,
    Refused { code: u16, text: String },
}

impl StreamReply {
    /// The reply as a frame; its text is cut to the bound.
    ///
    /// # Errors
    /// Never in practice: a reply is below its bound.
    pub fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        let wire = match self {
            Self::Accepted => WireReply::Accepted,
            Self::Refused(refusal) => WireReply::Refused {
                code: refusal.code.number(),
                text: bounded_text(&refusal.text),
            },
        };
        encode(wire, HEADER_BYTES_MAX)
    }

    /// The reply of a frame's `body`.
    ///
    /// # Errors
    /// [`FrameError`] if the bytes are no reply.
    pub fn from_body(body: &[u8]) -> Result<Self, FrameError> {
        match decode(body)? {
            WireReply::Accepted => Ok(Self::Accepted),
            WireReply::Refused { text, .. } if text.len() > REFUSAL_TEXT_BYTES_MAX => {
                Err(FrameError::TooLong {
                    bytes: text.len(),
                    max: REFUSAL_TEXT_BYTES_MAX,
                })
            }
            WireReply::Refused { code, text } => Ok(Self::Refused(StreamRefusal {
                code: RefusalCode::from_number(code),
                text,
            })),
        }
    }
}

/// As much of `text` as a refusal may carry, cut between characters.
#[must_use]
pub fn bounded_text(text: &str) -> String {
    let mut end = text.len().min(REFUSAL_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
