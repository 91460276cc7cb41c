//! The messages of the artifact service and their bytes. Knows no stream.
//!
//! A message is postcard of an enum whose outermost variant is the version. One value has one form:
//! what does not encode to the bytes it came from is refused. The content of a slice follows its
//! message as it is, so that it is copied once.
//!
//! One stream is one request: `Request`, then `Have`, then `Missing` if not all is there, then slices,
//! then the end; or `Refused` at any point instead of more.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use storage::{FILLED_BYTES_MAX, GroupSet, SLICE_BYTES_MAX, SLICE_GROUPS_MAX, group_count};
use types::Digest;

use crate::bounds::{FRAME_BYTES_MAX, GROUPS_MAX, REQUEST_GROUPS_MAX, SPANS_MAX};

#[derive(Debug, Serialize, Deserialize)]
enum Versioned {
    V1(Message),
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The first message of a stream.
    Request(Request),
    /// The first answer.
    Have(Have),
    /// Groups that were asked for and are not here.
    Missing(Vec<GroupSpan>),
    /// Groups that were asked for: their slice follows.
    Slice(SliceHead),
    /// The last answer, in place of what is due.
    Refused(Refusal),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The artifact.
    pub digest: Digest,
    /// What of it.
    pub wanted: Wanted,
}

/// Parts of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// The last group, which proves the size: for who does not know it.
    Last,
    /// These groups. None: only to hear what there is.
    Groups(Vec<GroupSpan>),
}

/// What there is of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Size of the whole artifact.
    pub bytes: u64,
    /// The groups that are here, or the first spans of them.
    pub held: Vec<GroupSpan>,
}

/// Which slice follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceHead {
    /// The groups.
    pub groups: GroupSpan,
    /// Length of the encoded slice that follows.
    pub bytes: u32,
}

/// Groups that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpan {
    /// The first.
    pub first: u64,
    /// How many, at least one.
    pub count: u64,
}

/// Why a peer does not answer as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Nothing of it is here.
    #[error("it does not have the artifact")]
    Absent,
    /// Too many ask at once; to be asked again.
    #[error("it is busy")]
    Busy,
    /// What is here is no longer what the digest names, or cannot be read.
    #[error("its copy of the artifact is damaged")]
    Damaged,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any message.
    #[error("a message of {0} bytes: at most {FRAME_BYTES_MAX} are taken")]
    TooLong(usize),
    /// No message of a version that is known here.
    #[error("the message cannot be read: it is of another version, or torn")]
    Malformed,
    /// Not as this message would be written.
    #[error("the message is not in its one form")]
    NotCanonical,
    /// Numbers that no honest peer sends.
    #[error("the message names groups or sizes out of bounds: {0}")]
    Bounds(&'static str),
}

impl Message {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Numbers, digests and lists of them: nothing here can fail to serialise.
        postcard::to_allocvec(&Versioned::V1(self.clone())).unwrap_or_default()
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`]; any bytes are allowed in.
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        if encoded.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLong(encoded.len()));
        }
        let Versioned::V1(message) =
            postcard::from_bytes(encoded).map_err(|_| DecodeError::Malformed)?;
        if message.encode() != encoded {
            return Err(DecodeError::NotCanonical);
        }
        message.check().map_err(DecodeError::Bounds)?;
        Ok(message)
    }

    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Request(request) => match &request.wanted {
                Wanted::Last => Ok(()),
                Wanted::Groups(spans) => {
                    check_spans(spans, GROUPS_MAX)?;
                    let count: u64 = spans.iter().map(|span| span.count).sum();
                    let few = count <= REQUEST_GROUPS_MAX;
                    few.then_some(())
                        .ok_or("more groups than one request may name")
                }
            },
            Self::Have(have) if have.bytes > FILLED_BYTES_MAX => Err("an artifact too large"),
            Self::Have(have) => check_spans(&have.held, group_count(have.bytes)),
            Self::Missing(spans) => check_spans(spans, GROUPS_MAX),
            Self::Slice(head) => {
                check_spans(&[head.groups], GROUPS_MAX)?;
                let short = usize::try_from(head.bytes).is_ok_and(|bytes| bytes <= SLICE_BYTES_MAX);
                let fits = short && head.groups.count <= SLICE_GROUPS_MAX;
                fits.then_some(()).ok_or("a slice too long")
            }
            Self::Refused(_) => Ok(()),
        }
    }
}

/// Spans are ascending, apart from each other, not empty, and not too many.
fn check_spans(spans: &[GroupSpan], groups: u64) -> Result<(), &'static str> {
    if spans.len() > SPANS_MAX {
        return Err("more spans than a message may have");
    }
    let mut free_from = 0;
    for span in spans {
        let end = span.first.checked_add(span.count);
        let end = end
            .filter(|end| *end <= groups)
            .ok_or("groups that do not exist")?;
        if span.count == 0 || span.first < free_from {
            return Err("spans that are empty, touch or are out of order");
        }
        free_from = end + 1;
    }
    Ok(())
}

impl GroupSpan {
    /// The groups as a range.
    #[must_use]
    pub const fn range(self) -> Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }

    /// The first [`SPANS_MAX`] spans of `groups`.
    #[must_use]
    pub fn of_set(groups: &GroupSet) -> Vec<Self> {
        let ranges = groups.ranges().iter().take(SPANS_MAX);
        ranges.cloned().map(Self::from).collect()
    }

    /// The groups of `spans`.
    #[must_use]
    pub fn set(spans: &[Self]) -> GroupSet {
        spans.iter().map(|span| span.range()).collect()
    }
}

impl From<Range<u64>> for GroupSpan {
    fn from(groups: Range<u64>) -> Self {
        Self {
            first: groups.start,
            count: groups.end.saturating_sub(groups.start),
        }
    }
}
