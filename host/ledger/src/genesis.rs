//! The beginning of a fabric. Its digest is the fabric's id.

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId, Principal, PublicKey};

use crate::key::StateKey;
use crate::record::{self, FabricRecord, PrincipalRecord, Role};

const DOMAIN: &[u8] = b"hypermesh/genesis/1\0";

/// The first facts of a fabric, agreed before there is a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    time_ms: u64,
    salt: [u8; 16],
    validators: Vec<PublicKey>,
    nodes: Vec<NodeId>,
    operators: Vec<Principal>,
    epoch_blocks: u32,
}

/// A beginning from which no fabric can go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A list is empty, too long, or has an entry twice.
    #[error("a genesis needs 1 to {max} distinct {what}")]
    Members {
        /// Which list.
        what: &'static str,
        /// Its bound.
        max: usize,
    },
    /// A validator must be a node.
    #[error("validator {0} is not among the nodes")]
    ValidatorIsNoNode(PublicKey),
    /// An epoch is no length that works.
    #[error(
        "an epoch has {} to {} blocks, not {blocks}",
        Genesis::EPOCH_BLOCKS_MIN,
        Genesis::EPOCH_BLOCKS_MAX
    )]
    EpochBlocks {
        /// The length asked for.
        blocks: u32,
    },
}

/// Bytes that are no genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeGenesisError {
    /// Not what [`Genesis::encode`] writes.
    #[error("these {0} bytes are not a genesis of version 1")]
    Malformed(usize),
    /// Decodes, but breaks a rule.
    #[error(transparent)]
    Invalid(#[from] GenesisError),
}

impl Genesis {
    /// Most validators at the start; votes of more are slower than they are safer.
    pub const VALIDATORS_MAX: usize = 64;
    /// Most operators at the start.
    pub const OPERATORS_MAX: usize = 64;

    /// Blocks of an epoch unless a fabric is founded with another length. Validators change between
    /// epochs: a change waits for at most this many blocks, which are made at once, and a new
    /// engine costs a few flushes in so many blocks.
    pub const EPOCH_BLOCKS: u32 = 128;
    /// Shortest epoch: the genesis entries are written before its last block.
    pub const EPOCH_BLOCKS_MIN: u32 = 4;
    /// Longest epoch: a change of validators waits for all of it.
    pub const EPOCH_BLOCKS_MAX: u32 = 1 << 16;

    /// Checks and orders the lists. `salt` keeps two fabrics of the same members apart.
    ///
    /// # Errors
    /// [`GenesisError`] if a list is empty, too long or has duplicates, or a validator is no node.
    pub fn new(
        time_ms: u64,
        salt: [u8; 16],
        mut validators: Vec<PublicKey>,
        mut nodes: Vec<NodeId>,
        mut operators: Vec<Principal>,
    ) -> Result<Self, GenesisError> {
        let lists = [
            ("validators", &mut validators, Self::VALIDATORS_MAX),
            ("nodes", &mut nodes, FabricRecord::NODES_MAX),
            ("operators", &mut operators, Self::OPERATORS_MAX),
        ];
        for (what, list, max) in lists {
            list.sort_unstable();
            let count = list.len();
            list.dedup();
            if list.len() != count || !(1..=max).contains(&count) {
                return Err(GenesisError::Members { what, max });
            }
        }
        if let Some(validator) = validators.iter().find(|v| nodes.binary_search(v).is_err()) {
            return Err(GenesisError::ValidatorIsNoNode(*validator));
        }
        Ok(Self {
            time_ms,
            salt,
            validators,
            nodes,
            operators,
            epoch_blocks: Self::EPOCH_BLOCKS,
        })
    }

    /// The same with another length of epochs.
    ///
    /// # Errors
    /// [`GenesisError::EpochBlocks`] if it is too short or too long.
    pub fn with_epoch_blocks(self, blocks: u32) -> Result<Self, GenesisError> {
        if !(Self::EPOCH_BLOCKS_MIN..=Self::EPOCH_BLOCKS_MAX).contains(&blocks) {
            return Err(GenesisError::EpochBlocks { blocks });
        }
        Ok(Self {
            epoch_blocks: blocks,
            ..self
        })
    }

    /// The fabric's id: the digest of the domain tag and the canonical bytes.
    #[must_use]
    pub fn fabric_id(&self) -> FabricId {
        Digest::of(&[DOMAIN, &self.encode()].concat())
    }

    /// Nodes with a vote, in key order.
    #[must_use]
    pub fn validators(&self) -> &[PublicKey] {
        &self.validators
    }

    /// Founding nodes, in key order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Founding operators, in key order.
    #[must_use]
    pub fn operators(&self) -> &[Principal] {
        &self.operators
    }

    /// Blocks of an epoch: epoch `e` has the heights from `e` times this, genesis included.
    #[must_use]
    pub const fn epoch_blocks(&self) -> u32 {
        self.epoch_blocks
    }

    /// The epoch that the block at `height` belongs to.
    #[must_use]
    pub const fn epoch(&self, height: u64) -> u64 {
        height / self.epoch_blocks as u64
    }

    /// Whether the block at `height` is the first of an epoch after the first.
    #[must_use]
    pub const fn begins_epoch(&self, height: u64) -> bool {
        height > 0 && height.is_multiple_of(self.epoch_blocks as u64)
    }

    /// Whether the block at `height` is the last of its epoch. It carries no transactions.
    #[must_use]
    pub const fn ends_epoch(&self, height: u64) -> bool {
        height % self.epoch_blocks as u64 == self.epoch_blocks as u64 - 1
    }

    /// What keeps this fabric apart from others of the same members.
    #[must_use]
    pub const fn salt(&self) -> [u8; 16] {
        self.salt
    }

    /// When the fabric began, Unix milliseconds.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self)
            .unwrap_or_else(|error| panic!("a genesis must be serialisable: {error}"))
    }

    /// Reads canonical bytes back.
    ///
    /// # Errors
    /// [`DecodeGenesisError`] if they are malformed, not canonical, or break a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeGenesisError> {
        let malformed = || DecodeGenesisError::Malformed(bytes.len());
        let raw: Self = postcard::from_bytes(bytes).map_err(|_| malformed())?;
        let checked = Self::new(
            raw.time_ms,
            raw.salt,
            raw.validators,
            raw.nodes,
            raw.operators,
        )?
        .with_epoch_blocks(raw.epoch_blocks)?;
        if checked.encode() == bytes {
            Ok(checked)
        } else {
            Err(malformed())
        }
    }

    /// The entries that the first block writes.
    pub(crate) fn entries(&self) -> Vec<(StateKey, Vec<u8>)> {
        let fabric = FabricRecord {
            nodes: self.nodes.clone(),
            validators: self.validators.clone(),
            deployments: 0,
        };
        let principal = PrincipalRecord::new(Role::Admin);
        let fabric = std::iter::once((StateKey::fabric(), record::encode(&fabric)));
        let operators = self
            .operators
            .iter()
            .map(|id| (StateKey::principal(id), record::encode(&principal)));
        fabric.chain(operators).collect()
    }
}

/// Votes that decide among so many validators: more than two thirds.
#[must_use]
pub const fn quorum(validators: usize) -> usize {
    validators * 2 / 3 + 1
}

/// Validators that must say the same before it counts that they do: one more than may lie, so at
/// least one of them is honest.
#[must_use]
pub const fn witnesses(validators: usize) -> usize {
    validators.saturating_sub(1) / 3 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::from_bytes([seed; 32])
    }

    #[test]
    fn bytes_round_trip_and_the_id_covers_every_field() {
        let genesis = Genesis::new(5, [1; 16], vec![key(1)], vec![key(1)], vec![key(2)]).unwrap();
        assert_eq!(Genesis::decode(&genesis.encode()), Ok(genesis.clone()));
        let others = [
            Genesis::new(6, [1; 16], vec![key(1)], vec![key(1)], vec![key(2)]),
            Genesis::new(5, [2; 16], vec![key(1)], vec![key(1)], vec![key(2)]),
            Genesis::new(5, [1; 16], vec![key(1)], vec![key(1), key(3)], vec![key(2)]),
            Genesis::new(5, [1; 16], vec![key(1)], vec![key(1)], vec![key(3)]),
            genesis.clone().with_epoch_blocks(16),
        ];
        assert!(
            others
                .iter()
                .all(|other| other.as_ref().unwrap().fabric_id() != genesis.fabric_id())
        );
    }

    #[test]
    fn a_genesis_without_members_or_with_doubles_is_refused() {
        assert!(Genesis::new(0, [0; 16], vec![], vec![key(1)], vec![key(1)]).is_err());
        assert!(
            Genesis::new(0, [0; 16], vec![key(1), key(1)], vec![key(1)], vec![key(1)]).is_err()
        );
        assert_eq!(
            Genesis::new(0, [0; 16], vec![key(2)], vec![key(1)], vec![key(1)]),
            Err(GenesisError::ValidatorIsNoNode(key(2)))
        );
        assert!(Genesis::decode(b"garbage").is_err());
    }

    #[test]
    fn epochs_tile_the_heights() {
        let genesis = Genesis::new(5, [1; 16], vec![key(1)], vec![key(1)], vec![key(2)]).unwrap();
        for blocks in [0, 3, Genesis::EPOCH_BLOCKS_MAX + 1] {
            let refused = genesis.clone().with_epoch_blocks(blocks);
            assert_eq!(refused, Err(GenesisError::EpochBlocks { blocks }));
        }
        let genesis = genesis.with_epoch_blocks(4).unwrap();
        assert_eq!(Genesis::decode(&genesis.encode()), Ok(genesis.clone()));
        let epochs: Vec<_> = (0..9).map(|height| genesis.epoch(height)).collect();
        assert_eq!(epochs, [0, 0, 0, 0, 1, 1, 1, 1, 2]);
        let heights = |is: fn(&Genesis, u64) -> bool| {
            (0..9)
                .filter(|height| is(&genesis, *height))
                .collect::<Vec<_>>()
        };
        assert_eq!(heights(Genesis::begins_epoch), [4, 8]);
        assert_eq!(heights(Genesis::ends_epoch), [3, 7]);
    }
}
