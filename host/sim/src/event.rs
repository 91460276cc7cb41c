//! What is seen of a simulated fabric from outside. Checkers know nothing else.

use consensus::{Blame, Closed, Finality, FinalizedBlock, Status};
use ledger::{LivenessOperation, View};
use types::{AssetId, Digest};

/// One observation, of an honest node.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A node has started: its state is that of this height.
    Started {
        node: usize,
        height: u64,
        state_root: [u8; 32],
    },
    /// Its stream carried a final block.
    Block {
        node: usize,
        block: &'a FinalizedBlock,
    },
    /// Its stream went on from a state that it took over from its peers.
    TookOver {
        node: usize,
        height: u64,
        time_ms: u64,
        state_root: [u8; 32],
    },
    /// The state that its stream led to, at this time of the world.
    State {
        node: usize,
        view: &'a View,
        at_ms: u64,
    },
    /// It believes from now on that it holds an asset that one at a time may hold.
    Holds { node: usize, asset: AssetId },
    /// It believes so no more, or has lost its power.
    LetsGo { node: usize, asset: AssetId },
    /// Who decides about an asset that nobody leases leased all of it and gave it back, or could
    /// not.
    Returned {
        asset: AssetId,
        end: Result<(), String>,
    },
    /// An honest validator signs that it reaches a node no more, or does again.
    Said {
        witness: usize,
        operation: LivenessOperation,
    },
    /// Whether an honest node has power and reaches some other.
    Presence {
        node: usize,
        there: bool,
        at_ms: u64,
    },
    /// It told a submitter that a transaction is final.
    Acknowledged {
        node: usize,
        transaction: Digest,
        finality: &'a Finality,
    },
    /// It blames an honest peer.
    BlamesHonest {
        node: usize,
        peer: usize,
        blame: &'a Blame,
    },
    /// Its ledger closed although its power and disk were good.
    Closed { node: usize, reason: &'a Closed },
    /// It did not start although its disk was good.
    NotStarted { node: usize, reason: String },
    /// A look at it.
    Looked {
        node: usize,
        status: &'a Status,
        disk_bytes: usize,
    },
    /// Time is over, long after everything was mended: what this node lacks.
    Ended {
        node: usize,
        height: u64,
        highest: u64,
        unanswered: usize,
    },
    /// The run is over: nothing more will be seen.
    Over,
}
