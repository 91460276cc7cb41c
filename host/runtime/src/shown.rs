//! What crosses to guests of proofs of space and of executions. Knows no proof: a node makes and
//! checks them behind [`crate::Consensus`].

/// What the host of an asset showed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSpace {
    /// Which asset.
    pub asset: String,
    /// Its host, which signed.
    pub host: String,
    /// Height of the block that asked.
    pub height: u64,
    /// The content whose chunks were asked for; none if the host keeps none.
    pub content: Option<ShownContent>,
}

/// A content that a host keeps for an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownContent {
    /// Its digest.
    pub root: String,
    /// Its length.
    pub bytes: u64,
}

/// What the proof of an execution proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenExecution {
    /// Digest of the order, which no other call has.
    pub order: String,
    /// Of which workload.
    pub workload: String,
    /// Which of its components.
    pub component: String,
    /// Digest of the component's binary.
    pub artifact: String,
    /// Full name of the export that was called.
    pub export: String,
    /// Its arguments, in WAVE.
    pub arguments: Vec<String>,
    /// What came out, in WAVE.
    pub result: String,
    /// Height of the block that drew the nodes.
    pub height: u64,
    /// Nodes that got this result.
    pub agreed: Vec<String>,
    /// Nodes that got another.
    pub outvoted: Vec<String>,
    /// Nodes that were drawn and of which there is no receipt.
    pub silent: Vec<String>,
    /// Whether that block, which this node still has, draws just these nodes.
    pub draw_checked: bool,
}

/// Why the host of an asset did not show it. Texts are for the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestSpaceError {
    /// The text is no id.
    #[error("{0}")]
    Invalid(String),
    /// No such asset is on the ledger.
    #[error("there is no such asset")]
    Absent,
    /// Its host says that it cannot.
    #[error("{0}")]
    NotShown(String),
    /// Its host cannot be asked, or the node cannot say.
    #[error("{0}")]
    Unavailable(String),
}
