//! Why a node does not run an order. Travels to whoever asked.

use serde::{Deserialize, Serialize};
use types::{ComponentKind, Digest, FabricId, Name};

/// Longest text of a refusal: names, limits and a reason fit.
const TEXT_BYTES_MAX: usize = 1_024;

/// A reason of the machine's or the guest's own, cut to [`TEXT_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Text(String);

impl From<String> for Text {
    fn from(mut text: String) -> Self {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Self(text)
    }
}

impl Text {
    pub(crate) fn of(reason: impl std::fmt::Display) -> Self {
        reason.to_string().into()
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An order that was not run, or gave no result. New reasons are appended: the order is part of the
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum OrderRefusal {
    /// All places are taken, or all that one member may have.
    #[error("busy: it runs as many orders as it takes at once")]
    Busy,
    /// For another fabric.
    #[error("the order is for fabric {0}")]
    OtherFabric(FabricId),
    /// Anchored in a block that did not come in time.
    #[error("the order is anchored at block {anchor}, the node is at {height}")]
    Ahead { anchor: u64, height: u64 },
    /// Anchored too long ago.
    #[error("the order is anchored at block {anchor}, the node is at {height}: too old, ask anew")]
    OldAnchor { anchor: u64, height: u64 },
    /// The block of the anchor cannot be read.
    #[error("the block of the anchor cannot be read: {0}")]
    NoBeacon(Text),
    /// The ledger's state cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Ledger(Text),
    /// No such deployment.
    #[error("no workload is called `{0}`")]
    UnknownWorkload(Name),
    /// The deployment was changed.
    #[error("the deployment is of generation {found}, the order is for {ordered}")]
    OtherGeneration { ordered: u64, found: u64 },
    /// Stopped or paused.
    #[error("the workload is stopped or paused: start it first")]
    NotRunning,
    /// No such component.
    #[error("the workload has no component `{0}`")]
    UnknownComponent(Name),
    /// Another binary.
    #[error("the component is {found}, the order is for {ordered}")]
    OtherArtifact { ordered: Digest, found: Digest },
    /// Nobody could repeat it.
    #[error("the component is not deterministic: set deterministic_seed in its manifest")]
    NotDeterministic,
    /// Another seed.
    #[error("the component's seed is {found}, the order's is {ordered}")]
    OtherSeed { ordered: u64, found: u64 },
    /// It has no calls.
    #[error("it is a {0} component: only typed exports can be invoked")]
    NotCallable(ComponentKind),
    /// Each node has its own.
    #[error("the component reads secrets, which differ from node to node: only one can run it")]
    Secrets,
    /// Its answers depend on calls that other nodes did not see.
    #[error("the component keeps state from call to call: only one node can run it")]
    Stateful,
    /// Others are to run it.
    #[error("the beacon of block {anchor} does not draw this node")]
    NotDrawn { anchor: u64 },
    /// The dial cannot be had.
    #[error("{0}")]
    Draw(Text),
    /// It cannot be prepared.
    #[error("cannot be prepared: {0}")]
    Prepare(Text),
    /// Such a call cannot be made.
    #[error("{0}")]
    Invoke(Text),
    /// Not in its one form.
    #[error("the export or its arguments are not in canonical form")]
    NotCanonical,
    /// The guest failed: a trap or a broken limit.
    #[error("the guest failed: {0}")]
    Guest(Text),
    /// More than is handed on.
    #[error("the result has {bytes} bytes, at most {max} are handed on")]
    ResultTooLarge { bytes: u64, max: u64 },
    /// Its time is over.
    #[error("it did not end in time")]
    Late,
    /// The bytes are no order.
    #[error("the order cannot be read: {0}")]
    Malformed(Text),
    /// Of a call under a lease: the lease is over, or not known here.
    #[error("the lease is over, or there is none")]
    NoLease,
    /// Of a call under a lease: it gives no right to it.
    #[error("{0}")]
    Denied(Text),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = Text::of("ä".repeat(TEXT_BYTES_MAX));
        assert_eq!(long.to_string().len(), TEXT_BYTES_MAX);
        let odd = Text::of(format!("a{}", "ä".repeat(TEXT_BYTES_MAX)));
        assert_eq!(odd.to_string().len(), TEXT_BYTES_MAX - 1);
    }
}
