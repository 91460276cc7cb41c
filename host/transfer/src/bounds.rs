//! What one peer may make another hold or do. Each bound says why it is what it is.

use std::time::Duration;

use storage::{FILLED_BYTES_MAX, GROUP_BYTES};

/// Longest frame without the content of a slice: an answer that lists [`SPANS_MAX`] spans of numbers
/// as long as they get.
pub const FRAME_BYTES_MAX: usize = 4 << 10;

/// Most spans of groups in one message. A node with more gaps names the first ones; the rest is
/// learned when it is asked again.
pub const SPANS_MAX: usize = 256;

/// Most groups of one request, 64 MiB: it ends within seconds, so that a stream is not held for long.
pub const REQUEST_GROUPS_MAX: u64 = 4_096;

/// Groups beyond this are of no artifact that is transferred.
pub const GROUPS_MAX: u64 = FILLED_BYTES_MAX / GROUP_BYTES;

/// Most peers that one artifact is fetched from at once: more do not make it faster, and each has
/// requests in flight.
pub const PEERS_MAX: usize = 16;

/// Most requests in flight to one peer, whatever it is said to bear: each holds one slice.
pub const ASKS_PER_PEER_MAX: u32 = 16;

/// Times in a row that a peer may fail to answer before it is given up.
pub const STRIKES_MAX: u32 = 3;

/// Times in a row that a peer is asked again in vain whether it got what is missing.
pub const POLLS_MAX: u32 = 5;

/// Times in a row that a peer may say that it is busy.
pub const BUSY_MAX: u32 = 30;

/// What a server waits for a request on a stream that was opened for one.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// What a server waits for room for one slice on a stream: a reader that is slower than 10 kB/s costs
/// others their turn.
pub const SLICE_PATIENCE: Duration = Duration::from_secs(30);

/// Streams of one peer that are answered at once: twice what a fetch has in flight. Their slices are
/// 17 MB of memory.
pub const STREAMS_PER_PEER_MAX: usize = 32;
