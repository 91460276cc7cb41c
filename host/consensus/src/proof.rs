//! What convinces somebody who has only the genesis: a final block by its certificate, an entry of
//! the state, or its absence, by a path to the block's state root. Pure: bytes in, verdict out.
//!
//! An audit walks the blocks from height 1 up: each is [`verify_finalized`], its
//! [`BlockHeader::parent_digest`] is the digest of the one below ([`genesis_digest`] under the
//! first), and heights have no gap. A block without a certificate of its own ([`read_block`]) is
//! final through the next one that has one.

use bytes::{Buf as _, Bytes};
use commonware_codec::{
    Copying, DecodeExt as _, Encode as _, Error as CodecError, RangeCfg, Read as _, ReadExt as _,
};
use commonware_consensus::Epochable as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Finalization;
use commonware_cryptography::blake3::Blake3;
use commonware_cryptography::certificate::Verifier as _;
use commonware_cryptography::{Digestible as _, Hasher as _};
use commonware_parallel::Sequential;
use commonware_runtime::tokio as engine_runtime;
use commonware_storage::merkle::MAX_PROOF_DIGESTS_PER_ELEMENT;
use commonware_storage::qmdb::any::value::VariableEncoding;
use commonware_storage::qmdb::current::ordered::proof::constant::{ExclusionProof, KeyValueProof};
use ledger::{Genesis, StateKey, VALUE_BYTES_MAX};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use types::{FabricId, PublicKey};

use crate::application::Runtime;
use crate::block::{Block, Digest};
use crate::config::{engine_key, public_key_bytes};
use crate::epochs::Epochs;
use crate::state::{BITMAP_CHUNK_BYTES, Databases, Db, Family, ReadStateError, read_head};

type Presence = KeyValueProof<Family, Vec<u8>, Digest, BITMAP_CHUNK_BYTES>;
type Absence =
    ExclusionProof<Family, Vec<u8>, VariableEncoding<Vec<u8>>, Digest, BITMAP_CHUNK_BYTES>;

/// First byte of a proof that a key has a value; the value comes last.
const PRESENT: u8 = 1;
/// First byte of a proof that a key has none.
const ABSENT: u8 = 0;

/// A final block as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizedProof {
    /// The block's canonical bytes.
    pub block: Vec<u8>,
    /// Its certificate of finality. None where a block became final through a later one and no
    /// certificate of its own came here.
    pub certificate: Option<Vec<u8>>,
}

/// What a block says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Distance from genesis.
    pub height: u64,
    /// Ledger time, Unix milliseconds.
    pub time_ms: u64,
    /// BLAKE3 of the block's bytes.
    pub block_digest: [u8; 32],
    /// The digest of the block below.
    pub parent_digest: [u8; 32],
    /// Canonical root of the state after it.
    pub state_root: [u8; 32],
    /// Who proposed it.
    pub leader: PublicKey,
    /// Who votes from the next epoch on, if others than until then: in the last block of an epoch.
    pub committee: Vec<PublicKey>,
    /// How many transactions it carries.
    pub transactions: usize,
}

/// Why bytes do not prove that a block is final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFinalizedError {
    /// The block's bytes are none.
    #[error("the bytes are no block: {reason}")]
    Block {
        /// What the codec says.
        reason: String,
    },
    /// The block belongs to another fabric.
    #[error("the block belongs to fabric {found}, the genesis to {expected}")]
    OtherFabric {
        /// The block's.
        found: FabricId,
        /// The genesis's.
        expected: FabricId,
    },
    /// The certificate's bytes are none.
    #[error("the bytes are no certificate of finality: {reason}")]
    Certificate {
        /// What the codec says.
        reason: String,
    },
    /// The certificate is for another block.
    #[error("the certificate is for another block than the one at height {height}")]
    OtherBlock {
        /// The block's height.
        height: u64,
    },
    /// The validators of the genesis did not sign this.
    #[error("the certificate at height {height} is not signed by a quorum of the validators")]
    Signatures {
        /// The block's height.
        height: u64,
    },
    /// A validator's key in the genesis is no key.
    #[error("validator {key} of the genesis is not an ed25519 public key")]
    ValidatorKey {
        /// The key.
        key: PublicKey,
    },
}

/// Checks that the block in `block` is final in the fabric of `genesis`, whose first validators
/// still vote. See [`crate::Committees`] for others.
///
/// # Errors
/// [`VerifyFinalizedError`]; then the bytes prove nothing.
pub fn verify_finalized(
    genesis: &Genesis,
    block: &[u8],
    certificate: &[u8],
) -> Result<BlockHeader, VerifyFinalizedError> {
    let header = read_block(genesis, block)?;
    let epochs = Epochs::of(genesis, None);
    let epochs = epochs.map_err(|key| VerifyFinalizedError::ValidatorKey { key })?;
    verify_by(&epochs, header, certificate)
}

/// Checks a certificate by the validators that `epochs` names for the block's epoch.
pub(crate) fn verify_by(
    epochs: &Epochs,
    header: BlockHeader,
    certificate: &[u8],
) -> Result<BlockHeader, VerifyFinalizedError> {
    let (height, epoch) = (header.height, epochs.containing(header.height));
    let committee = epochs.committee(epoch);
    let scheme = committee.scheme.as_ref();
    let mut bytes = Bytes::copy_from_slice(certificate);
    let config = scheme.certificate_codec_config();
    let proof = Finalization::<Scheme, Digest>::read_cfg(&mut bytes, &config).map_err(|error| {
        VerifyFinalizedError::Certificate {
            reason: error.to_string(),
        }
    })?;
    if bytes.has_remaining() {
        return Err(VerifyFinalizedError::Certificate {
            reason: format!("{} bytes follow it", bytes.remaining()),
        });
    }
    if proof.proposal.payload.0 != header.block_digest {
        return Err(VerifyFinalizedError::OtherBlock { height });
    }
    // Signatures are checked in a batch with factors that whoever made them could not know:
    // they follow from everything that is checked.
    let seed = Blake3::hash(&[&header.block_digest, certificate]).0;
    let mut factors = ChaCha20Rng::from_seed(seed);
    if proof.epoch().get() != epoch || !proof.verify(&mut factors, scheme, &Sequential) {
        return Err(VerifyFinalizedError::Signatures { height });
    }
    Ok(header)
}

/// Reads a block of the fabric of `genesis`, which proves nothing by itself.
///
/// # Errors
/// [`VerifyFinalizedError::Block`] and [`VerifyFinalizedError::OtherFabric`].
pub fn read_block(genesis: &Genesis, block: &[u8]) -> Result<BlockHeader, VerifyFinalizedError> {
    let block = Block::decode(Copying(block)).map_err(|error| VerifyFinalizedError::Block {
        reason: error.to_string(),
    })?;
    let (found, expected) = (FabricId::from_bytes(block.fabric), genesis.fabric_id());
    if found != expected {
        return Err(VerifyFinalizedError::OtherFabric { found, expected });
    }
    Ok(BlockHeader {
        height: block.height.get(),
        time_ms: block.time_ms,
        block_digest: block.digest().0,
        parent_digest: block.parent.0,
        state_root: block.state_root.0,
        leader: public_key_bytes(&block.context.leader),
        committee: block.committee.iter().map(public_key_bytes).collect(),
        transactions: block.transactions.len(),
    })
}

/// The digest that the first block names as its parent's.
///
/// # Errors
/// [`VerifyFinalizedError::ValidatorKey`].
pub fn genesis_digest(genesis: &Genesis) -> Result<[u8; 32], VerifyFinalizedError> {
    Ok(engine_first_block(genesis)?.digest().0)
}

/// The block that stands before the first one.
pub(crate) fn engine_first_block(genesis: &Genesis) -> Result<Block, VerifyFinalizedError> {
    let first = genesis.validators().first().copied();
    let leader = first.as_ref().and_then(engine_key);
    let key = first.unwrap_or(PublicKey::from_bytes([0; 32]));
    let leader = leader.ok_or(VerifyFinalizedError::ValidatorKey { key })?;
    Ok(Block::genesis::<_, Databases<engine_runtime::Context>>(
        genesis, leader,
    ))
}

/// Proof of what one key holds in the state after one final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateProof {
    /// Height of the block.
    pub height: u64,
    /// Its state root, which its header carries.
    pub state_root: [u8; 32],
    /// What [`verify_proof`] checks: the path to the root, and the value where there is one.
    pub bytes: Vec<u8>,
}

/// Why bytes do not prove what a key holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyProofError {
    /// The bytes are no proof.
    #[error("the bytes are no proof of an entry of the state: {reason}")]
    Malformed {
        /// What the codec says.
        reason: String,
    },
    /// The proof does not lead from this key to this root.
    #[error("the proof does not hold for this key and state root")]
    Refuted,
}

/// What `key` holds in the state with this root, or that it holds nothing.
///
/// # Errors
/// [`VerifyProofError`]; then the bytes prove nothing.
pub fn verify_proof(
    state_root: &[u8; 32],
    key: &StateKey,
    proof: &[u8],
) -> Result<Option<Vec<u8>>, VerifyProofError> {
    let malformed = |error: CodecError| VerifyProofError::Malformed {
        reason: error.to_string(),
    };
    let (key, root) = (
        key.as_bytes().to_vec(),
        commonware_cryptography::blake3::Digest(*state_root),
    );
    let claim = decode_claim(proof).map_err(malformed)?;
    let (holds, value) = match claim {
        Claim::Present(presence, value) => {
            let holds =
                presence.verify::<Blake3, VariableEncoding<Vec<u8>>>(key, value.clone(), &root);
            (holds, Some(value))
        }
        Claim::Absent(absence) => (absence.verify::<Blake3>(&key, &root), None),
    };
    if holds {
        Ok(value)
    } else {
        Err(VerifyProofError::Refuted)
    }
}

enum Claim {
    Present(Presence, Vec<u8>),
    Absent(Absence),
}

fn decode_claim(proof: &[u8]) -> Result<Claim, CodecError> {
    let key = || (RangeCfg::from(0..=StateKey::BYTES_MAX), ());
    let value = || (RangeCfg::from(0..=VALUE_BYTES_MAX), ());
    let digests = MAX_PROOF_DIGESTS_PER_ELEMENT;
    let mut bytes = Bytes::copy_from_slice(proof);
    let claim = match u8::read(&mut bytes)? {
        PRESENT => Claim::Present(
            Presence::read_cfg(&mut bytes, &(digests, key()))?,
            Vec::<u8>::read_cfg(&mut bytes, &value())?,
        ),
        ABSENT => Claim::Absent(Absence::read_cfg(
            &mut bytes,
            &(digests, (key(), value()), value()),
        )?),
        tag => return Err(CodecError::InvalidEnum(tag)),
    };
    if bytes.has_remaining() {
        return Err(CodecError::ExtraData(bytes.remaining()));
    }
    Ok(claim)
}

/// Proves what `key` holds in `db`; `None` before the first block, whose state has no root.
pub(crate) async fn prove<E>(
    db: &Db<E>,
    key: &StateKey,
) -> Result<Option<StateProof>, ReadStateError>
where
    E: Runtime,
{
    let Some(head) = read_head(db).await? else {
        return Ok(None);
    };
    let key = key.as_bytes().to_vec();
    let mut bytes = Vec::new();
    if let Some(value) = db.get(&key).await? {
        bytes.push(PRESENT);
        bytes.extend_from_slice(&db.key_value_proof(key).await?.encode());
        bytes.extend_from_slice(&value.encode());
    } else {
        bytes.push(ABSENT);
        bytes.extend_from_slice(&db.exclusion_proof(&key).await?.encode());
    }
    Ok(Some(StateProof {
        height: head.height,
        state_root: db.root().0,
        bytes,
    }))
}
