//! The block: its canonical bytes, its digest and the rule for its time. Never knows what a
//! transaction means, nor how state is stored.
//!
//! ```text
//! version (2) | fabric (32) | context: epoch, view, leader, parent view, parent digest
//! parent digest (32) | height (varint) | time_ms (8, big endian)
//! state_root (32) | sync_root (32) | sync_range: start, end (varints)
//! committee: count (varint), then each: public key (32)
//! transactions: count (varint), then each: length (varint), bytes
//! ```
//! The digest is BLAKE3 over exactly these bytes, so a vote for a block is a vote for its time,
//! its transactions and the state that they lead to.

use bytes::{Buf as _, BufMut, Bytes};
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error as CodecError, FixedSize as _, MaxEncodeSize, RangeCfg,
    Read, ReadExt as _, Write,
};
use commonware_consensus::types::{Epoch, Height, Round, View};
use commonware_consensus::{
    Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable, simplex,
};
use commonware_cryptography::blake3::Blake3;
use commonware_cryptography::{Digest as _, Digestible, Hasher as _, ed25519};
use commonware_glue::stateful::db::DatabaseSet;
use commonware_storage::{merkle::mmr::Location, qmdb::sync::Target};
use commonware_utils::range::NonEmptyRange;
use ledger::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, Genesis, TRANSACTION_BYTES_MAX};

/// The engine's digest type: 32 bytes of BLAKE3.
pub(crate) type Digest = commonware_cryptography::blake3::Digest;

/// Who proposed a block, in which round, on which parent.
pub(crate) type Context = simplex::types::Context<Digest, ed25519::PublicKey>;

/// The first byte of every block.
const BLOCK_VERSION: u8 = 2;

/// Furthest that one block may move ledger time. It bounds how long a leader can make others wait
/// for their clocks; a fabric that was off for a month catches up in thirty blocks.
pub(crate) const BLOCK_TIME_STEP_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Ordered transactions and the state they lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The fabric that this block belongs to: the digest of its genesis.
    pub(crate) fabric: [u8; 32],
    /// Consensus metadata of the round in which it was proposed.
    pub(crate) context: Context,
    /// Digest of the block at the height below.
    pub(crate) parent: Digest,
    /// Distance from genesis.
    pub(crate) height: Height,
    /// Ledger time: strictly greater than the parent's.
    pub(crate) time_ms: u64,
    /// Canonical state root after this block: what proofs are checked against.
    pub(crate) state_root: Digest,
    /// Root of the operations that lead to that state: what state sync is checked against.
    pub(crate) sync_root: Digest,
    /// The operations that a newcomer needs.
    pub(crate) sync_range: NonEmptyRange<Location>,
    /// Who votes from the next epoch on: in the last block of an epoch, and only if they are others
    /// than until then.
    pub(crate) committee: Vec<ed25519::PublicKey>,
    /// Signed transactions in execution order; none in the last block of an epoch.
    pub(crate) transactions: Vec<Bytes>,
}

impl Block {
    /// The block at height 0: it commits to the fabric and to the empty state.
    pub(crate) fn genesis<E, D>(genesis: &ledger::Genesis, leader: ed25519::PublicKey) -> Self
    where
        D: DatabaseSet<E, SyncTargets = Target<commonware_storage::merkle::mmr::Family, Digest>>,
    {
        let empty = D::initial_sync_targets();
        Self {
            fabric: *genesis.fabric_id().as_bytes(),
            context: Context {
                round: Round::new(Epoch::zero(), View::zero()),
                leader,
                parent: (View::zero(), Digest::EMPTY),
            },
            parent: Digest::EMPTY,
            height: Height::zero(),
            time_ms: genesis.time_ms(),
            // Nothing is proven about the empty state: the genesis entries are written at height 1.
            state_root: Digest::EMPTY,
            sync_root: empty.root,
            sync_range: empty.range,
            committee: Vec::new(),
            transactions: Vec::new(),
        }
    }

    /// Whether `self` may follow `parent` in time, by the bytes of both alone: a clock that
    /// differs from node to node must never decide validity.
    pub(crate) fn time_follows(&self, parent: &Self) -> bool {
        let latest = parent.time_ms.saturating_add(BLOCK_TIME_STEP_MS_MAX);
        self.time_ms > parent.time_ms && self.time_ms <= latest
    }

    /// The time of a child proposed when the local clock shows `clock_ms`.
    pub(crate) fn child_time_ms(&self, clock_ms: u64) -> u64 {
        let earliest = self.time_ms.saturating_add(1);
        let latest = self.time_ms.saturating_add(BLOCK_TIME_STEP_MS_MAX);
        clock_ms.clamp(earliest, latest)
    }
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        BLOCK_VERSION.write(buf);
        self.fabric.write(buf);
        self.context.write(buf);
        self.parent.write(buf);
        self.height.write(buf);
        self.time_ms.write(buf);
        self.state_root.write(buf);
        self.sync_root.write(buf);
        self.sync_range.write(buf);
        self.committee.write(buf);
        self.transactions.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        u8::SIZE
            + self.fabric.len()
            + self.context.encode_size()
            + self.parent.encode_size()
            + self.height.encode_size()
            + u64::SIZE
            + self.state_root.encode_size()
            + self.sync_root.encode_size()
            + self.sync_range.encode_size()
            + self.committee.encode_size()
            + self.transactions.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let version = u8::read(buf)?;
        if version != BLOCK_VERSION {
            return Err(CodecError::InvalidEnum(version));
        }
        let block = Self {
            fabric: <[u8; 32]>::read(buf)?,
            context: Context::read(buf)?,
            parent: Digest::read(buf)?,
            height: Height::read(buf)?,
            time_ms: u64::read(buf)?,
            state_root: Digest::read(buf)?,
            sync_root: Digest::read(buf)?,
            sync_range: NonEmptyRange::read(buf)?,
            committee: Vec::read_cfg(buf, &(RangeCfg::from(0..=Genesis::VALIDATORS_MAX), ()))?,
            transactions: Vec::read_cfg(
                buf,
                &(
                    RangeCfg::from(0..=BLOCK_TRANSACTIONS_MAX),
                    RangeCfg::from(1..=TRANSACTION_BYTES_MAX),
                ),
            )?,
        };
        if block
            .transactions
            .iter()
            .map(Bytes::remaining)
            .sum::<usize>()
            > BLOCK_BYTES_MAX
        {
            return Err(CodecError::Invalid(
                "block",
                "more transaction bytes than a block holds",
            ));
        }
        Ok(block)
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
    type Context = Context;

    fn context(&self) -> Context {
        self.context.clone()
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        /// Widest varint of a count or a length below 2^32.
        const LENGTH_BYTES_MAX: usize = 5;
        u8::SIZE
            + 32
            + Context::MAX_ENCODE_SIZE
            + 3 * Digest::SIZE
            + Height::MAX_ENCODE_SIZE
            + u64::SIZE
            + NonEmptyRange::<Location>::MAX_ENCODE_SIZE
            + LENGTH_BYTES_MAX
            + Genesis::VALIDATORS_MAX * ed25519::PublicKey::SIZE
            + LENGTH_BYTES_MAX * (1 + BLOCK_TRANSACTIONS_MAX)
            + BLOCK_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use commonware_codec::DecodeExt as _;
    use commonware_cryptography::Signer as _;
    use commonware_utils::non_empty_range;

    use super::*;

    fn block(transactions: Vec<Bytes>) -> Block {
        Block {
            fabric: [1; 32],
            context: Context {
                round: Round::new(Epoch::zero(), View::new(5)),
                leader: crate::SecretKey::from([2; 32]).signer().public_key(),
                parent: (
                    View::new(4),
                    commonware_cryptography::blake3::Digest([3; 32]),
                ),
            },
            parent: commonware_cryptography::blake3::Digest([3; 32]),
            height: Height::new(300),
            time_ms: 1_800_000_000_000,
            state_root: commonware_cryptography::blake3::Digest([4; 32]),
            sync_root: commonware_cryptography::blake3::Digest([5; 32]),
            sync_range: non_empty_range!(Location::new(7), Location::new(9)),
            committee: vec![crate::SecretKey::from([6; 32]).signer().public_key()],
            transactions,
        }
    }

    /// Votes are over these bytes: a change here is a fork.
    #[test]
    fn a_block_is_these_bytes() {
        let block = block(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let bytes = block.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let leader = crate::SecretKey::from([2; 32]).public_key().to_string();
        let next = crate::SecretKey::from([6; 32]).public_key().to_string();
        let parent = "03".repeat(32);
        let expected = [
            "02".to_owned(),
            "01".repeat(32),
            format!("0005{leader}04{parent}"),
            parent,
            "ac02".to_owned(),
            "000001a3185c5000".to_owned(),
            "04".repeat(32),
            "05".repeat(32),
            "0709".to_owned(),
            format!("01{next}"),
            "0202616201".to_owned() + "63",
        ];
        assert_eq!(hex, expected.concat());
        assert_eq!(Block::decode(bytes).unwrap(), block);
        assert!(block.encode_size() <= Block::max_encode_size(&()));
    }

    #[test]
    fn blocks_beyond_the_bounds_do_not_decode() {
        let decode = |transactions| Block::decode(block(transactions).encode());
        let one = Bytes::from_static(b"x");
        assert!(decode(vec![one.clone(); BLOCK_TRANSACTIONS_MAX]).is_ok());
        assert!(decode(vec![one.clone(); BLOCK_TRANSACTIONS_MAX + 1]).is_err());
        assert!(decode(vec![Bytes::new()]).is_err());
        assert!(decode(vec![vec![0; TRANSACTION_BYTES_MAX + 1].into()]).is_err());
        let large = Bytes::from(vec![0; TRANSACTION_BYTES_MAX]);
        let full = BLOCK_BYTES_MAX / TRANSACTION_BYTES_MAX;
        assert!(decode(vec![large.clone(); full]).is_ok());
        assert!(decode([vec![large; full], vec![one]].concat()).is_err());
        let mut other_version = block(vec![]).encode().to_vec();
        other_version[0] = 1;
        assert!(Block::decode(other_version).is_err());
        let mut trailing = block(vec![]).encode().to_vec();
        trailing.push(0);
        assert!(Block::decode(trailing).is_err());
    }

    #[test]
    fn time_grows_by_a_bounded_step() {
        let parent = block(vec![]);
        let after = |step: i64| {
            let time_ms = parent.time_ms.saturating_add_signed(step);
            Block {
                time_ms,
                ..parent.clone()
            }
            .time_follows(&parent)
        };
        let most = i64::try_from(BLOCK_TIME_STEP_MS_MAX).unwrap();
        assert!([1, 1000, most].into_iter().all(after));
        assert!(![-1, 0, most + 1].into_iter().any(after));
        assert_eq!(parent.child_time_ms(0), parent.time_ms + 1);
        assert_eq!(parent.child_time_ms(parent.time_ms + 5), parent.time_ms + 5);
        assert_eq!(
            parent.child_time_ms(u64::MAX),
            parent.time_ms + BLOCK_TIME_STEP_MS_MAX
        );
    }
}
