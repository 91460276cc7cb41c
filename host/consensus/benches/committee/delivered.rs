//! The engine with its own delivery: blocks of payloads that nobody reads go to every validator and
//! are on its disk before it votes for their finality, as the engine's `marshal` does it. What is left
//! out is what a ledger adds: signed transactions and their pool, authenticated state, links.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use commonware_actor::Feedback;
use commonware_broadcast::buffered;
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error as CodecError, MaxEncodeSize as _, RangeCfg, Read,
    ReadExt as _, Write,
};
use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::marshal::core::{Actor as Marshal, Mailbox};
use commonware_consensus::marshal::standard::{Deferred, Standard};
use commonware_consensus::marshal::{self, Start, Update, resolver::p2p as backfill};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::{Epoch, FixedEpocher, Height, Round, View, ViewDelta};
use commonware_consensus::{
    Application, Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable, Reporter,
};
use commonware_cryptography::blake3::{Blake3, Digest};
use commonware_cryptography::certificate::ConstantProvider;
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::{Digest as _, Digested, Digestible, Hasher as _};
use commonware_p2p::{PeerSetSubscription, PeerSetUpdate, Provider, TrackedPeers};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Handle, Supervisor as _, tokio as engine_runtime};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::acknowledgement::Acknowledgement as _;
use commonware_utils::ordered::Set;
use commonware_utils::{NZDuration, NZU64, NZUsize};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::bare::{Desk, Inbox, Nobody, ToInboxes};

/// Most payloads of a block, and most bytes of one.
const PAYLOADS_MAX: usize = 1024;
const PAYLOAD_BYTES_MAX: usize = 1024;
/// No epoch ends here.
const EPOCH_BLOCKS: u64 = 1 << 32;

/// Payloads with their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    context: Context<Digest, PublicKey>,
    parent: Digest,
    height: Height,
    payloads: Vec<Bytes>,
}

impl Block {
    fn genesis(leader: PublicKey) -> Self {
        Self {
            context: Context {
                round: Round::new(Epoch::zero(), View::zero()),
                leader,
                parent: (View::zero(), Digest::EMPTY),
            },
            parent: Digest::EMPTY,
            height: Height::zero(),
            payloads: Vec::new(),
        }
    }
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        self.context.write(buf);
        self.parent.write(buf);
        self.height.write(buf);
        self.payloads.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        self.context.encode_size()
            + self.parent.encode_size()
            + self.height.encode_size()
            + self.payloads.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let bounds = (
            RangeCfg::from(0..=PAYLOADS_MAX),
            RangeCfg::from(0..=PAYLOAD_BYTES_MAX),
        );
        Ok(Self {
            context: Context::read(buf)?,
            parent: Digest::read(buf)?,
            height: Height::read(buf)?,
            payloads: Vec::read_cfg(buf, &bounds)?,
        })
    }
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        Blake3::hash(&[self.encode().as_ref()])
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        self.height
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> Digest {
        self.parent
    }
}

impl CertifiableBlock for Block {
    type Context = Context<Digest, PublicKey>;

    fn context(&self) -> Self::Context {
        self.context.clone()
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        Context::<Digest, PublicKey>::MAX_ENCODE_SIZE + 64 + PAYLOADS_MAX * (PAYLOAD_BYTES_MAX + 5)
    }
}

/// Proposes what waits, believes everything, and tells who waits.
#[derive(Clone)]
pub(super) struct Payloads {
    pub(super) desk: Arc<Desk>,
    pub(super) tells: bool,
}

impl<E: Send + 'static> Application<E> for Payloads {
    type SigningScheme = Scheme;
    type Context = Context<Digest, PublicKey>;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (_, context): (E, Self::Context),
        mut ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        let parent = ancestry.next().await?;
        let height = parent.inner().height.next();
        let payloads = self.desk.take(height.get()).await;
        let block = Block {
            context,
            parent: parent.digest(),
            height,
            payloads: payloads.into_iter().map(Bytes::from).collect(),
        };
        let digest = block.digest();
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(&mut self, _: (E, Self::Context), _: impl Ancestry<Block>) -> bool {
        true
    }
}

impl Reporter for Payloads {
    type Activity = Update<Block>;

    fn report(&mut self, update: Update<Block>) -> Feedback {
        if let Update::Block(block, delivered) = update {
            if self.tells {
                self.desk.tell(block.inner().height.get());
            }
            delivered.acknowledge();
        }
        Feedback::Ok
    }
}

/// All validators, for ever.
#[derive(Clone, Debug)]
struct Everybody {
    peers: Set<PublicKey>,
    subscribers: Arc<std::sync::Mutex<Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>>>,
}

impl Provider for Everybody {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, _: u64) -> Option<TrackedPeers<PublicKey>> {
        Some(TrackedPeers::primary(self.peers.clone()))
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let all = TrackedPeers::primary(self.peers.clone());
        let latest = all.clone();
        let update = PeerSetUpdate {
            index: 0,
            latest,
            all,
        };
        sender.send(update).expect("the receiver is here");
        self.subscribers.lock().unwrap().push(sender);
        receiver
    }
}

/// What agreement asks and reports to.
pub(super) type Delivered =
    Deferred<engine_runtime::Context, Scheme, Payloads, Block, FixedEpocher>;

/// Starts delivery for one validator.
pub(super) async fn deliver(
    context: &engine_runtime::Context,
    me: &PublicKey,
    peers: Set<PublicKey>,
    scheme: Scheme,
    payloads: Payloads,
    [broadcast, questions]: [(ToInboxes, Inbox); 2],
) -> (Delivered, Digest, Vec<Handle<()>>) {
    let first = peers.iter().next().expect("a validator").clone();
    let genesis = Block::genesis(first);
    let base = genesis.digest();
    let genesis = Digested::precomputed(genesis, base);
    let pages = CacheRef::new(
        commonware_runtime::buffer::paged::page_size(4096),
        NZUsize!(1024),
    );
    let everybody = Everybody {
        peers,
        subscribers: Arc::default(),
    };
    let (engine, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: me.clone(),
            mailbox_size: NZUsize!(1024),
            deque_size: 16,
            priority: false,
            codec_config: (),
            peer_provider: everybody.clone(),
            strategy: Sequential,
        },
    );
    let broadcast = engine.start(broadcast);
    let resolver = backfill::init(
        context.child("backfill"),
        backfill::Config {
            public_key: me.clone(),
            peer_provider: everybody,
            blocker: Nobody,
            mailbox_size: NZUsize!(1024),
            fetch_timeout: NZDuration!(Duration::from_secs(1)),
            fetch_retry_delay: Duration::from_millis(100),
            priority_requests: false,
            priority_responses: false,
        },
        questions,
    );
    let codec = <Scheme as commonware_cryptography::certificate::Verifier>::certificate_codec_config_unbounded();
    let certificates = archive_config("certificates", &pages, codec);
    let certificates = prunable::Archive::init(context.child("certificates"), certificates).await;
    let blocks = archive_config("blocks", &pages, ());
    let blocks = prunable::Archive::init(context.child("blocks"), blocks).await;
    let epocher = FixedEpocher::new(NZU64!(EPOCH_BLOCKS));
    let (marshal, mailbox, _): (_, Mailbox<Scheme, Standard<Block>>, _) = Marshal::init(
        context.child("marshal"),
        certificates.expect("a new archive"),
        blocks.expect("a new archive"),
        marshal_config(scheme, epocher.clone(), genesis, pages),
    )
    .await;
    let marshal = marshal.start(payloads.clone(), buffer, resolver);
    let deferred = Deferred::new(context.child("deferred"), payloads, mailbox, epocher);
    (deferred, base, vec![marshal, broadcast])
}

type MarshalConfig = marshal::Config<
    ConstantProvider<Scheme, Epoch>,
    FixedEpocher,
    Sequential,
    Block,
    Digested<Block>,
>;

fn marshal_config(
    scheme: Scheme,
    epocher: FixedEpocher,
    genesis: Digested<Block>,
    pages: CacheRef,
) -> MarshalConfig {
    marshal::Config {
        provider: ConstantProvider::new(scheme),
        epocher,
        start: Start::Genesis(genesis),
        partition_prefix: "delivery".to_owned(),
        mailbox_size: NZUsize!(1024),
        view_retention: ViewDelta::new(64),
        prunable_items_per_section: NZU64!(64),
        page_cache: pages,
        replay_buffer: NZUsize!(1 << 18),
        key_write_buffer: NZUsize!(1 << 16),
        value_write_buffer: NZUsize!(1 << 16),
        block_codec_config: (),
        max_repair: NZUsize!(32),
        max_pending_acks: NZUsize!(16),
        strategy: Sequential,
    }
}

fn archive_config<C>(name: &str, pages: &CacheRef, codec: C) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-metadata"),
        key_partition: format!("{name}-key"),
        key_page_cache: pages.clone(),
        value_partition: format!("{name}-value"),
        compression: None,
        codec_config: codec,
        items_per_section: NZU64!(4096),
        key_write_buffer: NZUsize!(1 << 16),
        value_write_buffer: NZUsize!(1 << 16),
        replay_buffer: NZUsize!(1 << 18),
    }
}
