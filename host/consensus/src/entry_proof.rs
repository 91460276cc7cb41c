//! The proof of one entry as a file that stands by itself: who has it and the fabric's id needs no
//! node, no network and no data directory. Pure: bytes in, verdict out.
//!
//! ```text
//! "hypermesh-proof\n" (16) | version (1)
//! genesis: length (4, big endian), bytes      whose digest is the fabric's id
//! handovers: count (4, big endian), then each: block, certificate, both as length and bytes
//! block: length, bytes                        whose state root the entry leads to
//! certificate: length, bytes                  its certificate of finality
//! key: length, bytes
//! entry: length, bytes                        value or absence with its path: `verify_proof`
//! digest (32)                                 BLAKE3 of all bytes before, against damage
//! ```
//! The digest only tells damage from forgery; what convinces are the signatures. The validators of
//! the genesis sign the first handover, those whom it names the second, and so on to the block.
//! Whoever held more than two thirds of the votes once can sign another history from there on with
//! the old keys: see [`Committees`].

use bytes::Buf as _;
use commonware_cryptography::Hasher as _;
use commonware_cryptography::blake3::Blake3;
use ledger::{DecodeGenesisError, Genesis, StateKey};
use types::FabricId;

use crate::committees::Committees;
use crate::handovers::Handover;
use crate::proof::{BlockHeader, VerifyFinalizedError, VerifyProofError, verify_proof};

const MAGIC: &[u8; 16] = b"hypermesh-proof\n";
const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 32;

/// Largest file: a full block, a large genesis, an entry, and all handovers that are allowed, whose
/// blocks carry no transactions.
pub const ENTRY_PROOF_BYTES_MAX: usize = 32 << 20;
/// Most handovers: with the shortest useful epochs, a decade of monthly changes and to spare.
const HANDOVERS_MAX: usize = 2_048;

/// One entry of the state, or its absence, with everything that proves it but the fabric's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// The canonical bytes of the genesis.
    pub genesis: Vec<u8>,
    /// Ends of epochs in which validators changed before the block, oldest first.
    pub handovers: Vec<Handover>,
    /// The canonical bytes of a final block.
    pub block: Vec<u8>,
    /// Its certificate of finality.
    pub certificate: Vec<u8>,
    /// The entry's key.
    pub key: StateKey,
    /// What [`verify_proof`] checks against the block's state root.
    pub entry: Vec<u8>,
}

/// What a proof proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEntry {
    /// The block after which it was so.
    pub header: BlockHeader,
    /// The entry's key.
    pub key: StateKey,
    /// What it held; `None` if there was no such entry.
    pub value: Option<Vec<u8>>,
    /// How many changes of validators were followed.
    pub handovers: usize,
}

/// Bytes that are no proof of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeEntryProofError {
    /// Over the bound.
    #[error("the file has {bytes} bytes, a proof at most {ENTRY_PROOF_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Something else.
    #[error("the file is no proof of an entry: it does not begin like one")]
    Other,
    /// Written by a newer release.
    #[error("the proof has version {version}, this release reads version {VERSION}")]
    Version {
        /// The version it carries.
        version: u8,
    },
    /// Some bytes are not those that were written.
    #[error("the proof is damaged: its bytes do not have the digest that it ends with")]
    Damaged,
    /// Whole, but not what any release wrote.
    #[error("the proof is malformed: its {part} is not there or out of bounds")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyEntryProofError {
    /// It brings no genesis.
    #[error("the genesis in the proof is none: {0}")]
    Genesis(#[from] DecodeGenesisError),
    /// It is about another fabric.
    #[error("the proof is from fabric {found}, not from {expected}")]
    OtherFabric {
        /// Whose proof was asked for.
        expected: FabricId,
        /// Whose genesis it brings.
        found: FabricId,
    },
    /// A change of validators is not proven.
    #[error("change {number} of the validators is not proven: {source}")]
    Handover {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong.
        source: VerifyFinalizedError,
    },
    /// A block among the changes of validators changes none, or stands in the wrong place.
    #[error("change {number} of the validators is none: block {height} does not belong there")]
    OutOfPlace {
        /// Which one, counted from 1.
        number: usize,
        /// The block's height.
        height: u64,
    },
    /// The block is not final.
    #[error("the block is not proven final: {0}")]
    Block(#[from] VerifyFinalizedError),
    /// The block is final, and the entry is not in its state.
    #[error("entry `{key}` is not proven in the state after block {height}: {source}")]
    Entry {
        /// Its key.
        key: StateKey,
        /// The block's height.
        height: u64,
        /// What is wrong.
        source: VerifyProofError,
    },
}

impl EntryProof {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        put(&mut bytes, &self.genesis);
        bytes.extend_from_slice(&length(self.handovers.len()));
        for handover in &self.handovers {
            put(&mut bytes, &handover.block);
            put(&mut bytes, &handover.certificate);
        }
        put(&mut bytes, &self.block);
        put(&mut bytes, &self.certificate);
        put(&mut bytes, self.key.as_bytes());
        put(&mut bytes, &self.entry);
        let digest = Blake3::hash(&[&bytes]).0;
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Reads a file. Proves nothing by itself.
    ///
    /// # Errors
    /// [`DecodeEntryProofError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeEntryProofError> {
        if bytes.len() > ENTRY_PROOF_BYTES_MAX {
            return Err(DecodeEntryProofError::TooLarge { bytes: bytes.len() });
        }
        let Some((&version, _)) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first) else {
            return Err(DecodeEntryProofError::Other);
        };
        if version != VERSION {
            return Err(DecodeEntryProofError::Version { version });
        }
        let body = bytes.len().checked_sub(DIGEST_BYTES);
        let split = body.and_then(|body| bytes.split_at_checked(body));
        let Some((body, digest)) = split.filter(|(body, _)| body.len() > MAGIC.len()) else {
            return Err(DecodeEntryProofError::Damaged);
        };
        if Blake3::hash(&[body]).0 != digest {
            return Err(DecodeEntryProofError::Damaged);
        }
        Self::parse(body.get(MAGIC.len() + 1..).unwrap_or_default())
    }

    fn parse(mut rest: &[u8]) -> Result<Self, DecodeEntryProofError> {
        let rest = &mut rest;
        let genesis = take(rest, "genesis")?;
        let malformed = |part| DecodeEntryProofError::Malformed { part };
        let count = rest.try_get_u32().ok();
        let count = count.and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| *count <= HANDOVERS_MAX);
        let mut handovers = Vec::new();
        for _ in 0..count.ok_or_else(|| malformed("count of handovers"))? {
            handovers.push(Handover {
                block: take(rest, "handover")?,
                certificate: take(rest, "handover")?,
            });
        }
        let (block, certificate) = (take(rest, "block")?, take(rest, "certificate")?);
        let key = StateKey::from_bytes(take(rest, "key")?);
        let proof = Self {
            genesis,
            handovers,
            block,
            certificate,
            key: key.map_err(|_| malformed("key"))?,
            entry: take(rest, "entry")?,
        };
        if rest.is_empty() {
            Ok(proof)
        } else {
            Err(malformed("end"))
        }
    }

    /// Checks everything against the fabric's id, and says what it proves.
    ///
    /// # Errors
    /// [`VerifyEntryProofError`]; then it proves nothing.
    pub fn verify(&self, fabric: &FabricId) -> Result<ProvenEntry, VerifyEntryProofError> {
        let genesis = Genesis::decode(&self.genesis)?;
        let (expected, found) = (*fabric, genesis.fabric_id());
        if expected != found {
            return Err(VerifyEntryProofError::OtherFabric { expected, found });
        }
        let header = self.verify_block(&genesis)?;
        let held = verify_proof(&header.state_root, &self.key, &self.entry);
        let value = held.map_err(|source| VerifyEntryProofError::Entry {
            key: self.key.clone(),
            height: header.height,
            source,
        })?;
        Ok(ProvenEntry {
            header,
            key: self.key.clone(),
            value,
            handovers: self.handovers.len(),
        })
    }

    /// Walks from the validators of the genesis over each change to those who made the block final.
    fn verify_block(&self, genesis: &Genesis) -> Result<BlockHeader, VerifyEntryProofError> {
        let committees = Committees::of(genesis)?;
        let mut below = 0;
        for (number, handover) in (1..).zip(&self.handovers) {
            let header = committees.verify(&handover.block, &handover.certificate);
            let header =
                header.map_err(|source| VerifyEntryProofError::Handover { number, source })?;
            let height = header.height;
            let changes = genesis.ends_epoch(height) && !header.committee.is_empty();
            if !changes || height <= below {
                return Err(VerifyEntryProofError::OutOfPlace { number, height });
            }
            committees.pass(&header);
            below = height;
        }
        let header = committees.verify(&self.block, &self.certificate)?;
        if header.height <= below {
            let (number, height) = (self.handovers.len(), below);
            return Err(VerifyEntryProofError::OutOfPlace { number, height });
        }
        Ok(header)
    }
}

fn length(count: usize) -> [u8; 4] {
    // Whatever is longer than this is over the bound of the file, which the reader checks.
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&length(part.len()));
    bytes.extend_from_slice(part);
}

fn take(rest: &mut &[u8], part: &'static str) -> Result<Vec<u8>, DecodeEntryProofError> {
    let malformed = DecodeEntryProofError::Malformed { part };
    let length = rest.try_get_u32().map_err(|_| malformed.clone())?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (taken, left) = rest.split_at_checked(length).ok_or(malformed)?;
    *rest = left;
    Ok(taken.to_vec())
}
