//! Calls that several nodes run, and what becomes of receipts that are challenged.

use serde::{Deserialize, Serialize};
use types::{Digest, NodeId, Replication};
use utoipa::ToSchema;

use crate::client::{Client, ClientError};

/// How several nodes ran one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicationReport {
    /// What they were asked, by its digest.
    #[schema(value_type = String)]
    pub order: Digest,
    /// The dial.
    #[schema(value_type = String)]
    pub replication: Replication,
    /// The height of the block that drew them.
    pub anchor: u64,
    /// Each that was drawn.
    pub nodes: Vec<NodeOutcome>,
}

/// How one node stands to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeVerdict {
    /// Its receipt is among those that agree.
    Agreed,
    /// Its receipt says something else.
    Outvoted,
    /// It gave no receipt.
    Silent,
}

/// What one node said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeOutcome {
    /// Who.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// How it stands to the result.
    pub verdict: NodeVerdict,
    /// The digest of what it got.
    #[schema(value_type = Option<String>)]
    pub output: Option<Digest>,
    /// The fuel that it says the guest used.
    pub fuel_used: Option<u64>,
    /// Why it gave no receipt.
    pub reason: Option<String>,
}

/// Asks whom a block draws for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawRequest {
    /// The order's bytes, hex.
    pub order: String,
}

/// Whom a block draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrawAnswer {
    /// The height of the block.
    pub anchor: u64,
    /// The nodes, in id order.
    #[schema(value_type = Vec<String>)]
    pub drawn: Vec<NodeId>,
}

/// Has receipts challenged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The bytes of the proof with the receipts, hex.
    pub receipt: String,
}

/// What most of those who ran an order again say of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptVerdict {
    /// They got the same.
    Confirmed,
    /// They got something else.
    Refuted,
    /// Too few of those that were drawn agree on either.
    Undecided,
}

/// What became of a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChallengeReport {
    /// The order, by its digest.
    #[schema(value_type = String)]
    pub order: Digest,
    /// Each receipt.
    pub receipts: Vec<JudgedReceipt>,
    /// Each node that was drawn to run it again.
    pub again: Vec<SecondRun>,
}

/// One receipt beside the later runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JudgedReceipt {
    /// Who signed it.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// What most say.
    pub verdict: ReceiptVerdict,
    /// Who differs, and in what.
    pub differences: Vec<ReceiptDifference>,
}

/// One thing that a later run gave differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptDifference {
    /// Who ran it again.
    #[schema(value_type = String)]
    pub by: NodeId,
    /// Which field of the receipt.
    pub field: String,
    /// What the receipt says.
    pub claimed: String,
    /// What the later run gave.
    pub found: String,
}

/// One later run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecondRun {
    /// Who.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The digest of what it got.
    #[schema(value_type = Option<String>)]
    pub output: Option<Digest>,
    /// The fuel that it says the guest used.
    pub fuel_used: Option<u64>,
    /// Why it did not run it.
    pub reason: Option<String>,
}

impl Client {
    /// Whom a block draws for an order.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the node does not have the block.
    pub async fn draw(&self, request: &DrawRequest) -> Result<DrawAnswer, ClientError> {
        self.post("/v1/receipts/draw", request).await
    }

    /// Has other members run a proven order again, and waits for them.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it proves nothing or cannot be run again.
    pub async fn challenge(
        &self,
        request: &ChallengeRequest,
    ) -> Result<ChallengeReport, ClientError> {
        self.post("/v1/receipts/challenge", request).await
    }
}
