//! The first frame of a session: which protocol and features both ends speak.

use serde::{Deserialize, Serialize};

/// The newest protocol of this build, and so far the only one.
pub const PROTOCOL: u16 = 1;

/// The optional features of this build, one bit each. None is defined yet.
pub const FEATURES: u64 = 0;

/// What each end says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest protocol that it speaks.
    pub protocol_min: u16,
    /// Newest protocol that it speaks.
    pub protocol_max: u16,
    /// Features that it knows, one bit each; unknown bits are ignored.
    pub features: u64,
    /// Drawn at its start: another number means that it was started again.
    pub incarnation: u64,
    /// Counts its dials, so that both ends agree which of two is the later.
    pub attempt: u64,
}

/// What both ends speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The newest protocol that both know.
    pub protocol: u16,
    /// The features that both know.
    pub features: u64,
}

/// No protocol in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no protocol in common: this node speaks {own_min} to {own_max}, the peer {peer_min} to \
     {peer_max}; update the older one"
)]
pub struct NegotiateError {
    /// Oldest of this node.
    pub own_min: u16,
    /// Newest of this node.
    pub own_max: u16,
    /// Oldest of the peer.
    pub peer_min: u16,
    /// Newest of the peer.
    pub peer_max: u16,
}

impl Hello {
    /// What this build says.
    #[must_use]
    pub const fn new(incarnation: u64, attempt: u64) -> Self {
        Self {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            features: FEATURES,
            incarnation,
            attempt,
        }
    }

    /// What this end and `peer` have in common. Both ends come to the same result.
    ///
    /// # Errors
    /// [`NegotiateError`] if the ranges do not meet.
    pub fn negotiate(&self, peer: &Self) -> Result<Agreed, NegotiateError> {
        let protocol = self.protocol_max.min(peer.protocol_max);
        let oldest = self.protocol_min.max(peer.protocol_min);
        if protocol < oldest {
            return Err(NegotiateError {
                own_min: self.protocol_min,
                own_max: self.protocol_max,
                peer_min: peer.protocol_min,
                peer_max: peer.protocol_max,
            });
        }
        Ok(Agreed {
            protocol,
            features: self.features & peer.features,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(protocol_min: u16, protocol_max: u16, features: u64) -> Hello {
        Hello {
            protocol_min,
            protocol_max,
            features,
            ..Hello::new(1, 1)
        }
    }

    #[test]
    fn the_newest_common_protocol_wins() {
        let (old, new) = (speaks(1, 2, 0b011), speaks(2, 5, 0b110));
        let agreed = Agreed {
            protocol: 2,
            features: 0b010,
        };
        assert_eq!(old.negotiate(&new), Ok(agreed));
        assert_eq!(new.negotiate(&old), Ok(agreed));
        assert!(speaks(3, 5, 0).negotiate(&old).is_err());
        // A range that is upside down meets nothing.
        assert!(speaks(5, 1, 0).negotiate(&new).is_err());
    }
}
