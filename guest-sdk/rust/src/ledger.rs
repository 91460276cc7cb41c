//! Records on the ledger of the fabric, with proofs, by `hypermesh:consensus/ledger`. Everyone in the
//! fabric reads them; the node that runs the instance signs for it.

use crate::host;

/// Why the ledger did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key, a value, a lifetime or a height is out of bounds, in the host's words.
    #[error("{0}")]
    Invalid(String),
    /// The record was to be new, and one with its key exists.
    #[error("a record with this key exists")]
    Exists,
    /// There is no record to delete.
    #[error("there is no record with this key")]
    Absent,
    /// The workload, or the fabric, has as many records as it may, in the host's words.
    #[error("{0}")]
    Quota(String),
    /// Too much at once, in the host's words: try again later.
    #[error("{0}")]
    Busy(String),
    /// The workload may not write, in the host's words.
    #[error("{0}")]
    Denied(String),
    /// The node cannot say, in the host's words. What was submitted may be final all the same.
    #[error("{0}")]
    Unavailable(String),
}

/// A record as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What was written.
    pub value: Vec<u8>,
    /// Height of the block that wrote it.
    pub height: u64,
    /// Ledger time of that block, Unix milliseconds.
    pub time_ms: u64,
    /// Height of the block that deletes it, if it expires.
    pub expires_at: Option<u64>,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Height of the final block after which it is so.
    pub height: u64,
    /// The record, if there is one.
    pub entry: Option<Entry>,
}

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proven {
    /// The workload whose record it is about.
    pub workload: String,
    /// The record's key.
    pub key: String,
    /// Height of the final block after which it was so.
    pub height: u64,
    /// Ledger time of that block, Unix milliseconds.
    pub time_ms: u64,
    /// The record, or the proof that there was none.
    pub entry: Option<Entry>,
}

/// A value made of a final block. A leader of a round can bias it: see the contract in `wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beacon {
    /// The block's height.
    pub height: u64,
    /// 32 bytes.
    pub value: Vec<u8>,
}

/// How a record is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Blocks until it is deleted; none keeps it as long as the workload.
    pub lifetime: Option<u64>,
    /// Whether to refuse to replace a record.
    pub only_new: bool,
}

/// A change on its way to a final block. Dropping it does not take the change back.
///
/// ```
/// use hypermesh_guest::ledger::{self, Error, Options};
///
/// # hypermesh_guest::mock::reset();
/// let new = Options { only_new: true, ..Options::default() };
/// let height = ledger::submit("contract/7", "signed", new)?.finality()?;
/// let entry = ledger::read("contract/7")?.entry.expect("it is there");
/// assert_eq!((entry.value.as_slice(), entry.height), (b"signed".as_slice(), height));
/// assert_eq!(ledger::submit("contract/7", "again", new)?.finality(), Err(Error::Exists));
///
/// let proof = ledger::prove("contract/7")?;
/// let proven = ledger::verify(&proof).expect("it is a proof");
/// assert_eq!(proven.entry, Some(entry));
///
/// ledger::delete("contract/7")?.finality()?;
/// assert_eq!(ledger::read("contract/7")?.entry, None);
/// # Ok::<(), hypermesh_guest::ledger::Error>(())
/// ```
#[derive(Debug)]
pub struct Submission(host::ledger::Submission);

impl Submission {
    /// Waits until the change is in a final block and seen by [`read`]; the block's height. Says the
    /// same again.
    ///
    /// # Errors
    /// What the ledger or the node refused. After [`Error::Unavailable`] the change may be final.
    pub fn finality(&self) -> Result<u64, Error> {
        self.0.finality()
    }
}

/// Begins to write a record.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Busy`]; what else there is to refuse is told by
/// [`Submission::finality`].
pub fn submit(key: &str, value: impl AsRef<[u8]>, options: Options) -> Result<Submission, Error> {
    host::ledger::submit(key, value.as_ref(), options).map(Submission)
}

/// Begins to delete a record.
///
/// # Errors
/// As for [`submit`].
pub fn delete(key: &str) -> Result<Submission, Error> {
    host::ledger::delete(key).map(Submission)
}

/// What a key holds.
///
/// # Errors
/// What the host reports.
pub fn read(key: &str) -> Result<Reading, Error> {
    host::ledger::read(key)
}

/// Proof of what a key holds, or that it holds nothing, for everyone who knows the fabric's id.
///
/// # Errors
/// What the host reports.
pub fn prove(key: &str) -> Result<Vec<u8>, Error> {
    host::ledger::prove(key)
}

/// Checks a proof of any workload's record against this fabric.
///
/// # Errors
/// Why it proves nothing.
pub fn verify(proof: &[u8]) -> Result<Proven, String> {
    host::ledger::verify(proof)
}

/// Height of the last final block that this node has executed.
#[must_use]
pub fn height() -> u64 {
    host::ledger::height()
}

/// The value made of the block at a height, or of the last one.
///
/// # Errors
/// [`Error::Invalid`] for a height whose block is not there.
pub fn beacon(height: Option<u64>) -> Result<Beacon, Error> {
    host::ledger::beacon(height)
}
