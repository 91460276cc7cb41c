//! The messages of the invoke service and their bytes. Knows no stream.
//!
//! One stream is one order: an `Ask` as a frame of STOQ, then an `Answer` as a frame, then the end.
//! Whoever asks gives up by closing the stream, which stops the run.

use proofs::{ExecutionOrder, ORDER_BYTES_MAX, RESULT_BYTES_MAX, Rerun, SignedReceipt};
use serde::{Deserialize, Serialize};
use stoq::proto::{self, FrameError};
use types::Name;

use crate::executions::refusal::OrderRefusal;

/// Largest question: an order, and who is not asked again; or as much, and a capability.
pub(crate) const ASK_BYTES_MAX: usize = ORDER_BYTES_MAX + 2_048;
/// Largest answer: a result with its receipt; no refusal has as much.
pub(crate) const ANSWER_BYTES_MAX: usize = RESULT_BYTES_MAX + 1_024;

/// What a member is asked to do. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// To run it, as one of those whom its anchor draws.
    Run(Box<ExecutionOrder>),
    /// To run it again, as one of those whom a later block draws.
    RunAgain(Box<Rerun>),
    /// To run a call under a lease of its processors.
    RunLeased(Box<LeasedCall>),
    /// What such a lease was used for, by the capability for it.
    UsageOf(Vec<u8>),
}

/// A call that a guest has run under a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeasedCall {
    /// The capability for the lease, sealed.
    pub(crate) capability: Vec<u8>,
    /// The workload that calls.
    pub(crate) caller: Name,
    /// Its component.
    pub(crate) caller_component: Name,
    /// The workload that is called.
    pub(crate) workload: Name,
    /// Its component.
    pub(crate) component: Name,
    /// Its function, as the guest names it.
    pub(crate) export: String,
    /// As the guest writes them.
    pub(crate) arguments: Vec<String>,
    /// Fuel that it may use.
    pub(crate) fuel_max: u64,
    /// How long it may take.
    pub(crate) wall_ms_max: u64,
}

/// What a member answers. New kinds are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It ran.
    Ran(Box<Ran>),
    /// It did not, or gave no result.
    Refused(OrderRefusal),
    /// A call ran under a lease.
    RanLeased(Box<RanLeased>),
    /// What a lease was used for.
    Usage(LeaseUsage),
}

/// A run under a lease that gave a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RanLeased {
    /// The run.
    pub(crate) ran: Ran,
    /// Cpu time that it used.
    pub(crate) cpu_us: u64,
}

/// What a lease of processors was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseUsage {
    /// What was leased.
    pub(crate) millicores: u32,
    /// Calls that began.
    pub(crate) calls: u64,
    /// Cpu time of all of them.
    pub(crate) cpu_us: u64,
    /// Fuel of those that ended.
    pub(crate) fuel: u64,
    /// How long it is certainly live.
    pub(crate) left_ms: u64,
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

/// Bodies of questions and of answers.
pub(crate) fn some_messages() -> ([Vec<u8>; 3], [Vec<u8>; 4]) {
    let body = |frame: Result<Vec<u8>, FrameError>| {
        let frame = frame.unwrap_or_default();
        frame
            .get(proto::PREFIX_BYTES..)
            .unwrap_or_default()
            .to_vec()
    };
    let Some((order, ran)) = some_run() else {
        return Default::default();
    };
    let leased = RanLeased {
        ran: ran.clone(),
        cpu_us: 5,
    };
    let usage = LeaseUsage {
        millicores: 250,
        calls: 1,
        cpu_us: 2,
        fuel: 3,
        left_ms: 4,
    };
    let answers = [
        Answer::Ran(Box::new(ran)),
        Answer::Refused(OrderRefusal::NotDrawn { anchor: 9 }),
        Answer::RanLeased(Box::new(leased)),
        Answer::Usage(usage),
    ];
    let call = LeasedCall {
        capability: vec![7, 8],
        caller: Name::least(),
        caller_component: Name::least(),
        workload: Name::least(),
        component: Name::least(),
        export: "run".to_owned(),
        arguments: vec!["2".to_owned()],
        fuel_max: 300,
        wall_ms_max: 1,
    };
    let asks = [
        Ask::Run(Box::new(order)),
        Ask::RunLeased(Box::new(call)),
        Ask::UsageOf(vec![7, 8]),
    ];
    (
        asks.map(|ask| body(ask.to_frame())),
        answers.map(|answer| body(answer.to_frame())),
    )
}

/// An order, and a run of it.
fn some_run() -> Option<(ExecutionOrder, Ran)> {
    use proofs::{EngineMode, EngineProfile, Export, Receipt};
    use types::{Digest, NodeId, Replication, Signature};
    let digest = Digest::of(b"some");
    let export = Export::try_from("run".to_owned()).ok()?;
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
    Some((order, ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_messages_are_pinned() {
        let ([ask, run_leased, usage_of], [ran, refused, ran_leased, usage]) = some_messages();
        let bodies = [&ask, &ran, &refused, &run_leased, &ran_leased];
        let pinned = bodies.map(|body| {
            read_ask_again(body);
            read_answer_again(body);
            format!("{} {}", body.len(), types::Digest::of(body).short())
        });
        assert_eq!(
            pinned,
            [
                "104 88cd408091ff",
                "302 b2b3d28115c4",
                "4 f9ce112c1094",
                "23 33dfc372329d",
                "303 9f999728dabb",
            ]
        );
        assert_eq!(usage_of, [0, 3, 2, 7, 8]);
        assert_eq!(usage, [0, 3, 250, 1, 1, 2, 3, 4]);
        let Ok(Ask::Run(order)) = Ask::from_body(&ask) else {
            panic!("no question");
        };
        assert_eq!(order.anchor, 9);
    }
}
