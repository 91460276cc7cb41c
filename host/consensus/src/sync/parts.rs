//! Fetches the state's log part by part, each from any peer that has it; the engine says whether a
//! part's proof holds, and who sent one that does not is blamed. Never stores anything.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use commonware_glue::stateful::db::AttachableResolver;
use commonware_storage::qmdb::sync::source::{self, Feedback};
use commonware_storage::qmdb::sync::{Request, Source};
use commonware_utils::channel::{mpsc as candidates, oneshot as verdicts};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use types::NodeId;

use super::asking::Asking;
use super::messages::{Answer, Part, Question, decode_part};
use crate::application::Runtime;
use crate::blame::Blame;
use crate::block::Digest;
use crate::links::{Channel, Wires};
use crate::state::{Databases, Db, Family, Operation};

/// Questions of the engine that may wait; it asks no more than eight at once.
const ASKED_MAX: usize = 16;
/// How long a peer that could not say is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);
/// The same for one that said nothing: waiting for it costs more than asking another.
const SILENT_LEFT_ALONE: Duration = Duration::from_secs(30);
/// Pause where there is nobody to ask.
const NOBODY_PAUSE: Duration = Duration::from_millis(250);

/// The engine's end.
#[derive(Clone, Debug)]
pub(crate) struct StatePeers {
    asked: mpsc::Sender<Asked>,
}

/// A question of the engine, and where the answer goes.
struct Asked {
    request: Request<Family>,
    told: oneshot::Sender<(Part, Feedback<Part>)>,
}

/// The run is over.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nobody asks for state any more")]
pub(crate) struct NobodyAsks;

impl Source for StatePeers {
    type Family = Family;
    type Digest = Digest;
    type Op = Operation;
    type Error = NobodyAsks;

    async fn serve(&self, request: Request<Family>) -> source::Result<Self> {
        let (told, answer) = oneshot::channel();
        let asked = Asked { request, told };
        self.asked.send(asked).await.map_err(|_| NobodyAsks)?;
        let (part, feedback) = answer.await.map_err(|_| NobodyAsks)?;
        Ok((part, Some(feedback)))
    }
}

/// Peers are answered elsewhere, from the state that every run has.
impl<E: Runtime> AttachableResolver<Db<E>> for StatePeers {
    async fn attach_database(&self, _: Databases<E>) {}
}

/// Finds the answers.
pub(crate) struct Fetching {
    wires: Arc<Wires>,
    asking: Arc<Asking>,
    asked: mpsc::Receiver<Asked>,
    /// Parts that held.
    pub(crate) accepted: Arc<AtomicU64>,
}

impl Fetching {
    pub(crate) fn new(wires: &Arc<Wires>, asking: &Arc<Asking>) -> (StatePeers, Self) {
        let (sender, asked) = mpsc::channel(ASKED_MAX);
        let fetching = Self {
            wires: wires.clone(),
            asking: asking.clone(),
            asked,
            accepted: Arc::default(),
        };
        (StatePeers { asked: sender }, fetching)
    }

    /// Answers the engine, for ever.
    pub(crate) async fn run(self) {
        let Self {
            wires,
            asking,
            mut asked,
            accepted,
        } = self;
        let peers = Peers {
            wires,
            asking,
            unable: BTreeMap::new().into(),
            turn: AtomicU64::new(0),
        };
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                question = asked.recv() => match question {
                    Some(question) => open.push(peers.answer(question, &accepted)),
                    None => pending().await,
                },
                Some(()) = open.next() => {}
            }
        }
    }
}

/// Whom to ask next.
struct Peers {
    wires: Arc<Wires>,
    asking: Arc<Asking>,
    /// Who could not say, until when they are left alone.
    unable: std::sync::Mutex<BTreeMap<NodeId, Instant>>,
    turn: AtomicU64,
}

impl Peers {
    /// Offers one answer after the other until one holds or nobody wants any.
    async fn answer(&self, question: Asked, accepted: &AtomicU64) {
        let Asked { request, mut told } = question;
        let (peer, part) = tokio::select! {
            biased;
            () = told.closed() => return,
            found = self.find(&request) => found,
        };
        let (verdict, mut judged) = verdicts::channel();
        let (later, rest) = candidates::channel(1);
        if told.send((part, Feedback::new(verdict, rest))).is_err() {
            return;
        }
        let mut sender = peer;
        loop {
            match judged.await {
                Ok(true) => {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(false) => self.wires.blocklist.block(sender, Blame::FalseState),
                Err(_) => return,
            }
            let (peer, part) = tokio::select! {
                biased;
                () = later.closed() => return,
                found = self.find(&request) => found,
            };
            let (verdict, next) = verdicts::channel();
            if later.send((part, verdict)).await.is_err() {
                return;
            }
            (sender, judged) = (peer, next);
        }
    }

    /// Asks one peer after the other until one has an answer that can be read.
    async fn find(&self, request: &Request<Family>) -> (NodeId, Part) {
        loop {
            let Some(peer) = self.next() else {
                self.wires.time.sleep(NOBODY_PAUSE).await;
                continue;
            };
            let malformed = Blame::Malformed {
                channel: Channel::State,
            };
            match self.asking.ask(peer, Question::Part(*request)).await {
                Some(Answer::Part(bytes)) => match decode_part(request, bytes) {
                    Ok(part) => return (peer, part),
                    Err(_) => self.wires.blocklist.block(peer, malformed),
                },
                Some(Answer::Standing(_)) => self.wires.blocklist.block(peer, malformed),
                Some(Answer::Nothing) => self.leave_alone(peer, LEFT_ALONE),
                None => self.leave_alone(peer, SILENT_LEFT_ALONE),
            }
        }
    }

    fn leave_alone(&self, peer: NodeId, time: Duration) {
        let until = self.wires.time.now() + time;
        self.unable().insert(peer, until);
    }

    /// The connected peers in turn, without those that could not say a moment ago.
    fn next(&self) -> Option<NodeId> {
        let now = self.wires.time.now();
        let mut unable = self.unable();
        unable.retain(|_, until| *until > now);
        let mut peers: Vec<_> = self.wires.peers().into_iter().collect();
        peers.retain(|peer| !unable.contains_key(peer));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = u64::try_from(peers.len()).ok()?;
        let index = usize::try_from(turn.checked_rem(count)?).ok()?;
        peers.get(index).copied()
    }

    /// The table is whole between any two statements, so a panic elsewhere leaves it sound.
    fn unable(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.unable
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
