//! Answers what peers ask about the state, and hands answers of peers to whoever asked. Spends at
//! most half of the time on others: they share the thread that votes.

use std::future::pending;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use commonware_codec::{Encode as _, EncodeSize as _};
use commonware_storage::qmdb::sync::{Request, Source as _};
use tokio::sync::OnceCell;
use types::NodeId;

use super::asking::Asking;
use super::messages::{Answer, Message, Page, Question};
use crate::blame::Blame;
use crate::engine::{EngineRuntime, Foundation};
use crate::epochs::Epochs;
use crate::handle::Shared;
use crate::links::{Channel, STATE_MESSAGE_BYTES_MAX};
use crate::state::{Databases, Family};

/// Operations of the log that are read for one answer.
const OPERATIONS_MAX: u64 = 256;
/// Bytes of a message beside the part of the state in it.
const FRAME_BYTES: usize = 64;

/// The state's door for peers, for one run of the engine.
pub(crate) struct Serving {
    pub(crate) shared: Arc<Shared>,
    pub(crate) epochs: Epochs,
    pub(crate) asking: Arc<Asking>,
}

impl Serving {
    /// Takes what comes in, for ever. Without `open` this node has no state to tell of.
    pub(crate) async fn run<E: EngineRuntime>(&self, base: &Foundation<E>, open: bool) {
        let databases = OnceCell::new();
        let attach = async {
            if open {
                // Nothing else sets it.
                let _ = databases.set(base.stateful.subscribe_databases().await);
            }
        };
        futures::join!(attach, self.take(base, &databases));
    }

    async fn take<E: EngineRuntime>(
        &self,
        base: &Foundation<E>,
        databases: &OnceCell<Databases<E>>,
    ) {
        let wires = &self.shared.wires;
        while let Some((peer, bytes)) = wires.inbox(Channel::State).pop().await {
            if wires.blocklist.holds(&peer) {
                continue;
            }
            match Message::decode(bytes) {
                Ok(Message::Answer(number, answer)) => self.asking.answered(peer, number, answer),
                Ok(Message::Question(number, question)) => {
                    let began = wires.time.now();
                    let answer = match databases.get() {
                        Some(databases) => self.answer(base, databases, question).await,
                        None => Answer::Nothing,
                    };
                    self.send(peer, number, answer);
                    let took = wires.time.now().saturating_duration_since(began);
                    wires.time.sleep(took).await;
                }
                Err(_) => wires.blocklist.block(
                    peer,
                    Blame::Malformed {
                        channel: Channel::State,
                    },
                ),
            }
        }
        pending().await
    }

    fn send(&self, peer: NodeId, number: u64, answer: Answer) {
        let message = Message::Answer(number, answer).encode();
        let message = if message.len() <= Channel::State.message_bytes_max() {
            message
        } else {
            Message::Answer(number, Answer::Nothing).encode()
        };
        // What does not fit into the queue is asked for again.
        let wires = &self.shared.wires;
        let _ = wires.send(peer, Channel::State, message, false);
    }

    async fn answer<E: EngineRuntime>(
        &self,
        base: &Foundation<E>,
        databases: &Databases<E>,
        question: Question,
    ) -> Answer {
        let answer = match question {
            Question::Standing(from) => self.standing(base, from).await.map(Answer::Standing),
            Question::Part(request) => part(databases, request).await.map(Answer::Part),
        };
        answer.unwrap_or(Answer::Nothing)
    }

    /// The ends of epochs from the one of this index on, and where this node stands.
    async fn standing<E: EngineRuntime>(&self, base: &Foundation<E>, from: u64) -> Option<Bytes> {
        let from = usize::try_from(from).ok()?;
        let (mut page, all) = {
            let handovers = self.shared.handovers.borrow();
            Page::of(handovers.get(from..)?)
        };
        if all {
            let through = self.epochs.latest().checked_sub(1)?;
            page.end = Some(base.handover(self.epochs.last(through)).await?);
        }
        Some(page.encode())
    }
}

/// A part of the log: as much of what is asked as fits into a message.
async fn part<E: EngineRuntime>(
    databases: &Databases<E>,
    request: Request<Family>,
) -> Option<Bytes> {
    let mut most = request.max_ops().get().min(OPERATIONS_MAX);
    loop {
        let smaller = match request {
            Request::Operations { size, start, .. } => Request::Operations {
                size,
                start,
                max_ops: NonZeroU64::new(most)?,
            },
            boundary @ Request::Boundary { .. } => boundary,
        };
        // What was pruned, or is not here yet, is not here.
        let (part, _) = databases.serve(smaller).await.ok()?;
        if part.encode_size() + FRAME_BYTES <= STATE_MESSAGE_BYTES_MAX {
            return Some(part.encode());
        }
        most /= 2;
        if matches!(request, Request::Boundary { .. }) {
            return None;
        }
        tokio::task::yield_now().await;
    }
}
