//! Public keys, signatures and the ids made of them. Secret keys live in `trust`.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, hex, unhex};

/// An ed25519 public key (RFC 8032), written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Who signs transactions: a person, a service or a node.
pub type Principal = PublicKey;

/// A node's identity.
pub type NodeId = PublicKey;

/// The digest of a fabric's genesis: the one thing a newcomer has to know.
pub type FabricId = Digest;

/// An ed25519 signature (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// A signature that does not fit its message and key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature was not made by {key} over these bytes")]
pub struct VerifyError {
    key: PublicKey,
}

impl PublicKey {
    /// Wraps raw key bytes; whether they are a curve point shows when a signature is checked.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits: enough for people, never for machines.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// Checks `signature` over `message` by the strict rules: no small-order keys, no malleable
    /// signatures, so every node gives the same answer.
    ///
    /// # Errors
    /// [`VerifyError`] if the key is no curve point or did not sign exactly these bytes.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), VerifyError> {
        let refused = VerifyError { key: *self };
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| refused.clone())?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| refused)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a public key: expected 64 lower-case hex digits")]
pub struct ParseKeyError {
    text: String,
}

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text).map(Self).ok_or_else(|| ParseKeyError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

impl Signature {
    /// Wraps raw signature bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The raw signature.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

/// As text 128 hex digits; in binary its halves, R and S, because serde knows arrays up to 32.
impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&hex(&self.0));
        }
        let mut halves = [[0; 32]; 2];
        halves.as_flattened_mut().copy_from_slice(&self.0);
        halves.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let bytes = unhex(&text).ok_or_else(|| {
                serde::de::Error::custom("a signature has 128 lower-case hex digits")
            })?;
            return Ok(Self(bytes));
        }
        let halves = <[[u8; 32]; 2]>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes.copy_from_slice(halves.as_flattened());
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn only_the_signer_and_the_exact_bytes_verify() {
        let secret = SigningKey::from_bytes(&[7; 32]);
        let key = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        let other =
            PublicKey::from_bytes(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        let signature = Signature::from_bytes(secret.sign(b"message").to_bytes());
        assert_eq!(key.verify(b"message", &signature), Ok(()));
        assert!(key.verify(b"messagE", &signature).is_err());
        assert!(other.verify(b"message", &signature).is_err());
    }

    #[test]
    fn a_signature_is_its_bytes_and_nothing_else() {
        let counted: Vec<u8> = (0..64).collect();
        let signature = Signature::from_bytes(counted.try_into().unwrap());
        let bytes = postcard::to_allocvec(&signature).unwrap();
        assert_eq!(bytes, signature.as_bytes());
        assert_eq!(postcard::from_bytes(&bytes), Ok(signature));
        let text = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<Signature>(&text).unwrap(), signature);
    }

    #[test]
    fn text_form_round_trips() {
        let key = PublicKey::from_bytes([9; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!("09".parse::<PublicKey>().is_err());
    }
}
