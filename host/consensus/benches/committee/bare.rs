//! The engine alone: its agreement with its journal on disk, over queues in memory, on payloads that
//! nobody reads, executes or keeps; or with its own delivery, which keeps them. What is left out is
//! ours: transactions and their pool, authenticated state, links.

use std::collections::BTreeMap;
use std::future::pending;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, Bytes};
use commonware_actor::{Feedback, Unreliable};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Context};
use commonware_consensus::simplex::{Config, Engine, Plan};
use commonware_consensus::types::{Epoch, ViewDelta};
use commonware_consensus::{Automaton, CertifiableAutomaton, Relay, Reporter};
use commonware_cryptography::blake3::{Blake3, Digest};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::{Hasher as _, Signer as _};
use commonware_p2p::{
    BlockedSubscription, Blocker, CheckedSender, LimitedSender, Message, Receiver, Recipients,
};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::{CacheRef, page_size};
use commonware_runtime::{Handle, IoBufs, Runner as _, Supervisor as _, tokio as engine_runtime};
use commonware_utils::channel::{oneshot as answer, ring};
use commonware_utils::ordered::Set;
use commonware_utils::{NZDuration, NZUsize};
use tokio::sync::{Notify, mpsc, oneshot};

use super::delivered::{Payloads, deliver};

/// Votes, certificates, questions after certificates; blocks, questions after blocks.
const CHANNELS: usize = 5;
/// No round fails here, so nothing but the end of a measurement is longer.
const NEVER: Duration = Duration::from_secs(3_600);

/// Payloads that wait for a leader or for finality, and who waits for them.
#[derive(Default)]
pub(super) struct Desk {
    waiting: Mutex<Vec<Payload>>,
    arrived: Notify,
    /// By the view or height that carries them.
    proposed: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
}

impl Desk {
    /// What waits, as soon as anything does; `at` will say that it is final.
    pub(super) async fn take(&self, at: u64) -> Vec<Vec<u8>> {
        let batch = loop {
            let arrived = self.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            arrived.as_mut().enable();
            let batch = std::mem::take(&mut *self.waiting.lock().unwrap());
            if !batch.is_empty() {
                break batch;
            }
            arrived.await;
        };
        let (bytes, waiters) = batch
            .into_iter()
            .map(|payload| (payload.bytes, payload.is_final))
            .unzip();
        self.proposed.lock().unwrap().insert(at, waiters);
        bytes
    }

    /// Tells who waits for `at`, and for all before it.
    pub(super) fn tell(&self, at: u64) {
        let mut proposed = self.proposed.lock().unwrap();
        let later = proposed.split_off(&(at + 1));
        for waiter in std::mem::replace(&mut *proposed, later)
            .into_values()
            .flatten()
        {
            // Whoever does not wait any more need not be told.
            let _ = waiter.send(());
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Agreement on digests.
    Agreement,
    /// The same, and every validator has every payload on its disk.
    Delivery,
}

struct Payload {
    bytes: Vec<u8>,
    is_final: oneshot::Sender<()>,
}

/// Validators in this process, each with a thread, a journal and a runtime as a ledger has them.
pub(crate) struct Bare {
    desk: Arc<Desk>,
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Bare {
    pub(crate) fn start(validators: u8, kind: Kind, dir: &Path) -> Self {
        let desk = Arc::new(Desk::default());
        let keys: Vec<_> = (0..u64::from(validators))
            .map(PrivateKey::from_seed)
            .collect();
        let mut senders = Vec::new();
        let mut inboxes = Vec::new();
        for key in &keys {
            let channels = (0..CHANNELS).map(|_| mpsc::unbounded_channel());
            let (into, from): (Vec<_>, Vec<_>) = channels.unzip();
            senders.push((key.public_key(), into));
            inboxes.push(from);
        }
        let senders = Arc::new(senders);
        let (mut stops, mut threads) = (Vec::new(), Vec::new());
        for (number, (key, inboxes)) in keys.iter().cloned().zip(inboxes).enumerate() {
            let participants = keys.iter().map(PrivateKey::public_key);
            let validator = Validator {
                participants: Set::from_iter_dedup(participants),
                senders: Arc::clone(&senders),
                inboxes,
                application: Application {
                    desk: Arc::clone(&desk),
                    tells: number == 0,
                },
                kind,
                key,
            };
            let (stop, stopped) = oneshot::channel();
            let storage = dir.join(format!("{kind:?}-{validators}-{number}"));
            stops.push(stop);
            threads.push(std::thread::spawn(move || {
                let runtime = engine_runtime::Config::new()
                    .with_worker_threads(1)
                    .with_storage_directory(storage);
                engine_runtime::Runner::new(runtime)
                    .start(|context| validator.run(context, stopped));
            }));
        }
        Self {
            desk,
            stops,
            threads,
        }
    }

    /// Hands in a payload and waits until the first validator knows that it is final.
    pub(crate) async fn submit(&self, bytes: Vec<u8>) {
        let (is_final, told) = oneshot::channel();
        self.desk
            .waiting
            .lock()
            .unwrap()
            .push(Payload { bytes, is_final });
        self.desk.arrived.notify_waiters();
        told.await.expect("the engine goes on");
    }

    pub(crate) fn stop(self) {
        drop(self.stops);
        for thread in self.threads {
            thread.join().expect("the engine ends");
        }
    }
}

struct Validator {
    participants: Set<PublicKey>,
    senders: Arc<Peers>,
    inboxes: Vec<mpsc::UnboundedReceiver<(PublicKey, Bytes)>>,
    application: Application,
    kind: Kind,
    key: PrivateKey,
}

impl Validator {
    async fn run(self, context: engine_runtime::Context, stopped: oneshot::Receiver<()>) {
        let me = self.key.public_key();
        let peers = self.participants.clone();
        let scheme = Scheme::signer(b"bare", self.participants, self.key).expect("a participant");
        let ends = self.inboxes.into_iter().enumerate();
        let ends = ends.map(|(channel, inbox)| {
            let sender = ToInboxes {
                me: me.clone(),
                peers: Arc::clone(&self.senders),
                channel,
            };
            (sender, Inbox(inbox))
        });
        let ends: Vec<_> = ends.collect();
        let Ok([votes, certificates, resolver, blocks, questions]) =
            <[_; CHANNELS]>::try_from(ends)
        else {
            panic!("as many as there are channels");
        };
        let network = (votes, certificates, resolver);
        let application = self.application;
        let base = Blake3::hash(&[b"genesis"]);
        let (engine, mut others) = match self.kind {
            Kind::Agreement => (agree(&context, scheme, application, base, network), vec![]),
            Kind::Delivery => {
                let Application { desk, tells } = application;
                let payloads = Payloads { desk, tells };
                let ends = [blocks, questions];
                let (delivered, base, others) =
                    deliver(&context, &me, peers, scheme.clone(), payloads, ends).await;
                (agree(&context, scheme, delivered, base, network), others)
            }
        };
        others.push(engine);
        tokio::select! {
            _ = stopped => {}
            (end, _, _) = futures::future::select_all(others) => panic!("the engine ended: {end:?}"),
        }
    }
}

type End = (ToInboxes, Inbox);

/// Starts agreement on what `application` proposes.
fn agree<A>(
    context: &engine_runtime::Context,
    scheme: Scheme,
    application: A,
    base: Digest,
    (votes, certificates, resolver): (End, End, End),
) -> Handle<()>
where
    A: CertifiableAutomaton<Context = Context<Digest, PublicKey>, Digest = Digest>
        + Relay<Digest = Digest, PublicKey = PublicKey, Plan = Plan<PublicKey>>
        + Reporter<Activity = Activity<Scheme, Digest>>
        + Sync,
{
    let config = Config {
        scheme,
        elector: RoundRobin::<Blake3>::default(),
        blocker: Nobody,
        automaton: application.clone(),
        relay: application.clone(),
        reporter: application,
        track_historical_votes: false,
        strategy: Sequential,
        partition: "votes".into(),
        mailbox_size: NZUsize!(1024),
        epoch: Epoch::zero(),
        floor: Floor::Genesis(base),
        replay_buffer: NZUsize!(1 << 18),
        write_buffer: NZUsize!(1 << 16),
        page_cache: CacheRef::new(page_size(4096), NZUsize!(1024)),
        leader_timeout: NEVER,
        certification_timeout: NEVER * 2,
        timeout_retry: NEVER,
        view_retention: ViewDelta::new(64),
        skip: SkipPolicy::Disabled,
        fetch_timeout: NZDuration!(Duration::from_secs(1)),
        fetch_retry_delay: Duration::from_millis(100),
        forward: ForwardPolicy::SilentLeader,
    };
    Engine::new(context.child("agreement"), config).start(votes, certificates, resolver)
}

/// Proposes what waits, believes everything, and tells who waits.
#[derive(Clone)]
struct Application {
    desk: Arc<Desk>,
    tells: bool,
}

impl Automaton for Application {
    type Context = Context<Digest, PublicKey>;
    type Digest = Digest;

    async fn propose(&mut self, context: Self::Context) -> answer::Receiver<Digest> {
        let (sender, receiver) = answer::channel();
        let desk = Arc::clone(&self.desk);
        let view = context.round.view().get();
        tokio::spawn(async move {
            let number = view.to_be_bytes();
            let batch = desk.take(view).await;
            let parts = batch.iter().map(Vec::as_slice);
            let parts: Vec<_> = std::iter::once(number.as_slice()).chain(parts).collect();
            let digest = Blake3::hash(&parts);
            sender.send(digest).expect("no round is given up here");
        });
        receiver
    }

    async fn verify(&mut self, _: Self::Context, _: Digest) -> answer::Receiver<bool> {
        let (sender, receiver) = answer::channel();
        sender.send(true).expect("it is here");
        receiver
    }
}

impl CertifiableAutomaton for Application {}

impl Relay for Application {
    type Digest = Digest;
    type PublicKey = PublicKey;
    type Plan = Plan<PublicKey>;

    fn broadcast(&mut self, _: Digest, _: Self::Plan) -> Feedback {
        Feedback::Ok
    }
}

impl Reporter for Application {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        if let (true, Activity::Finalization(it)) = (self.tells, activity) {
            self.desk.tell(it.proposal.round.view().get());
        }
        Feedback::Ok
    }
}

/// Every validator with its inboxes.
type Peers = Vec<(PublicKey, Vec<mpsc::UnboundedSender<(PublicKey, Bytes)>>)>;

#[derive(Clone, Debug)]
pub(super) struct ToInboxes {
    me: PublicKey,
    peers: Arc<Peers>,
    channel: usize,
}

pub(super) struct Checked<'a> {
    sender: &'a ToInboxes,
    to: Vec<PublicKey>,
}

impl LimitedSender for ToInboxes {
    type PublicKey = PublicKey;
    type Checked<'a> = Checked<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Checked<'_>, SystemTime> {
        let to = match recipients {
            Recipients::All => {
                let peers = self.peers.iter().map(|(peer, _)| peer);
                peers.filter(|peer| **peer != self.me).cloned().collect()
            }
            Recipients::Some(some) => some,
            Recipients::One(one) => vec![one],
        };
        Ok(Checked { sender: self, to })
    }
}

impl CheckedSender for Checked<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.to.clone()
    }

    fn send(self, message: impl Into<IoBufs> + Send, _: bool) -> Unreliable<Feedback> {
        let mut message: IoBufs = message.into();
        let bytes = message.copy_to_bytes(message.remaining());
        let ToInboxes { me, peers, channel } = self.sender;
        for (_, inboxes) in peers.iter().filter(|(peer, _)| self.to.contains(peer)) {
            // One that stops is not there to be told.
            let _ = inboxes[*channel].send((me.clone(), bytes.clone()));
        }
        Unreliable::new(Feedback::Ok)
    }
}

#[derive(Debug)]
pub(super) struct Inbox(mpsc::UnboundedReceiver<(PublicKey, Bytes)>);

impl Receiver for Inbox {
    type Error = std::convert::Infallible;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Self::Error> {
        match self.0.recv().await {
            Some((peer, bytes)) => Ok((peer, bytes.into())),
            None => pending().await,
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        NZUsize!(4096)
    }
}

/// Blames nobody: all are honest here.
#[derive(Clone)]
pub(super) struct Nobody;

impl Blocker for Nobody {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        panic!("{peer} was blamed");
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        ring::channel(NonZeroUsize::MIN).1
    }
}
