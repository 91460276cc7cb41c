//! The bytes and the text of a capability. Knows no signature's meaning.
//!
//! ```text
//! version (1) | fabric (32) | asset type (1), asset (32) | lease (32) | host (32) | nonce (16)
//! blocks: count (1), then each:
//!     rights (1) | from (8, big endian) | until (8) | expires_ms (8)
//!     audience: 0, or 1 and a node (32)
//!     next key (32) | signature (64)
//! secret: 0, or 1 and the seed of the last key (32)
//! ```
//!
//! The text is `hmc1` and base32 (lower case, no padding) of these bytes and a check (4): the first
//! bytes of BLAKE3 over a domain tag and all before. One capability has one form of either.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, DecodePartial};
use types::{
    AssetId, AssetType, Audience, Digest, FabricId, LeaseId, NodeId, PublicKey, RegionRights,
    RegionScope, Signature,
};
use zeroize::Zeroizing;

use crate::capability::{Block, CapabilitySubject, LeaseCapability};
use crate::identity::SecretKey;

const PREFIX: &str = "hmc1";
const VERSION: u8 = 1;
const CHECK_DOMAIN: &[u8] = b"hypermesh/lease-capability-check/1\0";
const CHECK_BYTES: usize = 4;
const SUBJECT_BYTES: usize = 32 + 33 + 32 + 32 + 16;
const BLOCK_BYTES_MAX: usize = 1 + 3 * 8 + 33 + 32 + 64;
/// Longest binary form.
pub(crate) const BYTES_MAX: usize =
    1 + SUBJECT_BYTES + 1 + LeaseCapability::BLOCKS_MAX * BLOCK_BYTES_MAX + 33;

/// Bytes or a text that are no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeCapabilityError {
    /// Something else altogether.
    #[error(
        "this is not a capability: one begins with `hmc1` or, for a volume, `hmv1`, and comes from whoever shares"
    )]
    NotACapability,
    /// Mistyped or cut off.
    #[error("the capability is mistyped or incomplete: copy it again, whole")]
    Mistyped,
    /// Made by a newer release.
    #[error("the capability is of version {0}, this release reads version {VERSION}")]
    Version(u8),
    /// What no release writes.
    #[error("the capability names {0}, which no release does")]
    Content(&'static str),
}

pub(crate) fn put_subject(bytes: &mut Vec<u8>, subject: &CapabilitySubject) {
    bytes.extend(subject.fabric.as_bytes());
    bytes.push(number(subject.asset.asset_type()));
    bytes.extend(subject.asset.digest().as_bytes());
    bytes.extend(subject.lease.digest().as_bytes());
    bytes.extend(subject.host.as_bytes());
    bytes.extend(subject.nonce);
}

pub(crate) fn put_scope(bytes: &mut Vec<u8>, scope: &RegionScope) {
    bytes.push(scope.rights.bits());
    for count in [scope.from, scope.until, scope.expires_ms] {
        bytes.extend(count.to_be_bytes());
    }
    match scope.audience {
        Audience::Member => bytes.push(0),
        Audience::Node(node) => {
            bytes.push(1);
            bytes.extend(node.as_bytes());
        }
    }
}

/// The place of a type in the order of its wire format.
fn number(asset_type: AssetType) -> u8 {
    let place = AssetType::ALL.iter().position(|one| *one == asset_type);
    place
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(u8::MAX)
}

/// The text of bytes that may hold secrets.
pub(crate) fn armoured(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    let all = Zeroizing::new([bytes, &check(bytes)].concat());
    let text = Zeroizing::new(BASE32_NOPAD.encode(&all).to_ascii_lowercase());
    Zeroizing::new(format!("{prefix}{}", *text))
}

/// The bytes of such a text, which is at most so long.
pub(crate) fn unarmoured(
    prefix: &str,
    text: &str,
    text_bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, DecodeCapabilityError> {
    let text = text.trim();
    let body = text
        .strip_prefix(prefix)
        .ok_or(DecodeCapabilityError::NotACapability)?;
    let lower = !body.bytes().any(|byte| byte.is_ascii_uppercase());
    if text.len() > text_bytes_max || !lower {
        return Err(DecodeCapabilityError::Mistyped);
    }
    let upper = Zeroizing::new(body.to_ascii_uppercase());
    let mistyped = |_| DecodeCapabilityError::Mistyped;
    let length = BASE32_NOPAD.decode_len(upper.len()).map_err(mistyped)?;
    let mut bytes = Zeroizing::new(vec![0; length]);
    let decoded = BASE32_NOPAD.decode_mut(upper.as_bytes(), &mut bytes);
    decoded.map_err(|DecodePartial { .. }| DecodeCapabilityError::Mistyped)?;
    let split = bytes.len().checked_sub(CHECK_BYTES);
    let (payload, found) = bytes.split_at(split.ok_or(DecodeCapabilityError::Mistyped)?);
    if check(payload) != found {
        return Err(DecodeCapabilityError::Mistyped);
    }
    Ok(Zeroizing::new(payload.to_vec()))
}

/// Longest text of so many bytes: eight characters for each five.
pub(crate) const fn text_bytes_max(prefix: &str, bytes: usize) -> usize {
    prefix.len() + (bytes + CHECK_BYTES).div_ceil(5) * 8
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CHECK_DOMAIN).update(bytes);
    let mut check = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}

impl LeaseCapability {
    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
        bytes.push(VERSION);
        put_subject(&mut bytes, &self.subject);
        bytes.push(u8::try_from(self.blocks.len()).unwrap_or(u8::MAX));
        for block in &self.blocks {
            put_scope(&mut bytes, &block.scope);
            bytes.extend_from_slice(block.next.as_bytes());
            bytes.extend_from_slice(block.signature.as_bytes());
        }
        match &self.secret {
            None => bytes.push(0),
            Some(secret) => {
                bytes.push(1);
                bytes.extend_from_slice(secret.as_slice());
            }
        }
        bytes
    }

    /// Reads the binary form. Whether it gives anything is for [`LeaseCapability::verify`] to say.
    ///
    /// # Errors
    /// [`DecodeCapabilityError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeCapabilityError> {
        let mut reader = Reader(bytes);
        let [version] = reader.take()?;
        if version != VERSION {
            return Err(DecodeCapabilityError::Version(version));
        }
        let subject = reader.subject()?;
        let [count] = reader.take()?;
        if !(1..=Self::BLOCKS_MAX).contains(&usize::from(count)) {
            return Err(DecodeCapabilityError::Content("no or too many blocks"));
        }
        let mut blocks = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            blocks.push(Block {
                scope: reader.scope()?,
                next: PublicKey::from_bytes(reader.take()?),
                signature: Signature::from_bytes(reader.take()?),
            });
        }
        let secret = match reader.take()? {
            [0] => None,
            [1] => Some(Zeroizing::new(reader.take()?)),
            _ => return Err(DecodeCapabilityError::Content("an unknown end")),
        };
        if !reader.0.is_empty() {
            return Err(DecodeCapabilityError::Content(
                "more than a capability holds",
            ));
        }
        let next = blocks.last().map(|block| block.next);
        let fits = |secret: &Zeroizing<_>| Some(SecretKey::from_seed(secret).public()) == next;
        if !secret.as_ref().is_none_or(fits) {
            return Err(DecodeCapabilityError::Content("a secret of another key"));
        }
        Ok(Self {
            subject,
            blocks,
            secret,
        })
    }
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeCapabilityError> {
        let short = DecodeCapabilityError::Content("less than a capability holds");
        let (taken, rest) = self.0.split_first_chunk().ok_or(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn subject(&mut self) -> Result<CapabilitySubject, DecodeCapabilityError> {
        let fabric = FabricId::from_bytes(self.take()?);
        let [number] = self.take()?;
        let asset_type = AssetType::ALL.get(usize::from(number));
        let unknown = DecodeCapabilityError::Content("an unknown type of asset");
        let asset_type = *asset_type.ok_or(unknown)?;
        Ok(CapabilitySubject {
            fabric,
            asset: AssetId::from_parts(asset_type, Digest::from_bytes(self.take()?)),
            lease: LeaseId::from_digest(Digest::from_bytes(self.take()?)),
            host: NodeId::from_bytes(self.take()?),
            nonce: self.take()?,
        })
    }

    fn scope(&mut self) -> Result<RegionScope, DecodeCapabilityError> {
        let [bits] = self.take()?;
        let unknown = DecodeCapabilityError::Content("an unknown right");
        let rights = RegionRights::from_bits(bits).ok_or(unknown)?;
        let [from, until, expires_ms] = [self.take()?, self.take()?, self.take()?];
        let audience = match self.take()? {
            [0] => Audience::Member,
            [1] => Audience::Node(NodeId::from_bytes(self.take()?)),
            _ => return Err(DecodeCapabilityError::Content("an unknown audience")),
        };
        Ok(RegionScope {
            rights,
            from: u64::from_be_bytes(from),
            until: u64::from_be_bytes(until),
            expires_ms: u64::from_be_bytes(expires_ms),
            audience,
        })
    }
}

impl fmt::Display for LeaseCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armoured(PREFIX, &self.encode()))
    }
}

impl FromStr for LeaseCapability {
    type Err = DecodeCapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text_bytes_max = text_bytes_max(PREFIX, BYTES_MAX);
        Self::decode(&unarmoured(PREFIX, text, text_bytes_max)?)
    }
}
