//! What nodes ask each other about the state, byte by byte. Never decides whom to believe.
//!
//! A message, on [`Channel::State`](crate::Channel::State):
//! ```text
//! version (1) | kind (1) | number of the question (8) | rest
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error as CodecError, RangeCfg, Read, ReadExt as _, Write,
    varint::UInt,
};
use commonware_storage::qmdb::sync::{Request, Response};
use ledger::{StateKey, VALUE_BYTES_MAX};

use crate::block::Digest;
use crate::handovers::Handover;
use crate::links::STATE_MESSAGE_BYTES_MAX;
use crate::state::{Family, Operation};

/// First byte of every message.
const VERSION: u8 = 1;
/// Ends of epochs in one answer; no more fit.
const PAGE_HANDOVERS_MAX: usize = 256;
/// Bytes of ends of epochs in one answer, beside its frame and the last one.
const PAGE_BYTES_MAX: usize = STATE_MESSAGE_BYTES_MAX / 2;

/// A part of the state with its proof.
pub(crate) type Part = Response<Family, Operation, Digest>;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Which epochs ended with other validators, from the one of this index on.
    Standing(u64),
    /// A part of the state's log.
    Part(Request<Family>),
}

/// What is answered; the asker knows how to read the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This peer cannot say.
    Nothing,
    /// A [`Page`].
    Standing(Bytes),
    /// A [`Part`].
    Part(Bytes),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Question(u64, Question),
    Answer(u64, Answer),
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let (kind, number, rest) = match self {
            Self::Question(number, Question::Standing(from)) => (0, number, UInt(*from).encode()),
            Self::Question(number, Question::Part(request)) => (1, number, request.encode()),
            Self::Answer(number, Answer::Nothing) => (2, number, Bytes::new()),
            Self::Answer(number, Answer::Standing(page)) => (3, number, page.clone()),
            Self::Answer(number, Answer::Part(part)) => (4, number, part.clone()),
        };
        let mut bytes = BytesMut::with_capacity(2 + size_of::<u64>() + rest.len());
        bytes.put_slice(&[VERSION, kind]);
        bytes.put_u64(*number);
        bytes.put_slice(&rest);
        bytes.freeze()
    }

    /// # Errors
    /// No node of this release sends such bytes.
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, CodecError> {
        let version = u8::read(&mut bytes)?;
        if version != VERSION {
            return Err(CodecError::InvalidEnum(version));
        }
        let (kind, number) = (u8::read(&mut bytes)?, u64::read(&mut bytes)?);
        let question = |question| Ok(Self::Question(number, question));
        match kind {
            0 => question(Question::Standing(whole(bytes, |bytes| {
                UInt::read(bytes).map(Into::into)
            })?)),
            1 => question(Question::Part(whole(bytes, Request::read)?)),
            2 => whole(bytes, |_| Ok(Self::Answer(number, Answer::Nothing))),
            3 => Ok(Self::Answer(number, Answer::Standing(bytes))),
            4 => Ok(Self::Answer(number, Answer::Part(bytes))),
            kind => Err(CodecError::InvalidEnum(kind)),
        }
    }
}

/// Reads all of `bytes`.
fn whole<T>(
    mut bytes: Bytes,
    read: impl FnOnce(&mut Bytes) -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let value = read(&mut bytes)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::ExtraData(bytes.len()))
    }
}

/// Some ends of epochs in order, and with the last of them where the peer stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Those in which validators changed.
    pub(crate) handovers: Vec<Handover>,
    /// The last block of the epoch before the one under way; none where more handovers follow, or
    /// in the first epoch.
    pub(crate) end: Option<Handover>,
}

impl Page {
    /// As many of `handovers` as one answer may carry.
    pub(crate) fn of<'a>(handovers: impl IntoIterator<Item = &'a Handover>) -> (Self, bool) {
        let (mut page, mut bytes) = (Self::default(), 0);
        for handover in handovers {
            bytes += handover.encode_size();
            if page.handovers.len() == PAGE_HANDOVERS_MAX
                || bytes > PAGE_BYTES_MAX && !page.handovers.is_empty()
            {
                return (page, false);
            }
            page.handovers.push(handover.clone());
        }
        (page, true)
    }

    /// # Errors
    /// The bytes are no page.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        whole(bytes, Self::read)
    }
}

impl Write for Page {
    fn write(&self, buf: &mut impl BufMut) {
        self.handovers.write(buf);
        self.end.write(buf);
    }
}

impl EncodeSize for Page {
    fn encode_size(&self) -> usize {
        self.handovers.encode_size() + self.end.encode_size()
    }
}

impl Read for Page {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let range = RangeCfg::from(0..=PAGE_HANDOVERS_MAX);
        Ok(Self {
            handovers: Vec::read_cfg(buf, &(range, ()))?,
            end: Option::read_cfg(buf, &())?,
        })
    }
}

/// Reads the answer to `request`.
///
/// # Errors
/// The bytes are no part of any state, or more than was asked for.
pub(crate) fn decode_part(request: &Request<Family>, bytes: Bytes) -> Result<Part, CodecError> {
    let range = |most| (RangeCfg::from(0..=most), ());
    let entry = (range(StateKey::BYTES_MAX), range(VALUE_BYTES_MAX));
    let most = usize::try_from(request.max_ops().get()).unwrap_or(usize::MAX);
    whole(bytes, |bytes| Part::read_cfg(bytes, &(most, entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes of different releases must agree about them.
    #[test]
    fn messages_are_these_bytes() {
        let message = Message::Question(7, Question::Standing(300));
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0xac, 2];
        assert_eq!(message.encode().as_ref(), bytes);
        assert_eq!(Message::decode(message.encode()).unwrap(), message);
        let message = Message::Answer(7, Answer::Nothing);
        assert_eq!(message.encode().as_ref(), [1, 2, 0, 0, 0, 0, 0, 0, 0, 7]);
        let long = [message.encode().as_ref(), &[0]].concat();
        assert!(Message::decode(long.into()).is_err());
    }

    #[test]
    fn a_page_holds_what_fits_and_at_least_one() {
        let handover = |bytes| Handover {
            block: vec![1; bytes],
            certificate: vec![2; 3],
        };
        let large = [handover(PAGE_BYTES_MAX), handover(1)];
        let (page, all) = Page::of(&large);
        assert_eq!((page.handovers.len(), all), (1, false));
        let small = [handover(1), handover(2)];
        let (mut page, all) = Page::of(&small);
        assert_eq!((page.handovers.len(), all), (2, true));
        page.end = Some(handover(5));
        assert_eq!(Page::decode(page.encode()).unwrap(), page);
    }
}
