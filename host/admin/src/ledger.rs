//! What nodes answer about the ledger itself: how it stands, its blocks, transactions and entries.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::{Digest, FabricId, NodeId, Principal, PublicKey};
use utoipa::{IntoParams, ToSchema};

use crate::answer::Acceptance;

/// How a node's ledger stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerStatus {
    /// The fabric.
    #[schema(value_type = String)]
    pub fabric: FabricId,
    /// The answering node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// `validator` or `follower`.
    pub role: String,
    /// Height of the last final block.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Root of the state after it, hex.
    pub state_root: String,
    /// The epoch under way.
    pub epoch: u64,
    /// Nodes with a vote in it.
    pub validators: u64,
    /// Nodes with a vote in the next one, if they are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_validators: Option<u64>,
    /// The rules in force, and those that follow.
    pub rules: RulesStatus,
    /// Transactions that wait for a block.
    pub waiting_transactions: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Connected members.
    pub peers: u64,
    /// The highest final block that a connected peer announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_height: Option<u64>,
    /// Connected peers whose last announcement that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_peers: Option<u64>,
    /// A peer has a final block that this node has not executed yet.
    pub catching_up: bool,
    /// Peers keep blocks from this height on only, and this node needs lower ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lagging: Option<u64>,
    /// Latest round of voting that this node saw end.
    pub view: u64,
    /// Rounds since the start that ended without a block.
    pub nullified: u64,
}

/// Which rules a fabric runs, and which the answering program knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesStatus {
    /// The version in force.
    pub version: u32,
    /// Height of the first block under it; 0 for the first rules.
    pub since: u64,
    /// What was decided to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextRules>,
    /// The oldest version that the answering program executes.
    pub known_oldest: u32,
    /// The newest one.
    pub known_newest: u32,
    /// Standing votes about the next rules, in the order of keys.
    pub votes: Vec<RulesVote>,
}

/// Rules that come into force at a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextRules {
    /// The version.
    pub version: u32,
    /// The first block under it.
    pub height: u64,
}

/// What one validator voted for last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesVote {
    /// The validator.
    #[schema(value_type = String)]
    pub validator: NodeId,
    /// Its wish; none if it votes against what is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<NextRules>,
}

/// Which blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BlocksQuery {
    /// The lowest height; none for the last blocks.
    pub from: Option<u64>,
    /// At most so many; at most 256, 20 if it is not said.
    pub limit: Option<u64>,
}

/// Some blocks in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockList {
    /// In order of height.
    pub blocks: Vec<BlockSummary>,
}

/// A final block at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSummary {
    /// Its height.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// The digest of its bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The digest of the block below.
    #[schema(value_type = String)]
    pub parent: Digest,
    /// Root of the state after it, hex.
    pub state_root: String,
    /// Who proposed it.
    #[schema(value_type = String)]
    pub leader: PublicKey,
    /// How many transactions it carries.
    pub transactions: u64,
    /// Whether the node has a certificate of finality of its own for it; else a later one covers it.
    pub certificate: bool,
}

/// A final block with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockContents {
    /// The block at a glance.
    pub block: BlockSummary,
    /// Its transactions, in order.
    pub transactions: Vec<FinalTransaction>,
}

/// A transaction in a final block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FinalTransaction {
    /// The digest of its signed bytes.
    #[schema(value_type = String)]
    pub id: Digest,
    /// Height of its block.
    pub height: u64,
    /// Its place there, from 0.
    pub index: u64,
    /// Who signed it.
    #[schema(value_type = String)]
    pub signer: Principal,
    /// The signer's count of transactions before it.
    pub nonce: u64,
    /// Last height at which it could be in a block.
    pub expires_at: u64,
    /// What it asks for, in words.
    pub asks: String,
    /// What it asks for, whole.
    #[schema(value_type = Object)]
    pub operation: Value,
    /// What became of it, if the node saw the block being executed since its start and remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Acceptance>,
}

/// Which entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntryQuery {
    /// Its key, such as `deployment/web`; bytes beyond ASCII as `\xNN`.
    pub key: String,
}

/// One entry of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryStatus {
    /// Its key.
    pub key: String,
    /// Height after which it is so.
    pub height: u64,
    /// Its value, hex.
    pub value: String,
    /// What the value says; none for a kind of entry that the node does not know.
    #[schema(value_type = Object)]
    pub record: Option<Value>,
}

/// Which keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeysQuery {
    /// What they begin with.
    #[serde(default)]
    pub prefix: String,
}

/// Keys of entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Height at which this is so.
    pub height: u64,
    /// The keys, in order; at most 10,000.
    pub keys: Vec<String>,
    /// How many more there are.
    pub more: u64,
}

/// What to follow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WatchQuery {
    /// The first height; none for the next block.
    pub from: Option<u64>,
    /// Only blocks that change entries whose keys begin so, with these changes.
    pub prefix: Option<String>,
}

/// A final block as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchedBlock {
    /// Its height.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// The digest of its bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How many transactions it carries.
    pub transactions: u64,
    /// Blocks before it that were not looked at, because the reader was too slow.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// What it changed, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<EntryChange>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A change of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryChange {
    /// Its key.
    pub key: String,
    /// Its new value, hex; none if it was removed.
    pub value: Option<String>,
    /// What the value says.
    #[schema(value_type = Object)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Value>,
}
