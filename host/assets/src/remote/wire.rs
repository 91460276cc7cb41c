//! The messages of the asset service and their bytes. Knows no stream.
//!
//! One stream is for one lease. The one who opens it sends [`Hello`] and gets [`Welcome`]; after that,
//! operations of the lease's type, [`RegionOp`]s or [`MemberRequest`]s, each answered in their order.
//! Several may be under way.
//!
//! A frame is a length (4 bytes, little endian), then postcard of an enum whose outermost variant is
//! the version. One value has one form: what does not encode to the bytes it came from is refused.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::protocol::{AnswerOf, MemberProtocol, MemberRequest, Protocol, RegionProtocol};
use crate::region_op::{OPERATION_BYTES_MAX, RegionOp};
use crate::volume::PIECE_BYTES_MAX;

/// Longest capability in bytes: `trust` has its own, lower bound.
pub const CAPABILITY_BYTES_MAX: usize = 2 << 10;
/// Longest frame without its length: a write of the longest piece, with its few numbers.
pub const FRAME_BYTES_MAX: usize = PIECE_BYTES_MAX + 128;
/// Longest text of a refusal.
const TEXT_BYTES_MAX: usize = 256;

// A region's longest write fits, too.
const _: () = assert!(OPERATION_BYTES_MAX + 64 <= FRAME_BYTES_MAX as u64);

#[derive(Debug, Serialize, Deserialize)]
enum Versioned<T> {
    V1(T),
}

/// The first frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The capability, as `trust` encodes it.
    pub capability: Vec<u8>,
}

/// The answer to it.
pub type Welcome = Result<Opened, Refusal>;

/// The answer of a region.
pub type Answer = AnswerOf<RegionProtocol>;

/// The answer of a member.
pub type MemberAnswer = AnswerOf<MemberProtocol>;

/// A region that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its size.
    pub bytes: u64,
}

/// A region that was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The capability does not give it.
    #[error("{0}")]
    Denied(String),
    /// The lease is over, or not known there yet.
    #[error("the host knows no such lease, or it is over")]
    NoLease,
    /// The host cannot.
    #[error("{0}")]
    Unable(String),
}

/// Bytes that are no frame of this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRegionFrameError {
    /// Longer than what is sent at this place.
    #[error("a frame of {bytes} bytes is longer than the {bytes_max} allowed here")]
    TooLong {
        /// What came, or was announced.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Cut off, of another shape, or not in its one form.
    #[error("the frame is no message of this service in its one form")]
    NotCanonical,
}

/// The frame of a message, with its length.
///
/// # Errors
/// [`DecodeRegionFrameError::TooLong`] if no reader would take it.
pub fn encode_region_frame<T: Serialize>(message: T) -> Result<Vec<u8>, DecodeRegionFrameError> {
    const PREFIX: usize = 4;
    let frame = postcard::to_extend(&Versioned::V1(message), vec![0; PREFIX]);
    let mut frame = frame.map_err(|_| DecodeRegionFrameError::NotCanonical)?;
    let bytes = frame.len() - PREFIX;
    let too_long = DecodeRegionFrameError::TooLong {
        bytes,
        bytes_max: FRAME_BYTES_MAX,
    };
    if bytes > FRAME_BYTES_MAX {
        return Err(too_long);
    }
    let length = u32::try_from(bytes).map_err(|_| too_long)?;
    for (place, byte) in frame.iter_mut().zip(length.to_le_bytes()) {
        *place = byte;
    }
    Ok(frame)
}

fn decoded<T: Serialize + DeserializeOwned>(
    body: &[u8],
    bytes_max: usize,
) -> Result<T, DecodeRegionFrameError> {
    let bytes = body.len();
    if bytes > bytes_max {
        return Err(DecodeRegionFrameError::TooLong { bytes, bytes_max });
    }
    let refused = DecodeRegionFrameError::NotCanonical;
    let message: Versioned<T> = postcard::from_bytes(body).map_err(|_| refused.clone())?;
    // Numbers and lengths have longer forms, and bytes may follow.
    let again = postcard::to_allocvec(&message).map_err(|_| refused.clone())?;
    let Versioned::V1(message) = message;
    if again == body {
        Ok(message)
    } else {
        Err(refused)
    }
}

/// The first frame of a stream.
///
/// # Errors
/// [`DecodeRegionFrameError`].
pub fn decode_hello(body: &[u8]) -> Result<Hello, DecodeRegionFrameError> {
    let hello: Hello = decoded(body, HELLO_BYTES_MAX)?;
    let bytes = hello.capability.len();
    if bytes > CAPABILITY_BYTES_MAX {
        let bytes_max = CAPABILITY_BYTES_MAX;
        return Err(DecodeRegionFrameError::TooLong { bytes, bytes_max });
    }
    Ok(hello)
}

/// The answer to the first frame.
///
/// # Errors
/// [`DecodeRegionFrameError`].
pub fn decode_welcome(body: &[u8]) -> Result<Welcome, DecodeRegionFrameError> {
    decoded(body, WELCOME_BYTES_MAX)
}

/// An operation on a region.
///
/// # Errors
/// [`DecodeRegionFrameError`].
pub fn decode_request(body: &[u8]) -> Result<RegionOp, DecodeRegionFrameError> {
    decoded(body, FRAME_BYTES_MAX)
}

/// The answer of a region.
///
/// # Errors
/// [`DecodeRegionFrameError`].
pub fn decode_answer(body: &[u8]) -> Result<Answer, DecodeRegionFrameError> {
    decoded(body, FRAME_BYTES_MAX)
}

/// What is asked of a member.
///
/// # Errors
/// [`DecodeRegionFrameError`].
pub fn decode_member_request(body: &[u8]) -> Result<MemberRequest, DecodeRegionFrameError> {
    decoded(body, FRAME_BYTES_MAX)
}

/// The answer of a member.
///
/// # Errors
/// [`DecodeRegionFrameError`].
pub fn decode_member_answer(body: &[u8]) -> Result<MemberAnswer, DecodeRegionFrameError> {
    decoded(body, FRAME_BYTES_MAX)
}

/// The answer to an operation of any protocol.
pub(super) fn answer_in<P: Protocol>(body: &[u8]) -> Result<AnswerOf<P>, DecodeRegionFrameError> {
    decoded(body, FRAME_BYTES_MAX)
}

/// Longest first frame: a capability and its length.
pub(super) const HELLO_BYTES_MAX: usize = CAPABILITY_BYTES_MAX + 8;
/// Longest answer to it: a refusal with its text.
pub(super) const WELCOME_BYTES_MAX: usize = TEXT_BYTES_MAX + 8;

/// A refusal whose text fits.
pub(super) fn bounded(refusal: Refusal) -> Refusal {
    let cut = |text: String| {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.get(..end).unwrap_or_default().to_owned()
    };
    match refusal {
        Refusal::Denied(text) => Refusal::Denied(cut(text)),
        Refusal::Unable(text) => Refusal::Unable(cut(text)),
        Refusal::NoLease => Refusal::NoLease,
    }
}

#[cfg(test)]
mod tests {
    use types::{Digest, RegionRight};

    use super::*;
    use crate::region_op::{RegionDone, RegionError, RegionUsage};
    use crate::volume::{BlockKey, MemberDone, MemberError, MemberOp, Version};

    fn body<T: Serialize>(message: T) -> Vec<u8> {
        encode_region_frame(message).unwrap().split_off(4)
    }

    #[test]
    fn bytes_are_pinned() {
        let hello = Hello {
            capability: vec![7, 8],
        };
        assert_eq!(body(&hello), [0, 2, 7, 8]);
        let frame = encode_region_frame(&hello).unwrap();
        assert_eq!(frame, [4, 0, 0, 0, 0, 2, 7, 8]);
        let welcome: Welcome = Ok(Opened { bytes: 300 });
        assert_eq!(body(&welcome), [0, 0, 0xac, 2]);
        let refused: Welcome = Err(Refusal::NoLease);
        assert_eq!(body(&refused), [0, 1, 1]);
        let read = RegionOp::Read {
            offset: 1,
            bytes: 2,
        };
        assert_eq!(body(&read), [0, 0, 1, 2]);
        let bytes = vec![9];
        assert_eq!(body(RegionOp::Write { offset: 1, bytes }), [0, 1, 1, 1, 9]);
        let swap = RegionOp::Swap {
            offset: 1,
            expected: vec![3],
            new: vec![4],
        };
        assert_eq!(body(&swap), [0, 2, 1, 1, 3, 1, 4]);
        assert_eq!(body(RegionOp::Usage), [0, 3]);
        let capability = Digest::from_bytes([5; 32]);
        let revoke = body(RegionOp::Revoke { capability });
        assert_eq!((revoke.len(), &revoke[..3]), (34, [0, 4, 5].as_slice()));
        let done: Answer = Ok(RegionDone::Found(vec![1]));
        assert_eq!(body(&done), [0, 0, 3, 1, 1]);
        let usage: Answer = Ok(RegionDone::Usage(RegionUsage {
            bytes: 1,
            resident_bytes: 2,
            operations: 3,
            left_ms: 4,
        }));
        assert_eq!(body(&usage), [0, 0, 4, 1, 2, 3, 4]);
        let failed: Answer = Err(RegionError::NotAllowed {
            right: RegionRight::Swap,
        });
        assert_eq!(body(&failed), [0, 1, 3, 2]);
        assert_eq!(decode_hello(&[0, 2, 7, 8]), Ok(hello));
        assert_eq!(decode_answer(&[0, 1, 3, 2]), Ok(failed));
    }

    #[test]
    fn bytes_of_members_are_pinned() {
        let key = BlockKey { file: 1, block: 2 };
        let version = Version { epoch: 3, count: 4 };
        let write = |keep, bytes| {
            let epoch = 3;
            MemberRequest::Ask(MemberOp::Write {
                epoch,
                key,
                version,
                keep,
                bytes,
            })
        };
        let short = body(write(Some(version), vec![9]));
        assert_eq!(short, [0, 0, 4, 3, 1, 2, 3, 4, 1, 3, 4, 1, 9]);
        let read = MemberRequest::Ask(MemberOp::Read { key, version: None });
        assert_eq!(body(read), [0, 0, 3, 1, 2, 0]);
        let settle = MemberRequest::Ask(MemberOp::Settle {
            epoch: 5,
            pieces: vec![(key, version)],
        });
        assert_eq!(body(settle), [0, 0, 8, 5, 1, 1, 2, 3, 4]);
        let places: Vec<u8> = [
            MemberOp::Epoch,
            MemberOp::Fence { epoch: 0 },
            MemberOp::Versions { keys: Vec::new() },
            MemberOp::Remove { epoch: 0, file: 0 },
            MemberOp::List { after: None },
            MemberOp::Flush,
            MemberOp::Usage,
        ]
        .map(|operation| body(MemberRequest::Ask(operation))[2])
        .to_vec();
        assert_eq!(places, [0, 1, 2, 5, 6, 7, 9]);
        let capability = Digest::from_bytes([5; 32]);
        let revoke = body(MemberRequest::Revoke { capability });
        assert_eq!((revoke.len(), &revoke[..3]), (34, [0, 1, 5].as_slice()));
        let found: MemberAnswer = Ok(MemberDone::Read(Some((version, vec![7]))));
        assert_eq!(body(&found), [0, 0, 2, 1, 3, 4, 1, 7]);
        let fenced: MemberAnswer = Err(MemberError::Fenced { fenced: 6 });
        assert_eq!(body(&fenced), [0, 1, 1, 6]);
        assert_eq!(decode_member_answer(&[0, 1, 1, 6]), Ok(fenced));
        // The longest write fits.
        let most = u64::MAX;
        let longest = MemberRequest::Ask(MemberOp::Write {
            epoch: most,
            key: BlockKey {
                file: most,
                block: most,
            },
            version: Version {
                epoch: most,
                count: most,
            },
            keep: Some(Version {
                epoch: most,
                count: most,
            }),
            bytes: vec![1; PIECE_BYTES_MAX],
        });
        let frame = body(&longest);
        assert_eq!(decode_member_request(&frame), Ok(longest));
    }

    #[test]
    fn other_forms_and_longer_frames_are_refused() {
        let refused = Err(DecodeRegionFrameError::NotCanonical);
        for bad in [
            &[][..],
            &[0],
            &[1, 0, 1, 2],
            &[0, 0, 1, 2, 0],
            &[0, 0, 0x81, 0, 2],
        ] {
            assert_eq!(decode_request(bad), refused, "{bad:?}");
        }
        let most = usize::try_from(OPERATION_BYTES_MAX).unwrap();
        let write = |count| RegionOp::Write {
            offset: u64::MAX,
            bytes: vec![1; count],
        };
        let fits = body(write(most));
        assert_eq!(decode_request(&fits), Ok(write(most)));
        assert!(encode_region_frame(write(most + 192)).is_err());
        assert!(decode_hello(&vec![0; HELLO_BYTES_MAX + 1]).is_err());
        let capability = vec![1; CAPABILITY_BYTES_MAX + 1];
        let long = body(Hello { capability });
        assert!(matches!(
            decode_hello(&long),
            Err(DecodeRegionFrameError::TooLong { .. })
        ));
        let text = "ä".repeat(TEXT_BYTES_MAX);
        let refusal: Welcome = Err(bounded(Refusal::Denied(text)));
        assert_eq!(decode_welcome(&body(&refusal)), Ok(refusal));
    }
}
