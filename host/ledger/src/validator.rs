//! Who has a vote: what transactions ask for and what the state says of it. Never knows an engine.

use serde::{Deserialize, Serialize};
use types::{NodeId, PublicKey};

use crate::key::StateKey;
use crate::record::{self, DecodeRecordError, Record};

/// Changes that validators may be voting on at once.
pub const PROPOSED_CHANGES_MAX: usize = 64;

/// How validators change. Changes take effect together, with the next epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValidatorOperation {
    /// A vote for a change; more than two thirds of the validators decide. By a validator.
    Vote(ValidatorChange),
    /// Gives the own vote back, without asking anybody. By a validator that is not the last.
    Resign,
}

/// One change. New ones are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValidatorChange {
    /// A member gets a vote.
    Add {
        /// Which one.
        node: NodeId,
    },
    /// A validator loses its vote. It stays a member.
    Remove {
        /// Which one.
        node: NodeId,
    },
}

/// What was decided for the next epoch, and what is being voted on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteeRecord {
    /// Who votes from the next epoch on, in key order; none if nothing changes.
    pub next: Option<Vec<PublicKey>>,
    /// Proposed changes with those who voted for them, oldest first; at most
    /// [`PROPOSED_CHANGES_MAX`]. A vote counts as long as who cast it is in office.
    pub proposed: Vec<(ValidatorChange, Vec<PublicKey>)>,
}

impl CommitteeRecord {
    /// Reads what the state holds at [`StateKey::committee`].
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        record::decode(&StateKey::committee(), bytes)
    }
}

impl Record for CommitteeRecord {}
