//! What may be done with a region of memory, or with a volume: rights, bytes, time, by whom. Knows no
//! region, no signature and no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// What is done with bytes of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionRight {
    /// Seeing them.
    Read,
    /// Replacing them unseen.
    Write,
    /// Replacing them if they are as expected, and seeing them if they are not.
    Swap,
}

/// A set of rights, written `read+write+swap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionRights {
    /// Whether bytes may be seen.
    pub read: bool,
    /// Whether bytes may be replaced unseen.
    pub write: bool,
    /// Whether bytes may be compared and swapped.
    pub swap: bool,
}

/// Which node may use a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Any member of the fabric.
    Member,
    /// This one.
    Node(NodeId),
}

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionScope {
    /// What may be done.
    pub rights: RegionRights,
    /// With the bytes from this one on.
    pub from: u64,
    /// Up to this one, without it.
    pub until: u64,
    /// Until ledger time reaches this, Unix milliseconds.
    pub expires_ms: u64,
    /// By whom.
    pub audience: Audience,
}

/// Where a scope allows what the one that it was made of does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Widening {
    /// More rights.
    #[error("rights")]
    Rights,
    /// Other bytes.
    #[error("bytes")]
    Bytes,
    /// More time.
    #[error("time")]
    Time,
    /// Other nodes.
    #[error("nodes")]
    Audience,
}

impl RegionScope {
    /// All of a volume, which has no parts, with these rights until then. Nothing of a volume is compared
    /// and swapped.
    #[must_use]
    pub const fn volume(read: bool, write: bool, expires_ms: u64, audience: Audience) -> Self {
        Self {
            rights: RegionRights {
                read,
                write,
                swap: false,
            },
            from: 0,
            until: u64::MAX,
            expires_ms,
            audience,
        }
    }
}

impl RegionRights {
    /// Every right.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        swap: true,
    };

    /// Whether `right` is among them.
    #[must_use]
    pub const fn has(self, right: RegionRight) -> bool {
        match right {
            RegionRight::Read => self.read,
            RegionRight::Write => self.write,
            RegionRight::Swap => self.swap,
        }
    }

    /// The rights as the bits of a byte, read lowest.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.read as u8 | (self.write as u8) << 1 | (self.swap as u8) << 2
    }

    /// The rights of these bits; none for bits that no right has.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits > 0b111 {
            return None;
        }
        Some(Self {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
            swap: bits & 4 != 0,
        })
    }

    const fn is_within(self, outer: Self) -> bool {
        self.bits() & !outer.bits() == 0
    }
}

impl fmt::Display for RegionRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Swap => "swap",
        })
    }
}

impl fmt::Display for RegionRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [RegionRight::Read, RegionRight::Write, RegionRight::Swap];
        let words = all.into_iter().filter(|right| self.has(*right));
        let words: Vec<_> = words.map(|right| right.to_string()).collect();
        f.pad(&if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join("+")
        })
    }
}

impl Audience {
    /// Whether `node`, a member, is meant.
    #[must_use]
    pub fn admits(&self, node: &NodeId) -> bool {
        match self {
            Self::Member => true,
            Self::Node(only) => only == node,
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member => f.write_str("any member"),
            Self::Node(node) => write!(f, "node {}", node.short()),
        }
    }
}

impl RegionScope {
    /// Whether this allows nothing that `outer` does not.
    ///
    /// # Errors
    /// [`Widening`] names the first thing in which it does.
    pub fn narrows(&self, outer: &Self) -> Result<(), Widening> {
        if !self.rights.is_within(outer.rights) {
            return Err(Widening::Rights);
        }
        if self.from < outer.from || self.until > outer.until {
            return Err(Widening::Bytes);
        }
        if self.expires_ms > outer.expires_ms {
            return Err(Widening::Time);
        }
        match outer.audience {
            Audience::Node(_) if self.audience != outer.audience => Err(Widening::Audience),
            _ => Ok(()),
        }
    }

    /// Whether `bytes` bytes from `offset` on are within it.
    #[must_use]
    pub fn covers(&self, offset: u64, bytes: u64) -> bool {
        let end = offset.checked_add(bytes);
        offset >= self.from && end.is_some_and(|end| end <= self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> RegionScope {
        RegionScope {
            rights: RegionRights::ALL,
            from: 8,
            until: 64,
            expires_ms: 100,
            audience: Audience::Member,
        }
    }

    #[test]
    fn a_scope_is_narrowed_in_every_dimension_and_widened_in_none() {
        let outer = scope();
        assert_eq!(outer.narrows(&outer), Ok(()));
        let with = |change: fn(&mut RegionScope)| {
            let mut inner = scope();
            change(&mut inner);
            (inner.narrows(&scope()), scope().narrows(&inner))
        };
        let narrower = |change| with(change).0;
        assert_eq!(narrower(|it| it.rights.write = false), Ok(()));
        assert_eq!(narrower(|it| (it.from, it.until) = (16, 24)), Ok(()));
        assert_eq!(narrower(|it| it.expires_ms = 99), Ok(()));
        let node = NodeId::from_bytes([1; 32]);
        let mut only = scope();
        only.audience = Audience::Node(node);
        assert_eq!(only.narrows(&outer), Ok(()));
        assert_eq!(outer.narrows(&only), Err(Widening::Audience));
        let mut other = scope();
        other.audience = Audience::Node(NodeId::from_bytes([2; 32]));
        assert_eq!(other.narrows(&only), Err(Widening::Audience));
        let wider = |change| with(change).1;
        assert_eq!(wider(|it| it.rights.swap = false), Err(Widening::Rights));
        assert_eq!(wider(|it| it.from = 9), Err(Widening::Bytes));
        assert_eq!(wider(|it| it.until = 63), Err(Widening::Bytes));
        assert_eq!(wider(|it| it.expires_ms = 99), Err(Widening::Time));
    }

    #[test]
    fn bytes_are_covered_to_their_very_ends() {
        let scope = scope();
        assert!(scope.covers(8, 56) && scope.covers(63, 1) && scope.covers(64, 0));
        assert!(!scope.covers(7, 1) && !scope.covers(63, 2) && !scope.covers(65, 0));
        assert!(!scope.covers(u64::MAX, 2));
    }

    #[test]
    fn rights_have_one_byte_and_one_text() {
        for bits in 0..8 {
            let rights = RegionRights::from_bits(bits).unwrap();
            assert_eq!(rights.bits(), bits);
        }
        assert_eq!(RegionRights::from_bits(8), None);
        assert_eq!(RegionRights::ALL.to_string(), "read+write+swap");
        let none = RegionRights::from_bits(0).unwrap();
        assert_eq!(none.to_string(), "nothing");
    }
}
