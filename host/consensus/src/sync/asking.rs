//! Questions to peers that wait for their answers. Never judges an answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use types::NodeId;

use super::messages::{Answer, Message, Question};
use crate::links::{Channel, Wires};

/// How long a peer may take: a slow link carries the longest answer in it.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What was asked and is not answered.
#[derive(Debug)]
pub(crate) struct Asking {
    wires: Arc<Wires>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    waiting: BTreeMap<u64, (NodeId, oneshot::Sender<Answer>)>,
}

impl Asking {
    pub(crate) fn new(wires: &Arc<Wires>) -> Self {
        Self {
            wires: wires.clone(),
            open: Mutex::default(),
        }
    }

    /// Asks one peer; none if it says nothing in time. Cancel safe.
    pub(crate) async fn ask(&self, peer: NodeId, question: Question) -> Option<Answer> {
        let (told, answer) = oneshot::channel();
        let number = {
            let mut open = self.lock();
            open.last += 1;
            let number = open.last;
            open.waiting.insert(number, (peer, told));
            number
        };
        let _forget = Forget {
            asking: self,
            number,
        };
        let message = Message::Question(number, question).encode();
        if !self.wires.send(peer, Channel::State, message, false) {
            return None;
        }
        tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = self.wires.time.sleep(ANSWER_TIME) => None,
        }
    }

    /// Takes an answer; one that nobody waits for came late.
    pub(crate) fn answered(&self, peer: NodeId, number: u64, answer: Answer) {
        let mut open = self.lock();
        if open
            .waiting
            .get(&number)
            .is_some_and(|(asked, _)| *asked == peer)
            && let Some((_, told)) = open.waiting.remove(&number)
        {
            let _ = told.send(answer);
        }
    }

    /// The table is whole between any two statements, so a panic elsewhere leaves it sound.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a question back when its asker is gone.
struct Forget<'a> {
    asking: &'a Asking,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.asking.lock().waiting.remove(&self.number);
    }
}
