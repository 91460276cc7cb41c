//! Capabilities for volumes: the key of a volume and, for each member, the capability for its lease.
//! Knows no layout but its numbers, and no member.
//!
//! ```text
//! version (1) | pieces that make a block (1) | members (1) | key (32)
//! members: each length (2, big endian), then the bytes of its capability; 0 where there is none
//! ```
//!
//! The text is `hmv1` and base32 of these bytes and a check, as a lease's capability is written. One
//! capability has one form of either. Whoever has the key can read what members give; what members give
//! is up to the capabilities.

use std::fmt;
use std::str::FromStr;

use types::{Digest, RegionScope};
use zeroize::Zeroizing;

use crate::capability::{LeaseCapability, NarrowError};
use crate::capability_bytes::{
    DecodeCapabilityError, Reader, armoured, text_bytes_max, unarmoured,
};

const PREFIX: &str = "hmv1";
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;

/// The right to use a volume, as far as its members' capabilities go. `Debug` shows no secret.
#[derive(Clone)]
pub struct VolumeCapability {
    /// Pieces that make a block.
    pub data: u8,
    /// What seals pieces. Never goes to a member.
    pub key: Zeroizing<[u8; KEY_BYTES]>,
    /// The members in their order, at most [`VolumeCapability::MEMBERS_MAX`]; none for one that is gone.
    pub members: Vec<Option<LeaseCapability>>,
}

/// A volume that was not shared.
#[derive(Debug, thiserror::Error)]
#[error("member {member}: {source}")]
pub struct ShareVolumeError {
    /// Counted from 0.
    pub member: usize,
    /// Why.
    pub source: NarrowError,
}

impl VolumeCapability {
    /// Most members.
    pub const MEMBERS_MAX: usize = 14;
    /// Longest binary form.
    pub const BYTES_MAX: usize =
        3 + KEY_BYTES + Self::MEMBERS_MAX * (2 + LeaseCapability::BYTES_MAX);
    /// Longest text.
    pub const TEXT_BYTES_MAX: usize = text_bytes_max(PREFIX, Self::BYTES_MAX);

    /// The capability for a volume of which `data` pieces make a block.
    #[must_use]
    pub fn new(data: u8, key: [u8; KEY_BYTES], members: Vec<Option<LeaseCapability>>) -> Self {
        let key = Zeroizing::new(key);
        Self { data, key, members }
    }

    /// The same, narrowed at each member.
    ///
    /// # Errors
    /// [`ShareVolumeError`].
    pub fn narrowed(&self, scope: RegionScope) -> Result<Self, ShareVolumeError> {
        let mut narrowed = self.clone();
        for (member, capability) in narrowed.members.iter_mut().enumerate() {
            if let Some(capability) = capability {
                let narrower = capability.narrowed(scope);
                *capability = narrower.map_err(|source| ShareVolumeError { member, source })?;
            }
        }
        Ok(narrowed)
    }

    /// What all members give; none if they differ, or there are none.
    #[must_use]
    pub fn scope(&self) -> Option<&RegionScope> {
        let mut scopes = self.members.iter().flatten().map(LeaseCapability::scope);
        let first = scopes.next()??;
        scopes.all(|scope| scope == Some(first)).then_some(first)
    }

    /// The ids of its members' capabilities, in the order of members.
    #[must_use]
    pub fn ids(&self) -> Vec<Option<Digest>> {
        let ids = self.members.iter().map(|member| member.as_ref()?.id());
        ids.collect()
    }

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::BYTES_MAX));
        let count = u8::try_from(self.members.len()).unwrap_or(u8::MAX);
        bytes.extend([VERSION, self.data, count]);
        bytes.extend_from_slice(self.key.as_slice());
        for member in &self.members {
            let capability = member.as_ref().map(LeaseCapability::encode);
            let capability = capability.unwrap_or_default();
            let length = u16::try_from(capability.len()).unwrap_or(u16::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend_from_slice(&capability);
        }
        bytes
    }

    /// Reads the binary form. Whether there is such a layout, and what members give, is for others to say.
    ///
    /// # Errors
    /// [`DecodeCapabilityError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeCapabilityError> {
        let mut reader = Reader(bytes);
        let [version, data, count] = reader.take()?;
        if version != VERSION {
            return Err(DecodeCapabilityError::Version(version));
        }
        if !(1..=Self::MEMBERS_MAX).contains(&usize::from(count)) || data == 0 || data > count {
            return Err(DecodeCapabilityError::Content("no or too many members"));
        }
        let key = Zeroizing::new(reader.take()?);
        let mut members = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes(reader.take()?));
            let short = DecodeCapabilityError::Content("less than a capability holds");
            let (member, rest) = reader.0.split_at_checked(length).ok_or(short)?;
            reader.0 = rest;
            let member = (length > 0).then(|| LeaseCapability::decode(member));
            members.push(member.transpose()?);
        }
        if !reader.0.is_empty() {
            return Err(DecodeCapabilityError::Content(
                "more than a capability holds",
            ));
        }
        Ok(Self { data, key, members })
    }
}

impl fmt::Debug for VolumeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeCapability")
            .field("data", &self.data)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for VolumeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armoured(PREFIX, &self.encode()))
    }
}

impl FromStr for VolumeCapability {
    type Err = DecodeCapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::decode(&unarmoured(PREFIX, text, Self::TEXT_BYTES_MAX)?)
    }
}

#[cfg(test)]
mod tests {
    use types::{AssetId, AssetType, Audience, FabricId, LeaseId, NodeId};

    use super::*;
    use crate::capability::CapabilitySubject;
    use crate::identity::SecretKey;

    fn member(number: u8) -> LeaseCapability {
        let subject = CapabilitySubject {
            fabric: FabricId::from_bytes([1; 32]),
            asset: AssetId::from_parts(AssetType::Storage, Digest::from_bytes([2; 32])),
            lease: LeaseId::from_digest(Digest::from_bytes([number; 32])),
            host: NodeId::from_bytes([number; 32]),
            nonce: [0; 16],
        };
        let scope = RegionScope::volume(true, true, u64::MAX, Audience::Member);
        let holder = SecretKey::from_seed(&[9; 32]);
        LeaseCapability::issue(&holder, subject, scope).unwrap()
    }

    fn volume() -> VolumeCapability {
        VolumeCapability {
            data: 1,
            key: Zeroizing::new([7; 32]),
            members: vec![Some(member(3)), None, Some(member(4))],
        }
    }

    #[test]
    fn bytes_are_pinned() {
        let volume = volume();
        let bytes = volume.encode();
        let first = volume.members[0].as_ref().unwrap().encode();
        let length = u16::try_from(first.len()).unwrap().to_be_bytes();
        let start = [&[1, 1, 3][..], &[7; 32], &length, &first, &[0, 0]].concat();
        assert_eq!(bytes[..start.len()], start);
        assert_eq!(bytes.len(), start.len() + 2 + first.len());
        let again = VolumeCapability::decode(&bytes).unwrap();
        assert_eq!(*again.encode(), *bytes);
        let text = volume.to_string();
        assert!(text.starts_with("hmv1"), "{text}");
        let parsed: VolumeCapability = text.parse().unwrap();
        assert_eq!(*parsed.encode(), *bytes);
        assert!(text.parse::<LeaseCapability>().is_err());
        let shown = format!("{volume:?}");
        assert!(!shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn what_is_cut_changed_or_longer_is_none() {
        let bytes = volume().encode();
        for length in 0..bytes.len() {
            assert!(
                VolumeCapability::decode(&bytes[..length]).is_err(),
                "{length}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(VolumeCapability::decode(&longer).is_err());
        for (at, byte) in [(0, 2), (1, 0), (1, 4), (2, 0), (2, 15)] {
            let mut other = bytes.to_vec();
            other[at] = byte;
            assert!(VolumeCapability::decode(&other).is_err(), "{at}");
        }
        let mut text = volume().to_string();
        let other = if text.ends_with('a') { "b" } else { "a" };
        text.replace_range(text.len() - 1.., other);
        assert!(text.parse::<VolumeCapability>().is_err());
    }

    #[test]
    fn a_share_gives_less_at_every_member_and_the_longest_is_within_its_bounds() {
        let reads = RegionScope::volume(true, false, 1_000, Audience::Member);
        let mut shared = volume().narrowed(reads).unwrap();
        assert_eq!(shared.scope(), Some(&reads));
        assert_eq!(shared.ids().iter().flatten().count(), 2);
        let writes = RegionScope::volume(true, true, 1_000, Audience::Member);
        assert!(shared.narrowed(writes).is_err());
        shared.members = vec![Some(member(5)); VolumeCapability::MEMBERS_MAX];
        let only = |at| {
            let audience = Audience::Node(NodeId::from_bytes([1; 32]));
            RegionScope::volume(true, true, u64::MAX - at, audience)
        };
        for at in 1..LeaseCapability::BLOCKS_MAX as u64 {
            shared = shared.narrowed(only(at)).unwrap();
        }
        let text = shared.to_string();
        assert!(
            text.len() <= VolumeCapability::TEXT_BYTES_MAX,
            "{}",
            text.len()
        );
        assert!(text.parse::<VolumeCapability>().is_ok());
        let sealed = shared.narrowed(only(9));
        assert!(matches!(sealed, Err(ShareVolumeError { member: 0, .. })));
    }
}
