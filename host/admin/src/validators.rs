//! Validators and how they change, as the admin API tells it.

use serde::{Deserialize, Serialize};
use types::{NodeId, PublicKey};
use utoipa::ToSchema;

use crate::BlockProof;

/// Who votes, and who will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidatorList {
    /// The epoch under way on the answering node.
    pub epoch: u64,
    /// Height of its last block. Changes take effect after it; while any is decided, blocks are
    /// made without waiting for transactions.
    pub epoch_ends_at: u64,
    /// Votes that decide: more than two thirds.
    pub quorum: u64,
    /// Everyone who votes now or will in the next epoch, in key order.
    pub validators: Vec<ValidatorStatus>,
    /// Changes that wait for votes, oldest first.
    pub proposed: Vec<ProposedChange>,
    /// Those who broke the rules of voting, in key order. They never vote again.
    pub convicted: Vec<Conviction>,
    /// Members that validators report as gone, in key order.
    pub absent: Vec<Absence>,
}

/// One validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidatorStatus {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Whether it votes in the epoch under way.
    pub now: bool,
    /// Whether it votes in the next one, as far as it is decided.
    pub next: bool,
}

/// A change that some validators voted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposedChange {
    /// `add` or `remove`.
    pub change: String,
    /// Whom.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Who voted for it.
    #[schema(value_type = Vec<String>)]
    pub votes: Vec<PublicKey>,
}

/// A validator that signed contradictory votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conviction {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Height of the block with the evidence.
    pub at: u64,
    /// The epoch of the round in which it signed both.
    pub epoch: u64,
    /// The view of that round.
    pub view: u64,
}

/// A member that validators report as gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Absence {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Validators in office that say so.
    pub witnesses: u64,
    /// So many must: fewer have no effect.
    pub needed: u64,
    /// Height of the block in which enough of them said so; none if they do not.
    pub since: Option<u64>,
    /// Ledger time of that block, Unix milliseconds.
    pub since_ms: Option<u64>,
}

/// The ends of epochs in which validators changed, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HandoverList {
    /// The last block of each such epoch, with its certificate.
    pub handovers: Vec<BlockProof>,
}
