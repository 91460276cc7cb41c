//! Proofs of where assets are and of what was executed, by `hypermesh:consensus/proofs`. Nodes sign
//! them, and the node that runs the instance checks them: no key is here.
//!
//! ```
//! use hypermesh_guest::{mock, proofs};
//!
//! # mock::reset();
//! mock::set_asset("storage-1", "node-a", None);
//! let proof = proofs::request_space("storage-1")?;
//! let shown = proofs::verify_space(&proof).expect("it is a proof");
//! assert_eq!((shown.asset.as_str(), shown.host.as_str()), ("storage-1", "node-a"));
//! assert_eq!(shown.content, None, "its host is there, and keeps nothing");
//!
//! assert_eq!(proofs::request_space("storage-2"), Err(proofs::Error::Absent));
//! assert!(proofs::verify_space(b"nonsense").is_err());
//! # Ok::<(), hypermesh_guest::proofs::Error>(())
//! ```

use crate::host;

/// Why the host of an asset did not show it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not the id of an asset, in the host's words.
    #[error("{0}")]
    Invalid(String),
    /// The ledger has no such asset.
    #[error("there is no such asset")]
    Absent,
    /// Its host cannot show what it is to keep, in the host's words.
    #[error("{0}")]
    NotShown(String),
    /// Its host cannot be asked now, in the host's words: try again later.
    #[error("{0}")]
    Unavailable(String),
}

/// Something that the host of an asset committed to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// Its digest.
    pub root: String,
    /// Its length.
    pub bytes: u64,
}

impl Content {
    /// A content, for [`mock::set_asset`](crate::mock::set_asset).
    #[must_use]
    pub fn new(root: &str, bytes: u64) -> Self {
        let root = root.to_owned();
        Self { root, bytes }
    }
}

/// What the host of an asset showed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// Which asset.
    pub asset: String,
    /// The node that hosts it, which signed.
    pub host: String,
    /// Height of the block that drew what was asked for; it was shown at some time after it.
    pub height: u64,
    /// The content whose drawn chunks are right; none if the host only showed that it is there.
    pub content: Option<Content>,
}

/// What a proof of an execution proves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Execution {
    /// Digest of the order, which no other call has.
    pub order: String,
    /// The workload that was called.
    pub workload: String,
    /// Its component that was called.
    pub component: String,
    /// Digest of the component's binary.
    pub artifact: String,
    /// Full name of the export.
    pub export: String,
    /// Its arguments, in WAVE.
    pub arguments: Vec<String>,
    /// The result of those who agree, in WAVE.
    pub result: String,
    /// Height of the block that drew the nodes.
    pub height: u64,
    /// Nodes whose receipts agree.
    pub agreed: Vec<String>,
    /// Nodes whose receipts do not agree with them.
    pub outvoted: Vec<String>,
    /// Nodes that were drawn and have no receipt.
    pub silent: Vec<String>,
    /// Whether the block draws just these nodes. If it is false, whoever made the proof may have
    /// picked them among the members.
    pub draw_checked: bool,
}

/// Asks the host of an asset to show what it keeps for it. The proof is not checked yet.
///
/// # Errors
/// What the host reports.
pub fn request_space(asset: &str) -> Result<Vec<u8>, Error> {
    host::proofs::request_space(asset)
}

/// Checks what [`request_space`] gave, here or on another node.
///
/// # Errors
/// Why it proves nothing.
pub fn verify_space(proof: &[u8]) -> Result<Shown, String> {
    host::proofs::verify_space(proof)
}

/// Checks the bytes of a file that `nexus invoke --receipt` wrote.
///
/// ```
/// use hypermesh_guest::{mock, proofs};
///
/// # mock::reset();
/// let claimed = proofs::Execution { result: "42".to_owned(), ..Default::default() };
/// let file = mock::receipt(claimed.clone());
/// assert_eq!(proofs::verify_execution(&file), Ok(claimed));
/// assert!(proofs::verify_execution(b"nonsense").is_err());
/// ```
///
/// # Errors
/// Why it proves nothing.
pub fn verify_execution(proof: &[u8]) -> Result<Execution, String> {
    host::proofs::verify_execution(proof)
}
