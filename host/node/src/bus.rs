//! Messages between the components of this node: a bounded queue per subscriber, retries, counts.
//! In memory: what is queued when the node ends is lost. Knows no guest and no topic's meaning.
//!
//! A message goes to every component that subscribes to its topic and has a replica placed here,
//! once to each: to the replica with the fewest calls. Either all of them get it or, if one queue
//! is full, none, and the publisher is told. While the node lives a message is handled at least
//! once or given up: a handler that fails is tried again after growing pauses, up to
//! [`ATTEMPTS_MAX`] times. Messages overtake each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use admin::LogStream;
use monitor::{MessageEnd, WorkloadLabels};
use runtime::{CallError, Message, PublishError, Publisher};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use types::{Name, Topic};

use crate::shared::Shared;

/// Messages that wait for one subscriber: what it is behind by at most.
pub(crate) const QUEUE_MESSAGES_MAX: usize = 256;
/// Bytes of the messages that wait for one subscriber or are being handled by it.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Messages that one subscriber handles at once, or waits to try again: one that always fails
/// holds up one place, not the queue.
const HANDLED_AT_ONCE_MAX: usize = 16;
/// How often a message is tried before it is given up.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
/// Pause after the first failure; doubled after each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// Pause before a replica is looked for again, or one that is busy is asked again.
const PAUSE_UNAVAILABLE: Duration = Duration::from_millis(50);

/// A component that subscribes.
pub(crate) type Subscriber = (Name, Name);

/// The queues of a node.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    queues: RwLock<BTreeMap<Subscriber, Queue>>,
}

#[derive(Debug)]
struct Queue {
    topics: BTreeSet<Topic>,
    messages: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    /// Cancelled when nothing subscribes any more.
    stop: CancellationToken,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A message and its share of the queue's bytes.
#[derive(Debug)]
struct Queued {
    message: Message,
    _bytes: OwnedSemaphorePermit,
}

impl Bus {
    /// Sets who of some workloads subscribes to what; queues of their other components are dropped
    /// with what is in them.
    pub(crate) fn subscribe(
        &self,
        shared: &Arc<Shared>,
        workloads: &BTreeSet<Name>,
        wanted: BTreeMap<Subscriber, BTreeSet<Topic>>,
    ) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|subscriber, _| {
            !workloads.contains(&subscriber.0) || wanted.contains_key(subscriber)
        });
        for (subscriber, topics) in wanted {
            if let Some(queue) = queues.get_mut(&subscriber) {
                queue.topics = topics;
                continue;
            }
            let (messages, waiting) = mpsc::channel(QUEUE_MESSAGES_MAX);
            let stop = CancellationToken::new();
            let deliveries = Deliveries {
                shared: Arc::clone(shared),
                subscriber: Arc::new(subscriber.clone()),
                stop: stop.clone(),
            };
            tokio::spawn(deliveries.run(waiting));
            let queue = Queue {
                topics,
                messages,
                bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
                stop,
            };
            queues.insert(subscriber, queue);
        }
    }

    /// Drops every queue; what is being handled is stopped.
    pub(crate) fn close(&self) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.clear();
    }
}

impl Publisher for Bus {
    fn publish(&self, message: Message) -> Result<usize, PublishError> {
        message.check()?;
        let size = u32::try_from(message.bytes()).unwrap_or(u32::MAX);
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::new();
        for ((workload, component), queue) in queues.iter() {
            if !queue.topics.contains(&message.topic) {
                continue;
            }
            let full = || PublishError::QueueFull {
                subscriber: format!("{workload}/{component}"),
            };
            let bytes = Arc::clone(&queue.bytes);
            let bytes = bytes.try_acquire_many_owned(size).map_err(|_| full())?;
            match queue.messages.try_reserve() {
                Ok(place) => places.push((place, bytes)),
                Err(TrySendError::Full(())) => return Err(full()),
                // The node is stopping.
                Err(TrySendError::Closed(())) => {}
            }
        }
        let count = places.len();
        for (place, bytes) in places {
            let message = message.clone();
            place.send(Queued {
                message,
                _bytes: bytes,
            });
        }
        Ok(count)
    }
}

/// Takes the messages of one subscriber to its replicas.
#[derive(Clone)]
struct Deliveries {
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
    stop: CancellationToken,
}

impl Deliveries {
    async fn run(self, mut waiting: mpsc::Receiver<Queued>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(_) = running.join_next() => {}
                queued = waiting.recv(), if running.len() < HANDLED_AT_ONCE_MAX => {
                    let Some(queued) = queued else { break };
                    let this = self.clone();
                    running.spawn(async move { this.deliver(queued).await });
                }
            }
        }
        // Dropping the set stops the guests.
    }

    /// Tries until the message is handled or given up.
    async fn deliver(&self, queued: Queued) {
        let mut pause = PAUSE_FIRST;
        let mut attempt = 1;
        loop {
            let error = match self.attempt(&queued.message).await {
                None => {
                    sleep(PAUSE_UNAVAILABLE).await;
                    continue;
                }
                Some(Ok(())) => return self.count(MessageEnd::Delivered),
                Some(Err(error)) => error,
            };
            self.count(MessageEnd::Failed);
            if attempt == ATTEMPTS_MAX {
                self.count(MessageEnd::Dead);
                return self.give_up(&queued.message, &error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
            attempt += 1;
        }
    }

    /// One attempt; none if no replica could take it.
    async fn attempt(&self, message: &Message) -> Option<Result<(), CallError>> {
        let (workload, component) = &*self.subscriber;
        let replica = self.shared.replicas.least_loaded(workload, component)?;
        match replica.deliver(message.clone()).await {
            Err(
                CallError::Stopped
                | CallError::Paused { .. }
                | CallError::QueueFull { .. }
                | CallError::QueueTimeout { .. },
            ) => None,
            ended => Some(ended),
        }
    }

    fn give_up(&self, message: &Message, error: &CallError) {
        let (workload, component) = &*self.subscriber;
        let text = format!(
            "message to {} given up after {ATTEMPTS_MAX} attempts: {error}",
            message.topic
        );
        let book = self.shared.logs.book(workload);
        book.write(component, 0, LogStream::Node, text);
    }

    fn count(&self, end: MessageEnd) {
        let (workload, component) = &*self.subscriber;
        let labels = WorkloadLabels {
            workload: workload.to_string(),
            component: component.to_string(),
        };
        self.shared.metrics.message(&labels, end);
    }
}
