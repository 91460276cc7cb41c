//! One wire form for all proofs: a version, then canonical postcard. Knows no field of any proof.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Versions are appended: the order is part of the bytes.
#[derive(Serialize, Deserialize)]
enum Envelope<T> {
    V1(T),
}

/// Bytes that are not what they were taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProofError {
    /// Over the bound.
    #[error("{what} of {bytes} bytes: at most {max} are allowed")]
    TooLarge {
        /// What it was to be.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Of no version that this release knows, or not in canonical form.
    #[error("the bytes are not the canonical form of {what}, version 1")]
    Malformed {
        /// What it was to be.
        what: &'static str,
    },
}

/// The wire form of `value`.
pub(crate) fn written<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(&Envelope::V1(value))
        .unwrap_or_else(|error| panic!("a proof must be serialisable: {error}"))
}

/// The bytes to sign for `value`: domain tag, then its canonical form.
pub(crate) fn to_sign<T: Serialize>(domain: &[u8], value: &T) -> Vec<u8> {
    postcard::to_extend(value, domain.to_vec())
        .unwrap_or_else(|error| panic!("a proof must be serialisable: {error}"))
}

/// The inverse of [`written`] for at most `max` bytes; one value has one form.
pub(crate) fn read<T: Serialize + DeserializeOwned>(
    what: &'static str,
    max: usize,
    bytes: &[u8],
) -> Result<T, DecodeProofError> {
    if bytes.len() > max {
        let bytes = bytes.len();
        return Err(DecodeProofError::TooLarge { what, bytes, max });
    }
    let Ok(Envelope::V1(value)) = postcard::from_bytes(bytes) else {
        return Err(DecodeProofError::Malformed { what });
    };
    if written::<T>(&value) != bytes {
        return Err(DecodeProofError::Malformed { what });
    }
    Ok(value)
}
