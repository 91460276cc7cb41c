//! Who is said to be gone: what validators report of members and what the state says of it. Never
//! knows how a witness came to its opinion.

use serde::{Deserialize, Serialize};
use types::{NodeId, PublicKey};

use crate::genesis::witnesses;
use crate::record::Record;

/// A validator that is absent for so long of ledger time loses its vote with the next epoch: ten
/// minutes are more than a restart or a repaired cable takes, and less than waits for a person.
pub const VOTE_KEPT_MS: u64 = 10 * 60 * 1000;

/// No absence leaves fewer validators than this: three tolerate no fault at all, so taking a vote
/// would make the fabric weaker.
pub const VALIDATORS_KEPT: usize = 4;

/// Reported nodes whose entries are cleaned when an epoch begins; the next epoch goes on with
/// others. What it cleans counts for nothing meanwhile, so this bounds work only.
pub const ABSENCES_CLEANED_PER_EPOCH: usize = 16;

/// What is said of a member's presence. New operations are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LivenessOperation {
    /// The signer does not reach a member. By a validator in office, about another node.
    Absent {
        /// Which one.
        node: NodeId,
    },
    /// Takes the signer's report back; by the node itself, all reports about it.
    Present {
        /// Which one.
        node: NodeId,
    },
}

/// One witness's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsenceReport {
    /// Who says so.
    pub witness: PublicKey,
    /// Since the block of this height.
    pub height: u64,
    /// That block's ledger time, Unix milliseconds.
    pub time_ms: u64,
}

/// When enough witnesses agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsentSince {
    /// Ledger time, Unix milliseconds.
    pub time_ms: u64,
    /// Height of that block.
    pub height: u64,
}

/// What is reported of one node; there while there is a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsenceRecord {
    /// One for each witness, oldest first; bounded by the number of validators.
    pub reports: Vec<AbsenceReport>,
}

impl AbsenceRecord {
    /// The reports that count: those of validators in office.
    pub fn counting(&self, in_office: &[PublicKey]) -> impl Iterator<Item = &AbsenceReport> {
        self.reports
            .iter()
            .filter(move |report| in_office.contains(&report.witness))
    }

    /// Since when more than a third of the validators in office, one of whom must be honest, say
    /// that the node is gone; `None` if they do not.
    #[must_use]
    pub fn since(&self, in_office: &[PublicKey]) -> Option<AbsentSince> {
        let mut times: Vec<_> = self
            .counting(in_office)
            .map(|report| AbsentSince {
                time_ms: report.time_ms,
                height: report.height,
            })
            .collect();
        times.sort_unstable();
        times.get(witnesses(in_office.len()) - 1).copied()
    }
}

/// The nodes that have an [`AbsenceRecord`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsencesRecord {
    /// Those cleaned longest ago first; bounded by the number of members.
    pub reported: Vec<NodeId>,
}

impl Record for AbsenceRecord {}
impl Record for AbsencesRecord {}
