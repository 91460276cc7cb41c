//! Frames: a length, a version, postcard. Decoding is canonical: one value has one encoding, so
//! signatures and digests over frames need no second look.
//!
//! ```text
//! length of the rest, u32 little endian | version, varint | value in postcard
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of the length before each frame.
pub const PREFIX_BYTES: usize = 4;

/// The outermost layer of every frame. New versions are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioned<T> {
    /// The only version so far.
    V1(T),
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is beyond what this place allows.
    #[error("a frame of {bytes} bytes is longer than the {max} allowed here")]
    TooLong {
        /// What was announced, or what the value needs.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A version that this build does not know.
    #[error("frame version {version} is unknown: this build knows 0")]
    UnknownVersion {
        /// The number on the wire.
        version: u8,
    },
    /// The value is cut off, of another shape, or followed by more bytes.
    #[error("the frame does not decode")]
    Malformed,
    /// The value decodes, but its one encoding is another one.
    #[error("the frame is not in canonical form")]
    NotCanonical,
}

/// The frame of `value`, with its length.
///
/// # Errors
/// [`FrameError::TooLong`] if the body is longer than `bytes_max`.
pub fn encode<T: Serialize>(value: T, bytes_max: usize) -> Result<Vec<u8>, FrameError> {
    let frame = postcard::to_extend(&Versioned::V1(value), vec![0; PREFIX_BYTES])
        .map_err(|_| FrameError::Malformed)?;
    let bytes = frame.len() - PREFIX_BYTES;
    let too_long = FrameError::TooLong {
        bytes,
        max: bytes_max,
    };
    if bytes > bytes_max {
        return Err(too_long);
    }
    let length = u32::try_from(bytes).map_err(|_| too_long)?;
    let mut frame = frame;
    for (place, byte) in frame.iter_mut().zip(length.to_le_bytes()) {
        *place = byte;
    }
    Ok(frame)
}

/// The length of the body that follows `prefix`.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is reserved for it.
pub fn body_bytes(prefix: [u8; PREFIX_BYTES], bytes_max: usize) -> Result<usize, FrameError> {
    let announced = u32::from_le_bytes(prefix);
    let bytes = usize::try_from(announced).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(FrameError::TooLong {
            bytes,
            max: bytes_max,
        });
    }
    Ok(bytes)
}

/// The value of a frame's `body`, which is what follows the length.
///
/// # Errors
/// Every [`FrameError`] but [`FrameError::TooLong`].
pub fn decode<T: Serialize + DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    match body.first() {
        None => return Err(FrameError::Malformed),
        Some(0) => {}
        Some(version) => return Err(FrameError::UnknownVersion { version: *version }),
    }
    let (value, rest): (Versioned<T>, &[u8]) =
        postcard::take_from_bytes(body).map_err(|_| FrameError::Malformed)?;
    if !rest.is_empty() {
        return Err(FrameError::Malformed);
    }
    let again = postcard::to_extend(&value, Vec::with_capacity(body.len()))
        .map_err(|_| FrameError::Malformed)?;
    if again != body {
        return Err(FrameError::NotCanonical);
    }
    let Versioned::V1(value) = value;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_encoding() {
        let frame = encode(5_u32, 16).unwrap();
        assert_eq!(frame, [2, 0, 0, 0, 0, 5]);
        assert_eq!(decode::<u32>(&frame[4..]), Ok(5));
        // The same number in a longer varint.
        assert_eq!(decode::<u32>(&[0, 0x85, 0]), Err(FrameError::NotCanonical));
        assert_eq!(decode::<u32>(&[0, 5, 5]), Err(FrameError::Malformed));
        assert_eq!(decode::<u32>(&[0]), Err(FrameError::Malformed));
        assert_eq!(decode::<u32>(&[]), Err(FrameError::Malformed));
        assert_eq!(
            decode::<u32>(&[1, 5]),
            Err(FrameError::UnknownVersion { version: 1 })
        );
    }

    #[test]
    fn long_frames_are_refused_by_their_length_alone() {
        assert_eq!(body_bytes([16, 0, 0, 0], 16), Ok(16));
        assert_eq!(
            body_bytes([255; 4], 16),
            Err(FrameError::TooLong {
                bytes: u32::MAX as usize,
                max: 16
            })
        );
        assert!(encode([0_u8; 20], 16).is_err());
    }
}
