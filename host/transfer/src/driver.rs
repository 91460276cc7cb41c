//! Carries a fetch out: opens streams, checks and stores what comes, keeps the time. How a peer is
//! reached and who is told about it are traits.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use storage::{Artifacts, FillArtifactError, FinishPartialError, Partial, StorageError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use types::{Digest, NodeId};

use crate::asking::{Asking, Outcome};
use crate::fetch::Fetch;
use crate::fetch_types::{AskId, Effect, Event, NoSourceError, Pace, Patience, PeerFailure, Start};

/// Events that wait for the plan: one per request in flight and some.
const EVENTS_MAX: usize = 64;

/// The way to peers.
pub trait Sources: Send + Sync + 'static {
    /// What they send.
    type Reader: AsyncRead + Send + Unpin;
    /// What is sent to them.
    type Writer: AsyncWrite + Send + Unpin;

    /// Opens a stream of the artifact service.
    ///
    /// # Errors
    /// Whatever kept it from being opened; it is tried again.
    fn open(
        &self,
        peer: NodeId,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>> + Send;

    /// What the way to a peer bears now.
    fn pace(&self, peer: NodeId) -> Pace;
}

/// Who is told how a fetch goes. Called between slices: it should not wait.
pub trait Observer: Send {
    /// A peer is asked no more.
    fn dropped(&mut self, peer: NodeId, failure: &PeerFailure);
    /// So many of so many bytes are here.
    fn progressed(&mut self, bytes: u64, of_bytes: u64);
}

/// A fetch that ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes of slices by who sent them; none at all if the artifact was here.
    pub bytes_from: BTreeMap<NodeId, u64>,
    /// Who was dropped, and why.
    pub dropped: Vec<(NodeId, PeerFailure)>,
}

/// A fetch that did not.
#[derive(Debug, thiserror::Error)]
pub enum FetchArtifactError {
    /// Nobody is left to ask. What came stays for the next fetch.
    #[error(transparent)]
    NoSource(#[from] NoSourceError),
    /// The disk or the quota refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk lost part of it meanwhile: fetching again brings it.
    #[error(transparent)]
    Finish(#[from] FinishPartialError),
    /// A task ended early: the process is shutting down.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// Fetches an artifact into `artifacts` from `peers`, or goes on where an earlier fetch ended. To stop,
/// drop the future: what came stays.
///
/// # Errors
/// [`FetchArtifactError`]; peers that fail are no error while others are left.
pub async fn fetch<S: Sources>(
    artifacts: &Artifacts,
    digest: Digest,
    peers: &[NodeId],
    sources: &Arc<S>,
    patience: Patience,
    observer: &mut impl Observer,
) -> Result<FetchReport, FetchArtifactError> {
    let store = artifacts.clone();
    let partial = match spawn_blocking(move || store.resume(&digest)).await? {
        Err(FillArtifactError::Whole(_)) => return Ok(FetchReport::default()),
        Err(FillArtifactError::Storage(error)) => return Err(error.into()),
        Ok(partial) => partial,
    };
    let start = partial.as_ref().map_or(Start::Unknown, |partial| {
        let (bytes, held) = (partial.bytes(), partial.held());
        Start::Partial { bytes, held }
    });
    let paced: Vec<_> = peers
        .iter()
        .map(|peer| (*peer, sources.pace(*peer)))
        .collect();
    let plan = Fetch::new(Duration::ZERO, digest, start, &paced, patience);
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let asking = Asking::new(artifacts.clone(), digest, partial, events);
    let driver = Driver {
        plan,
        begun: Instant::now(),
        sources: Arc::clone(sources),
        asking: Arc::new(asking),
        tasks: JoinSet::new(),
        running: HashMap::new(),
        received,
        report: FetchReport::default(),
    };
    driver.run(observer).await
}

struct Driver<S> {
    plan: Fetch,
    begun: Instant,
    sources: Arc<S>,
    asking: Arc<Asking>,
    /// Dropped with the driver, and then all requests end.
    tasks: JoinSet<()>,
    running: HashMap<AskId, (NodeId, AbortHandle)>,
    received: mpsc::Receiver<Outcome>,
    report: FetchReport,
}

impl<S: Sources> Driver<S> {
    async fn run(
        mut self,
        observer: &mut impl Observer,
    ) -> Result<FetchReport, FetchArtifactError> {
        loop {
            while let Some(effect) = self.plan.poll_effect() {
                match effect {
                    Effect::Ask { ask, peer, wanted } => {
                        let task =
                            self.asking
                                .clone()
                                .ask(self.sources.clone(), (ask, peer), wanted);
                        self.running.insert(ask, (peer, self.tasks.spawn(task)));
                    }
                    Effect::Cancel { ask } => {
                        if let Some((_, task)) = self.running.remove(&ask) {
                            task.abort();
                        }
                    }
                    Effect::Dropped { peer, failure } => {
                        observer.dropped(peer, &failure);
                        self.report.dropped.push((peer, failure));
                    }
                    Effect::Whole => return self.finish().await,
                    Effect::Failed(error) => return Err(error.into()),
                }
            }
            while self.tasks.try_join_next().is_some() {}
            let timeout = self.plan.next_timeout().map(|at| self.begun + at);
            // Something is always in flight or due; failing that, look again.
            let timeout = timeout.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            tokio::select! {
                outcome = self.received.recv() => match outcome {
                    Some(Outcome::Event(event)) => self.take(event, observer),
                    Some(Outcome::Disk(error)) => return Err(error.into()),
                    Some(Outcome::Whole) => return self.finish().await,
                    None => {}
                },
                () = sleep_until(timeout) => {
                    self.plan.handle_event(self.begun.elapsed(), Event::Tick);
                }
            }
        }
    }

    fn take(&mut self, event: Event, observer: &mut impl Observer) {
        let mut slice = None;
        match &event {
            Event::Stored { ask, groups, bytes } => {
                let peer = self.running.get(ask).map(|(peer, _)| *peer);
                slice = peer.map(|peer| (peer, groups.clone(), *bytes));
            }
            Event::Ended { ask }
            | Event::Broke { ask, .. }
            | Event::Refused { ask, .. }
            | Event::Bad { ask, .. }
            | Event::Violated { ask, .. } => {
                if let Some((peer, _)) = self.running.remove(ask) {
                    // Its way may bear more or less by now.
                    let pace = self.sources.pace(peer);
                    let paced = Event::Paced { peer, pace };
                    self.plan.handle_event(self.begun.elapsed(), paced);
                }
            }
            _ => {}
        }
        self.plan.handle_event(self.begun.elapsed(), event);
        if let Some((peer, groups, bytes)) = slice {
            let size = |group: u64| bytes.min(group.saturating_mul(storage::GROUP_BYTES));
            let content = size(groups.end).saturating_sub(size(groups.start));
            *self.report.bytes_from.entry(peer).or_default() += content;
            observer.progressed(self.plan.stored_bytes(), bytes);
        }
    }

    async fn finish(mut self) -> Result<FetchReport, FetchArtifactError> {
        self.tasks.shutdown().await;
        if let Some(partial) = self.asking.partial() {
            spawn_blocking(move || Partial::finish(&partial)).await??;
        }
        Ok(self.report)
    }
}
