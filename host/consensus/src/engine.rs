//! Puts the engine together: agreement (simplex), ordered durable delivery (marshal), state
//! (stateful over qmdb), and our application between them. Never knows where the network's bytes
//! go, nor who submits transactions.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use commonware_broadcast::buffered;
use commonware_codec::{CodecShared, Encode as _};
use commonware_consensus::Reporters;
use commonware_consensus::marshal::core::{Actor as MarshalActor, Mailbox as MarshalMailbox};
use commonware_consensus::marshal::standard::{Deferred, Standard};
use commonware_consensus::marshal::{self, Identifier, Start, resolver::p2p as marshal_resolver};
use commonware_consensus::simplex;
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipBudget, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::types::{Epoch, FixedEpocher, Height, ViewDelta};
use commonware_cryptography::blake3::Blake3;
use commonware_cryptography::certificate::Verifier as _;
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::{Digested, Digestible as _};
use commonware_glue::stateful::db::SyncEngineConfig;
use commonware_glue::stateful::{
    Config as StatefulConfig, Mailbox as StatefulMailbox, PruneConfig, Stateful, SyncPlan,
};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::{CacheRef, page_size};
use commonware_runtime::{Handle, Spawner};
use commonware_storage::archive::{Archive as _, prunable};
use commonware_storage::translator::EightCap;
use commonware_utils::{NZDuration, NZU64, NZUsize};
use rand_core::CryptoRng;

use crate::application::{LedgerApplication, Runtime};
use crate::ballots::Agreement;
use crate::blame::Blamer;
use crate::block::{Block, Digest};
use crate::config::Retention;
use crate::data_dir::{generation_partition, votes_partition};
use crate::epochs::{Committee, Epochs};
use crate::handovers::Handover;
use crate::network::{Delivery, PeerSet};
use crate::observer::Observer;
use crate::pacing::Paced;
use crate::state::db_config;
use crate::votes::Notes;
use crate::waking::{Waking, WakingClock};

/// Size of a page on disk. Part of the disk format: files of another page size do not open.
pub(crate) const PAGE_BYTES: u32 = 4096;
/// Pages kept in memory for all stores together: 4 MiB.
const PAGE_CACHE_PAGES: usize = 1024;
/// Messages that may wait for an actor.
const MAILBOX_MESSAGES: usize = 1024;
/// Blocks whose state peers can still fetch: more than are made while somebody fetches it. The log
/// keeps what those blocks replaced.
const RETAINED_STATES: usize = 4096;
/// Blocks between two prunings.
const PRUNE_INTERVAL_BLOCKS: usize = 1024;
/// Views of votes and candidate blocks kept behind the last final one.
const RETAINED_VIEWS: u64 = 64;
/// Views of candidate blocks per file.
const CANDIDATE_SECTION_VIEWS: u64 = 64;
/// Final blocks that the state may lag behind before delivery waits for it.
const PENDING_BLOCKS: usize = 16;
/// Buffered per file before it is written; every block is flushed long before.
const WRITE_BUFFER_BYTES: usize = 1 << 16;
/// Read at once while files are replayed at start.
const REPLAY_BUFFER_BYTES: usize = 1 << 18;
/// How much longer than the heartbeat a leader may stay silent. A leader holds an empty block
/// until the heartbeat, so a shorter time would end idle rounds without a block.
const LEADER_SLACK: Duration = Duration::from_secs(30);
/// How long a leader among several may stay silent while there is work: hundreds of milliseconds
/// to the far side of the earth, the flush of a block, and room for a busy machine.
pub(crate) const LEADER_TIME: Duration = Duration::from_secs(1);
/// The same for votes and their certificate, which follow the proposal.
const CERTIFICATE_TIME: Duration = Duration::from_secs(2);
/// Pause between two wishes to end a round that got nowhere.
const ROUND_RETRY: Duration = Duration::from_secs(1);
/// A leader that was silent for this long is passed over at once.
const LEADER_GONE: Duration = Duration::from_secs(5);
/// Timeout of a round that a crash cut off.
const UNBLOCKING_TIMEOUT: Duration = Duration::from_millis(500);
/// State operations asked of and given to a peer at once.
const STATE_SYNC_OPERATIONS: u64 = 256;
/// Missing blocks asked for at once.
const REPAIR_BLOCKS: usize = 32;
/// Candidate blocks kept per peer until consensus asks for them.
const BROADCAST_BLOCKS_PER_PEER: usize = 16;
/// How long a peer may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before asking again.
const FETCH_RETRY: Duration = Duration::from_millis(100);

const SYNC: SyncEngineConfig = SyncEngineConfig {
    fetch_batch_size: NZU64!(STATE_SYNC_OPERATIONS),
    apply_batch_size: NZU64!(STATE_SYNC_OPERATIONS),
    max_outstanding_requests: NZUsize!(8),
};

/// When the state forgets what was replaced. It counts from the start of the run, and lets go of
/// blocks only then, too; `pruning.rs` does that sooner.
fn prune_config(retention: Retention) -> PruneConfig {
    let blocks = usize::try_from(retention.blocks).unwrap_or(usize::MAX);
    PruneConfig {
        maintenance_interval: NZUsize!(PRUNE_INTERVAL_BLOCKS),
        retained_marshal_blocks: blocks,
        retained_qmdb_blocks: RETAINED_STATES.min(blocks),
    }
}

/// What differs between nodes and fabrics.
pub(crate) struct Parts {
    pub(crate) files: Files,
    pub(crate) epochs: Epochs,
    pub(crate) retention: Retention,
    pub(crate) me: PublicKey,
    pub(crate) application: LedgerApplication,
    pub(crate) observer: Observer,
    pub(crate) heartbeat: Duration,
    pub(crate) pace: Pace,
    /// What a validator among several times rounds by.
    pub(crate) waking: WakingClock,
}

/// One epoch, as its engine is told of it.
pub(crate) struct Term<B> {
    pub(crate) epoch: u64,
    pub(crate) committee: Arc<Committee>,
    /// The block that the epoch builds on.
    pub(crate) base: Digest,
    pub(crate) notes: Arc<Notes<B>>,
}

/// How long rounds may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// An idle leader is silent for a heartbeat: silence shorter than that is no failure.
    Usual,
    /// Rounds end quickly and nothing is proposed.
    Unblocking,
}

/// Which files a run works on.
pub(crate) struct Files {
    /// Those that this node began with are of generation 0; each state that it takes over from
    /// peers has another.
    pub(crate) generation: u64,
    /// What a state that is taken over begins from.
    pub(crate) floor: Option<Finalization<Scheme, Digest>>,
}

impl Files {
    pub(crate) const fn of(generation: u64) -> Self {
        let floor = None;
        Self { generation, floor }
    }

    fn name(&self, name: &str) -> String {
        generation_partition(self.generation, name)
    }
}

/// The running actors below agreement: what is final already is being delivered.
pub(crate) struct Foundation<E: Runtime> {
    pub(crate) marshal: MarshalMailbox<Scheme, Standard<Block>>,
    pub(crate) stateful: StatefulMailbox<E, LedgerApplication>,
    /// Each runs until it fails.
    pub(crate) actors: Vec<(&'static str, Handle<()>)>,
    page_cache: CacheRef,
    /// The block before the first.
    pub(crate) genesis: Digested<Block>,
    /// The lowest block that was there at the start.
    pub(crate) kept_from: Option<u64>,
}

impl<E: Runtime> Foundation<E> {
    /// The block at `height` with its certificate, for others to check; none while one is missing.
    pub(crate) async fn handover(&self, height: u64) -> Option<Handover> {
        let height = Height::new(height);
        let block = self.marshal.get_block(Identifier::Height(height)).await?;
        let certificate = self.marshal.get_finalization(height).await?;
        Some(Handover {
            block: block.inner().encode().to_vec(),
            certificate: certificate.encode().to_vec(),
        })
    }
}

/// What a runtime must offer the engine.
pub trait EngineRuntime: Spawner + commonware_storage::Context + CryptoRng {}
impl<E: Spawner + commonware_storage::Context + CryptoRng> EngineRuntime for E {}

/// Starts delivery and state, which recover what is on disk. Votes for nothing.
pub(crate) async fn lay_foundation<E: EngineRuntime>(
    context: &E,
    parts: &Parts,
    network: Delivery,
    peers: &PeerSet,
    blocker: &Blamer,
) -> Foundation<E> {
    let files = &parts.files;
    let page_cache = CacheRef::new(page_size(PAGE_BYTES), NZUsize!(PAGE_CACHE_PAGES));
    let block = parts.application.genesis_block.clone();
    let digest = block.digest();
    let genesis = Digested::precomputed(block, digest);

    let (broadcast, buffer) =
        buffered::Engine::new(context.child("broadcast"), broadcast_config(parts, peers));
    let broadcast = broadcast.start(network.broadcast);
    let resolver = marshal_resolver::init(
        context.child("backfill"),
        backfill_config(parts, peers, blocker),
        network.backfill,
    );

    let (certificates, blocks) = archives(context, parts, &page_cache).await;
    let kept_from = blocks.first_index();
    let mut plan = SyncPlan::init(context.child("plan"), files.name("state-")).await;
    if let Some(floor) = &files.floor {
        plan = plan.set_floor(floor.clone()).await;
    }
    let start = plan.marshal_start(genesis.clone());
    let (marshal, marshal_mailbox, floor) =
        MarshalActor::<_, Standard<Block>, _, _, _, _, _>::init(
            context.child("marshal"),
            certificates,
            blocks,
            marshal_config(parts, start, &page_cache),
        )
        .await;

    let (stateful, stateful_mailbox) = Stateful::new(
        context.child("stateful"),
        StatefulConfig {
            application: parts.application.clone(),
            db_config: db_config(|name| files.name(name), page_cache.clone()),
            provider: (),
            marshal: (marshal_mailbox.clone(), floor),
            mailbox_size: NZUsize!(MAILBOX_MESSAGES),
            plan,
            resolvers: network.state,
            sync_config: SYNC,
            prune_config: Some(prune_config(parts.retention)),
            strategy: Sequential,
        },
    );
    let marshal = marshal.start(stateful_mailbox.clone(), buffer, resolver);
    let stateful = stateful.start();
    let actors = vec![
        ("delivery", marshal),
        ("state", stateful),
        ("broadcast", broadcast),
    ];
    Foundation {
        marshal: marshal_mailbox,
        stateful: stateful_mailbox,
        actors,
        page_cache,
        genesis,
        kept_from,
    }
}

/// Begins to vote in one epoch, on top of what its vote journal says.
pub(crate) fn agree<E: EngineRuntime>(
    context: &E,
    parts: &Parts,
    foundation: &Foundation<E>,
    term: &Term<E::Blob>,
    network: Agreement,
    blocker: Blamer,
) -> Handle<()> {
    let alone = term.committee.is_alone();
    let times = Times::of(parts, alone);
    let epoch = Epoch::new(term.epoch);
    let paced = Paced {
        inner: foundation.stateful.clone(),
        unsettled: parts.application.unsettled.clone(),
        heartbeat: parts.heartbeat,
        pace: parts.pace,
        base: parts.epochs.base(term.epoch),
    };
    let marshal = foundation.marshal.clone();
    let child = |label| context.child(label).with_attribute("epoch", epoch);
    let deferred = Deferred::new(child("deferred"), paced, marshal, parts.epochs.epocher());
    let reporter: Reporters<_, _> = (parts.observer.clone(), deferred.clone()).into();
    let config = simplex::Config {
        scheme: term.committee.scheme.as_ref().clone(),
        elector: RoundRobin::<Blake3>::default(),
        blocker,
        automaton: deferred.clone(),
        relay: deferred,
        reporter,
        track_historical_votes: false,
        strategy: Sequential,
        partition: votes_partition(term.epoch),
        mailbox_size: NZUsize!(MAILBOX_MESSAGES),
        epoch,
        floor: Floor::Genesis(term.base),
        replay_buffer: NZUsize!(REPLAY_BUFFER_BYTES),
        write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
        page_cache: foundation.page_cache.clone(),
        leader_timeout: times.leader,
        certification_timeout: times.certificate,
        timeout_retry: times.retry,
        view_retention: ViewDelta::new(RETAINED_VIEWS),
        // A proposal that fails ends its round at once instead of at the leader's time.
        skip: SkipPolicy::Enabled {
            timeout: times.gone,
            budget: SkipBudget::Participants,
        },
        fetch_timeout: NZDuration!(FETCH_TIMEOUT),
        fetch_retry_delay: FETCH_RETRY,
        forward: ForwardPolicy::SilentLeader,
    };
    let context = child("agreement");
    let Agreement {
        votes,
        certificates,
        resolver,
    } = network;
    let clock = (!alone).then(|| parts.waking.clone());
    let context = Waking::new(context, clock, term.notes.clone());
    simplex::Engine::new(context, config).start(votes, certificates, resolver)
}

/// How long what may take in a round.
struct Times {
    leader: Duration,
    certificate: Duration,
    retry: Duration,
    gone: Duration,
}

impl Times {
    fn of(parts: &Parts, alone: bool) -> Self {
        if !alone {
            return Self {
                leader: LEADER_TIME,
                certificate: CERTIFICATE_TIME,
                retry: ROUND_RETRY,
                gone: LEADER_GONE,
            };
        }
        let (leader, slack) = match parts.pace {
            Pace::Usual => (parts.heartbeat.saturating_add(LEADER_SLACK), LEADER_SLACK),
            Pace::Unblocking => (UNBLOCKING_TIMEOUT, UNBLOCKING_TIMEOUT),
        };
        Self {
            leader,
            certificate: leader.saturating_add(slack),
            retry: slack,
            gone: leader.saturating_add(slack * 2),
        }
    }
}

type Archive<E, V> = prunable::Archive<EightCap, E, Digest, V>;

/// Opens what is final: the certificates and the blocks, by height.
async fn archives<E: Runtime>(
    context: &E,
    parts: &Parts,
    pages: &CacheRef,
) -> (
    Archive<E, Finalization<Scheme, Digest>>,
    Archive<E, Arc<Block>>,
) {
    let codec = Scheme::certificate_codec_config_unbounded();
    let (files, file_blocks) = (&parts.files, parts.retention.file_blocks);
    let config = archive_config(&files.name("certificates"), file_blocks, pages, codec);
    let certificates = archive(context.child("certificates"), config).await;
    let config = archive_config(&files.name("blocks"), file_blocks, pages, ());
    let blocks = archive(context.child("blocks"), config).await;
    (certificates, blocks)
}

async fn archive<E, V>(context: E, config: prunable::Config<EightCap, V::Cfg>) -> Archive<E, V>
where
    E: Runtime,
    V: CodecShared,
{
    match prunable::Archive::init(context, config).await {
        Ok(archive) => archive,
        Err(error) => panic!("an archive of blocks or certificates cannot be opened: {error}"),
    }
}

fn archive_config<C>(
    name: &str,
    file_blocks: NonZeroU64,
    pages: &CacheRef,
    codec: C,
) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-metadata"),
        key_partition: format!("{name}-key"),
        key_page_cache: pages.clone(),
        value_partition: format!("{name}-value"),
        compression: None,
        codec_config: codec,
        items_per_section: file_blocks,
        key_write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
        value_write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
        replay_buffer: NZUsize!(REPLAY_BUFFER_BYTES),
    }
}

type MarshalConfig = marshal::Config<Epochs, FixedEpocher, Sequential, Block, Digested<Block>>;

fn marshal_config(
    parts: &Parts,
    start: Start<Scheme, Digest, Digested<Block>>,
    page_cache: &CacheRef,
) -> MarshalConfig {
    marshal::Config {
        provider: parts.epochs.clone(),
        epocher: parts.epochs.epocher(),
        start,
        partition_prefix: parts.files.name("delivery"),
        mailbox_size: NZUsize!(MAILBOX_MESSAGES),
        view_retention: ViewDelta::new(RETAINED_VIEWS),
        prunable_items_per_section: NZU64!(CANDIDATE_SECTION_VIEWS),
        page_cache: page_cache.clone(),
        replay_buffer: NZUsize!(REPLAY_BUFFER_BYTES),
        key_write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
        value_write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
        block_codec_config: (),
        max_repair: NZUsize!(REPAIR_BLOCKS),
        max_pending_acks: NZUsize!(PENDING_BLOCKS),
        strategy: Sequential,
    }
}

fn broadcast_config(
    parts: &Parts,
    peers: &PeerSet,
) -> buffered::Config<PublicKey, (), PeerSet, Sequential> {
    buffered::Config {
        public_key: parts.me.clone(),
        mailbox_size: NZUsize!(MAILBOX_MESSAGES),
        deque_size: BROADCAST_BLOCKS_PER_PEER,
        priority: false,
        codec_config: (),
        peer_provider: peers.clone(),
        strategy: Sequential,
    }
}

fn backfill_config(
    parts: &Parts,
    peers: &PeerSet,
    blocker: &Blamer,
) -> marshal_resolver::Config<PublicKey, PeerSet, Blamer> {
    marshal_resolver::Config {
        public_key: parts.me.clone(),
        peer_provider: peers.clone(),
        blocker: blocker.clone(),
        mailbox_size: NZUsize!(MAILBOX_MESSAGES),
        fetch_timeout: NZDuration!(FETCH_TIMEOUT),
        fetch_retry_delay: FETCH_RETRY,
        priority_requests: false,
        priority_responses: false,
    }
}
