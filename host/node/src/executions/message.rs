//! The messages of the invoke service and their bytes. Knows no stream.
//!
//! One stream is one order: an `Ask` as a frame of STOQ, then an `Answer` as a frame, then the end.
//! Whoever asks gives up by closing the stream, which stops the run.

use proofs::{ExecutionOrder, ORDER_BYTES_MAX, RESULT_BYTES_MAX, Rerun, SignedReceipt};
use serde::{Deserialize, Serialize};
use stoq::proto::{self, FrameError};

use crate::executions::refusal::OrderRefusal;

/// Largest question: an order, and who is not asked again.
pub(crate) const ASK_BYTES_MAX: usize = ORDER_BYTES_MAX + 1_024;
/// Largest answer: a result with its receipt; no refusal has as much.
pub(crate) const ANSWER_BYTES_MAX: usize = RESULT_BYTES_MAX + 1_024;

/// What a member is asked to do. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// To run it, as one of those whom its anchor draws.
    Run(Box<ExecutionOrder>),
    /// To run it again, as one of those whom a later block draws.
    RunAgain(Box<Rerun>),
}

/// What a member answers. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It ran.
    Ran(Box<Ran>),
    /// It did not, or gave no result.
    Refused(OrderRefusal),
}

/// A run that gave a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// What the node signs for.
    pub(crate) receipt: SignedReceipt,
    /// In canonical form.
    pub(crate) result: String,
}

impl Ask {
    /// The message as a frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`].
    pub(crate) fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        proto::encode(self, ASK_BYTES_MAX)
    }

    /// The message of a frame's `body`.
    ///
    /// # Errors
    /// [`FrameError`] if the bytes are none.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, FrameError> {
        proto::decode(body)
    }
}

impl Answer {
    /// The message as a frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`].
    pub(crate) fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        proto::encode(self, ANSWER_BYTES_MAX)
    }

    /// The message of a frame's `body`.
    ///
    /// # Errors
    /// [`FrameError`] if the bytes are none.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, FrameError> {
        proto::decode(body)
    }
}

/// Reads a question, as from a peer.
///
/// # Panics
/// If what was read is not written as the same bytes.
pub(crate) fn read_ask_again(body: &[u8]) {
    if let Ok(ask) = Ask::from_body(body) {
        same(ask.to_frame(), body);
    }
}

/// Reads an answer, as from a peer.
///
/// # Panics
/// If what was read is not written as the same bytes.
pub(crate) fn read_answer_again(body: &[u8]) {
    if let Ok(answer) = Answer::from_body(body) {
        same(answer.to_frame(), body);
    }
}

fn same(frame: Result<Vec<u8>, FrameError>, body: &[u8]) {
    match frame {
        Ok(frame) => assert_eq!(frame.get(proto::PREFIX_BYTES..), Some(body)),
        Err(error) => assert!(matches!(error, FrameError::TooLong { .. }), "{error}"),
    }
}

/// Bodies of a question and of two answers.
pub(crate) fn some_messages() -> (Vec<u8>, [Vec<u8>; 2]) {
    use proofs::{EngineMode, EngineProfile, Export, Receipt};
    use types::{Digest, Name, NodeId, Replication, Signature};
    let digest = Digest::of(b"some");
    let body = |frame: Result<Vec<u8>, FrameError>| {
        let frame = frame.unwrap_or_default();
        frame
            .get(proto::PREFIX_BYTES..)
            .unwrap_or_default()
            .to_vec()
    };
    let Ok(export) = Export::try_from("run".to_owned()) else {
        return Default::default();
    };
    let order = ExecutionOrder {
        fabric: digest,
        workload: Name::least(),
        generation: 7,
        component: Name::least(),
        artifact: digest,
        deterministic_seed: 1,
        export: export.clone(),
        arguments: vec!["\"a\"".to_owned(), "2".to_owned()],
        replication: Replication::Of { agree: 2, of: 3 },
        anchor: 9,
        salt: [4; 16],
    };
    let receipt = Receipt {
        fabric: digest,
        node: NodeId::from_bytes([1; 32]),
        order: order.digest(),
        component: digest,
        export,
        input: order.input(),
        output: proofs::output_digest("3"),
        fuel: 300,
        memory_peak_bytes: 1 << 16,
        profile: EngineProfile {
            mode: EngineMode::Deterministic,
            engine: digest,
        },
    };
    let ran = Ran {
        receipt: SignedReceipt {
            receipt,
            signature: Signature::from_bytes([0; 64]),
        },
        result: "3".to_owned(),
    };
    let refused = Answer::Refused(OrderRefusal::NotDrawn { anchor: 9 });
    let answers = [Answer::Ran(Box::new(ran)), refused];
    let ask = Ask::Run(Box::new(order)).to_frame();
    (body(ask), answers.map(|answer| body(answer.to_frame())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_messages_are_pinned() {
        let (ask, [ran, refused]) = some_messages();
        let pinned = [&ask, &ran, &refused].map(|body| {
            read_ask_again(body);
            read_answer_again(body);
            format!("{} {}", body.len(), types::Digest::of(body).short())
        });
        assert_eq!(
            pinned,
            ["104 88cd408091ff", "302 b2b3d28115c4", "4 f9ce112c1094"]
        );
        let Ok(Ask::Run(order)) = Ask::from_body(&ask) else {
            panic!("no question");
        };
        assert_eq!(order.anchor, 9);
    }
}
