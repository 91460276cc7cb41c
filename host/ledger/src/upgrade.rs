//! Versions of the rules: which a program knows, which is in force, and what validators vote on.
//! Never knows what a version changes.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::PublicKey;

use crate::key::StateKey;
use crate::record::{self, DecodeRecordError, Record};

/// Blocks that a change of the rules is decided ahead of. A validator works on a few heights at a
/// time, so each has the decision on disk before the first block that it concerns is proposed.
pub const RULES_LEAD_BLOCKS_MIN: u64 = 32;

/// The versions of the rules that a program can execute, from the first on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRules {
    newest: u32,
}

impl KnownRules {
    /// The version that every fabric begins with.
    pub const FIRST: u32 = 1;
    /// What this release executes.
    pub const RELEASED: Self = Self {
        newest: Self::FIRST,
    };
    /// Rules 2 of the tests beside the released ones: under them a workload's name has two letters
    /// or more. No release will ever run them.
    #[cfg(feature = "unreleased-rules")]
    pub const UNRELEASED: Self = Self { newest: 2 };

    /// The newest version.
    #[must_use]
    pub const fn newest(self) -> u32 {
        self.newest
    }

    /// Whether blocks under these rules can be executed.
    #[must_use]
    pub const fn contains(self, version: u32) -> bool {
        version >= Self::FIRST && version <= self.newest
    }

    /// That the rules after `record` at `height` are known.
    ///
    /// # Errors
    /// [`UnknownRules`] if they are not.
    pub fn check(self, record: &RulesRecord, height: u64) -> Result<(), UnknownRules> {
        let (version, since) = record.at(height);
        if self.contains(version) {
            return Ok(());
        }
        Err(UnknownRules {
            version,
            since,
            known: self,
        })
    }
}

impl fmt::Display for KnownRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.newest {
            Self::FIRST => write!(f, "{}", Self::FIRST),
            newest => write!(f, "{} to {newest}", Self::FIRST),
        }
    }
}

/// A block under rules that this program does not know. It says nothing about the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this fabric runs rules {version} since block {since}; this nexus knows rules {known}: install \
     a newer nexus and start it again"
)]
pub struct UnknownRules {
    /// The version in force.
    pub version: u32,
    /// Height of the first block under it.
    pub since: u64,
    /// What this program knows.
    pub known: KnownRules,
}

/// Rules that come into force at a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesChange {
    /// The version.
    pub version: u32,
    /// The first block under it.
    pub height: u64,
}

/// How the rules change: one standing vote per validator, the last one counts. More than two
/// thirds of the validators decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RulesOperation {
    /// For new rules from a height on, which is [`RULES_LEAD_BLOCKS_MIN`] ahead or more. A decided
    /// change can be replaced by another one.
    Vote(RulesChange),
    /// Against the decided change, before it is in force; if there is none, takes the own vote back.
    Cancel,
}

/// The rules in force, those decided on, and votes. Without this entry the first rules are in
/// force and nobody voted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesRecord {
    /// The version in force.
    pub version: u32,
    /// Height of the first block under it; 0 for the first rules.
    pub since: u64,
    /// What was decided to follow.
    pub next: Option<RulesChange>,
    /// The vote of each validator that has one, in key order. It counts as long as who cast it is
    /// in office.
    pub votes: Vec<(PublicKey, RulesOperation)>,
}

impl Default for RulesRecord {
    fn default() -> Self {
        Self {
            version: KnownRules::FIRST,
            since: 0,
            next: None,
            votes: Vec::new(),
        }
    }
}

impl RulesRecord {
    /// Reads what the state holds at [`StateKey::rules`].
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        record::decode(&StateKey::rules(), bytes)
    }

    /// The version in force at `height`, which is above the block that this record is of, and the
    /// first block under it.
    #[must_use]
    pub const fn at(&self, height: u64) -> (u32, u64) {
        match self.next {
            Some(next) if next.height <= height => (next.version, next.height),
            _ => (self.version, self.since),
        }
    }
}

impl Record for RulesRecord {}
