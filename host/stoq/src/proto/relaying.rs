//! What relays and those who use them say to each other: frames on the stream of a leg, and the
//! tag before each packet. What the packets carry is not known here.
//!
//! ```text
//! dialler            relay              target
//!    | Reach{target}   |                   |
//!    |---------------->| Carry{source}     |
//!    |                 |------------------>|
//!    |                 |             Ready |
//!    |           Ready |<------------------|
//!    |<----------------|                   |
//!    |  packets, either way, until a stream ends: then both end
//! ```
//!
//! A packet travels as a datagram of the service `relay`, `tag, u32 little endian | packet`; where
//! the path takes no datagram of its size, on the stream of the leg, `length, u16 little endian |
//! packet`.

use serde::{Deserialize, Serialize};
use types::NodeId;

/// Version of what relays speak.
pub const RELAY_VERSION: u16 = 1;

/// Largest of these frames: an identity and a few numbers.
pub const RELAY_FRAME_BYTES_MAX: usize = 64;

/// Largest number of a leg: a tag has one bit for something else.
pub const LEG_MAX: u32 = u32::MAX >> 1;

/// Bytes of the tag before a packet in a datagram.
pub const TAG_BYTES: usize = 4;

/// The first frames on the stream of a leg. New kinds are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayFrame {
    /// To a relay: bring packets to this node.
    Reach {
        /// The number of the leg, chosen by who opens its stream.
        leg: u32,
        /// Whom.
        target: NodeId,
    },
    /// From a relay: this node wants to bring packets. Who it really is, its handshake shows.
    Carry {
        /// The number of the leg, chosen by who opens its stream.
        leg: u32,
        /// Who, as the relay knows it.
        source: NodeId,
    },
    /// Packets may follow.
    Ready,
    /// None may.
    Refused(RelayRefusal),
}

/// Why a relay carries nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RelayRefusal {
    /// It cannot reach the target itself.
    #[error("it has no session with the target")]
    NoSession,
    /// It carries as much as it may.
    #[error("it relays for as many as it may")]
    Full,
    /// One of the two sessions is relayed itself.
    #[error("what is relayed is not relayed further")]
    Relayed,
    /// The target does not answer, or does not want to.
    #[error("the target does not take it")]
    Declined,
}

/// Says which leg of a connection a packet belongs to. Both ends open legs, so a number is good
/// together with who opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The number of the leg, at most [`LEG_MAX`].
    pub leg: u32,
    /// Whether the sender opened the stream of the leg.
    pub by_opener: bool,
}

impl Tag {
    /// As it travels.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; TAG_BYTES] {
        (self.leg << 1 | self.by_opener as u32).to_le_bytes()
    }

    /// The tag and the packet of a datagram; `None` if it is too short.
    #[must_use]
    pub fn split(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let (tag, packet) = datagram.split_first_chunk::<TAG_BYTES>()?;
        let tag = u32::from_le_bytes(*tag);
        let tag = Self {
            leg: tag >> 1,
            by_opener: tag & 1 == 1,
        };
        Some((tag, packet))
    }

    /// What the other end of the leg sends.
    #[must_use]
    pub const fn answer(self) -> Self {
        Self {
            leg: self.leg,
            by_opener: !self.by_opener,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{PREFIX_BYTES, encode};

    #[test]
    fn the_bytes_never_change() {
        let node = NodeId::from_bytes([7; 32]);
        let body = |frame| encode(frame, RELAY_FRAME_BYTES_MAX).unwrap()[PREFIX_BYTES..].to_vec();
        let reach = body(RelayFrame::Reach {
            leg: 300,
            target: node,
        });
        assert_eq!(reach[..4], [0, 0, 0xac, 2]);
        assert_eq!(reach[4..], [7; 32]);
        let carry = body(RelayFrame::Carry {
            leg: 5,
            source: node,
        });
        assert_eq!(carry[..3], [0, 1, 5]);
        assert_eq!(body(RelayFrame::Ready), [0, 2]);
        let refused = body(RelayFrame::Refused(RelayRefusal::Declined));
        assert_eq!(refused, [0, 3, 3]);
        let tag = Tag {
            leg: 3,
            by_opener: true,
        };
        assert_eq!(tag.to_bytes(), [7, 0, 0, 0]);
        assert_eq!(tag.answer().to_bytes(), [6, 0, 0, 0]);
    }

    #[test]
    fn a_tag_is_read_as_it_was_written() {
        for (leg, by_opener) in [(0, true), (LEG_MAX, false), (77, true)] {
            let tag = Tag { leg, by_opener };
            let datagram = [&tag.to_bytes()[..], b"packet"].concat();
            assert_eq!(Tag::split(&datagram), Some((tag, &b"packet"[..])));
        }
        assert_eq!(Tag::split(&[1, 2, 3]), None);
    }
}
