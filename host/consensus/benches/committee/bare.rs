//! The engine alone: its agreement with its journal on disk, over queues in memory, on payloads that
//! nobody reads, executes or keeps. What is left out is ours: transactions and their pool, blocks on
//! disk, authenticated state, links.

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
use commonware_runtime::{IoBufs, Runner as _, Supervisor as _, tokio as engine_runtime};
use commonware_utils::channel::{oneshot as answer, ring};
use commonware_utils::ordered::Set;
use commonware_utils::{NZDuration, NZUsize};
use tokio::sync::{Notify, mpsc, oneshot};

/// Votes, certificates, questions after certificates.
const CHANNELS: usize = 3;
/// No round fails here, so nothing but the end of a measurement is longer.
const NEVER: Duration = Duration::from_secs(3_600);

/// Payloads that wait for a leader or for finality, and who waits for them.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Vec<Payload>>,
    arrived: Notify,
    /// By the view that carries them.
    proposed: Mutex<BTreeMap<u64, Vec<Payload>>>,
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
    pub(crate) fn start(validators: u8, dir: &Path) -> Self {
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
                key,
            };
            let (stop, stopped) = oneshot::channel();
            let storage = dir.join(format!("bare-{validators}-{number}"));
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
    key: PrivateKey,
}

impl Validator {
    async fn run(self, context: engine_runtime::Context, stopped: oneshot::Receiver<()>) {
        let me = self.key.public_key();
        let scheme = Scheme::signer(b"bare", self.participants, self.key).expect("a participant");
        let application = self.application;
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
            floor: Floor::Genesis(Blake3::hash(&[b"genesis"])),
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
        let mut ends = self
            .inboxes
            .into_iter()
            .enumerate()
            .map(|(channel, inbox)| {
                let sender = ToInboxes {
                    me: me.clone(),
                    peers: Arc::clone(&self.senders),
                    channel,
                };
                (sender, Inbox(inbox))
            });
        let mut next = || ends.next().expect("three channels");
        let (votes, certificates, resolver) = (next(), next(), next());
        let engine = Engine::new(context.child("agreement"), config);
        let engine = engine.start(votes, certificates, resolver);
        tokio::select! {
            _ = stopped => {}
            end = engine => panic!("the engine ended: {end:?}"),
        }
    }
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
            let batch = loop {
                let arrived = desk.arrived.notified();
                let mut arrived = std::pin::pin!(arrived);
                arrived.as_mut().enable();
                let batch = std::mem::take(&mut *desk.waiting.lock().unwrap());
                if !batch.is_empty() {
                    break batch;
                }
                arrived.await;
            };
            let number = view.to_be_bytes();
            let parts = batch.iter().map(|payload| payload.bytes.as_slice());
            let parts: Vec<_> = std::iter::once(number.as_slice()).chain(parts).collect();
            let digest = Blake3::hash(&parts);
            desk.proposed.lock().unwrap().insert(view, batch);
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
            // With it all before it is final.
            let above = it.proposal.round.view().get() + 1;
            let mut proposed = self.desk.proposed.lock().unwrap();
            let later = proposed.split_off(&above);
            for payload in std::mem::replace(&mut *proposed, later)
                .into_values()
                .flatten()
            {
                // Whoever does not wait any more need not be told.
                let _ = payload.is_final.send(());
            }
        }
        Feedback::Ok
    }
}

/// Every validator with its inboxes.
type Peers = Vec<(PublicKey, Vec<mpsc::UnboundedSender<(PublicKey, Bytes)>>)>;

#[derive(Clone, Debug)]
struct ToInboxes {
    me: PublicKey,
    peers: Arc<Peers>,
    channel: usize,
}

struct Checked<'a> {
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
struct Inbox(mpsc::UnboundedReceiver<(PublicKey, Bytes)>);

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
struct Nobody;

impl Blocker for Nobody {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        panic!("{peer} was blamed");
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        ring::channel(NonZeroUsize::MIN).1
    }
}
