//! The authenticated state on disk: which store, how it is configured, how it is read whole.
//! Never knows what an entry means.
//!
//! The store is qmdb's `current` flavour with ordered keys: its root proves that a key *has* a
//! value now and, because every key commits to the next one, that a key is *absent* now. Each
//! block appends at least one operation (its commit), so the root changes with every block,
//! also when no entry does.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::pin;

use commonware_codec::RangeCfg;
use commonware_cryptography::blake3::Blake3;
use commonware_glue::stateful::db::Shared;
use commonware_parallel::Sequential;
use commonware_runtime::Spawner;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_storage::journal::contiguous::variable;
use commonware_storage::merkle::{full, mmr};
use commonware_storage::qmdb::{self, current};
use commonware_storage::translator::{OrderedTranslator, Translator};
use commonware_utils::{NZU64, NZUsize};
use futures::StreamExt as _;
use ledger::{BlockContext, StateKey, VALUE_BYTES_MAX};

use crate::block::Digest;

/// The Merkle structure behind the state.
pub(crate) type Family = mmr::Family;

/// Bytes of a chunk of the activity bitmap: one digest, which gives the smallest proofs.
pub(crate) const BITMAP_CHUNK_BYTES: usize = 32;

/// The state store.
pub(crate) type Db<E> = current::ordered::variable::Db<
    Family,
    E,
    Vec<u8>,
    Vec<u8>,
    Blake3,
    KeyPrefix,
    BITMAP_CHUNK_BYTES,
    Sequential,
>;

/// One entry of the operation log.
pub(crate) type Operation = qmdb::any::ordered::variable::Operation<Family, Vec<u8>, Vec<u8>>;

/// The state store as the engine's actors share it.
pub(crate) type Databases<E> = Shared<Db<E>>;

type ByteRange = (RangeCfg<usize>, ());

/// How the state store is opened.
pub(crate) type DbConfig = current::VariableConfig<KeyPrefix, (ByteRange, ByteRange), Sequential>;

/// What a read of the state can fail with.
pub(crate) type DbError = qmdb::Error<Family>;

/// Items per file of the operation log and its Merkle nodes: pruning frees whole files.
const ITEMS_PER_FILE: NonZeroU64 = NZU64!(16_384);
/// Buffered before a file is written; blocks are flushed long before this fills.
const WRITE_BUFFER_BYTES: NonZeroUsize = NZUsize!(1 << 16);
/// Read at once while the log is replayed at start.
const REPLAY_BUFFER_BYTES: NonZeroUsize = NZUsize!(1 << 18);
/// Keys remembered while the index is built at start.
const INIT_CACHE_KEYS: NonZeroUsize = NZUsize!(1 << 14);

/// The configuration under which the state is opened, in files that `name` names. Its numbers are
/// part of the disk format.
pub(crate) fn db_config(name: impl Fn(&str) -> String, page_cache: CacheRef) -> DbConfig {
    DbConfig {
        merkle_config: full::Config {
            journal_partition: name("state-merkle"),
            metadata_partition: name("state-merkle-pruned"),
            items_per_blob: ITEMS_PER_FILE,
            write_buffer: WRITE_BUFFER_BYTES,
            replay_buffer: REPLAY_BUFFER_BYTES,
            strategy: Sequential,
            page_cache: page_cache.clone(),
        },
        journal_config: variable::Config {
            partition: name("state-log"),
            items_per_section: ITEMS_PER_FILE,
            compression: None,
            codec_config: (
                (RangeCfg::from(0..=StateKey::BYTES_MAX), ()),
                (RangeCfg::from(0..=VALUE_BYTES_MAX), ()),
            ),
            page_cache,
            write_buffer: WRITE_BUFFER_BYTES,
            replay_buffer: REPLAY_BUFFER_BYTES,
        },
        grafted_metadata_partition: name("state-bitmap-pruned"),
        translator: KeyPrefix,
        init_cache: Some(INIT_CACHE_KEYS),
        init_buffer: REPLAY_BUFFER_BYTES,
        init_concurrency: (),
    }
}

/// Where in the ledger a state stands. It is committed with the state itself, so that a reader
/// never has to guess which block it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) height: u64,
    pub(crate) time_ms: u64,
}

impl Head {
    const BYTES: usize = 16;

    /// Of the state after the block of `context`.
    pub(crate) const fn of(context: &BlockContext) -> Self {
        Self {
            height: context.height,
            time_ms: context.time_ms,
        }
    }

    /// What the rules may know of the block of this state, which follows `parent`.
    pub(crate) const fn after(self, parent: Digest) -> BlockContext {
        BlockContext {
            height: self.height,
            time_ms: self.time_ms,
            parent: types::Digest::from_bytes(parent.0),
        }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [self.height.to_be_bytes(), self.time_ms.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (height, time_ms) = bytes.split_at(8);
        Some(Self {
            height: u64::from_be_bytes(height.try_into().ok()?),
            time_ms: u64::from_be_bytes(time_ms.try_into().ok()?),
        })
    }
}

/// The finalised state at one height.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Height of the block whose state this is; 0 before the first block.
    pub height: u64,
    /// Ledger time of that block.
    pub time_ms: u64,
    /// Canonical root of this state: what inclusion and absence proofs are checked against.
    pub state_root: [u8; 32],
    /// Every entry.
    pub entries: BTreeMap<StateKey, Vec<u8>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let root = types::Digest::from_bytes(self.state_root);
        write!(
            f,
            "Snapshot(height {}, {} entries, {root})",
            self.height,
            self.entries.len()
        )
    }
}

/// A state on disk that no version of this program can have written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadStateError {
    #[error("the state cannot be read: {0}")]
    Storage(#[from] DbError),
    #[error("the state names its block in {0} bytes instead of {expected}", expected = Head::BYTES)]
    Head(usize),
    #[error("the state holds a key that the ledger's rules do not allow")]
    Key,
}

/// The block whose state `db` holds; `None` before the first.
pub(crate) async fn read_head<E>(db: &Db<E>) -> Result<Option<Head>, ReadStateError>
where
    E: Spawner + commonware_storage::Context,
{
    let Some(bytes) = db.get_metadata().await? else {
        return Ok(None);
    };
    Head::from_bytes(&bytes)
        .map(Some)
        .ok_or(ReadStateError::Head(bytes.len()))
}

/// Every entry of `db`, and where it stands; `genesis_ms` is the time before the first block.
pub(crate) async fn read_all<E>(db: &Db<E>, genesis_ms: u64) -> Result<Snapshot, ReadStateError>
where
    E: Spawner + commonware_storage::Context,
{
    let head = read_head(db).await?.unwrap_or(Head {
        height: 0,
        time_ms: genesis_ms,
    });
    let mut entries = BTreeMap::new();
    let mut stream = pin!(db.stream_range(..));
    while let Some(entry) = stream.next().await {
        let (key, value) = entry?;
        let key = StateKey::from_bytes(key).map_err(|_| ReadStateError::Key)?;
        entries.insert(key, value);
    }
    Ok(Snapshot {
        height: head.height,
        time_ms: head.time_ms,
        state_root: db.root().0,
        entries,
    })
}

/// Indexes keys by their first bytes, in order. Keys that share them are told apart by reading
/// the log, so the prefix is long enough for a kind, an owner's key and the start of a name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyPrefix;

impl KeyPrefix {
    const BYTES: usize = 64;
}

impl Translator for KeyPrefix {
    type Key = [u8; Self::BYTES];

    fn transform(&self, key: &[u8]) -> [u8; Self::BYTES] {
        let mut prefix = [0; Self::BYTES];
        for (to, from) in prefix.iter_mut().zip(key) {
            *to = *from;
        }
        prefix
    }
}

/// Cutting and padding with the smallest byte keep lexicographic order.
impl OrderedTranslator for KeyPrefix {}

impl BuildHasher for KeyPrefix {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        BuildHasherDefault::<DefaultHasher>::default().build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_keeps_the_order_of_keys() {
        let mut keys: Vec<Vec<u8>> = vec![
            b"".into(),
            b"a".into(),
            b"a\0".into(),
            b"ab".into(),
            vec![b'b'; 63],
            vec![b'b'; 64],
            vec![b'b'; 65],
            vec![0xff; 640],
        ];
        keys.sort();
        let index: Vec<_> = keys.iter().map(|key| KeyPrefix.transform(key)).collect();
        assert!(index.is_sorted());
    }

    #[test]
    fn a_head_round_trips() {
        let head = Head {
            height: 7,
            time_ms: 1_800_000_000_000,
        };
        assert_eq!(Head::from_bytes(&head.to_bytes()), Some(head));
        assert_eq!(Head::from_bytes(b"short"), None);
    }
}
