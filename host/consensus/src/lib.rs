//! The ledger of one validator: agreement, durable blocks, authenticated state. Knows the pure
//! rules of `ledger` and nothing of workloads, HTTP or the terminal.
//!
//! [`start`] runs the engine (commonware simplex, marshal, stateful over qmdb) on its own thread
//! and runtime. The node talks to it through [`Ledger`], reads final blocks from the stream and
//! never sees an engine type.
//!
//! # What is durable when
//! - Before a vote leaves: the vote, in the journal of votes.
//! - Before a vote for finality: the block and what certifies it.
//! - Before the stream carries a block and [`Ledger::submit`] returns: the block and its
//!   certificate of finality. The state behind it may still be only in memory: a start executes
//!   final blocks again until state and blocks agree, and only then hands out its [`Snapshot`].
//! - A write that fails stops the engine ([`Closed::Failed`]); what it covered is not acknowledged.
//!
//! # Files below the data directory
//! | path | holds |
//! |---|---|
//! | `lock` | nothing; locked while a process uses the directory |
//! | `identity` | format, fabric, validator, whether it has voted |
//! | `engine/votes-epoch-0` | the vote journal: never delete it and keep the key |
//! | `engine/blocks-*`, `engine/certificates-*` | final blocks, pruned beyond 65,536 |
//! | `engine/delivery-*` | candidate blocks, how far blocks are applied |
//! | `engine/state-*` | the operation log, its Merkle nodes, what was pruned |
//!
//! Files grow with what they hold; none is allocated ahead.
//!
//! # Idle
//! A proposal is held until a transaction waits or the heartbeat is due; a leader's silence counts
//! as failure only after that. The hold sits outside the stateful application, because that one
//! finishes building before it applies what is final.
//!
//! # What more validators will add
//! An implementation of the network traits over STOQ in place of `network`, with a source of state
//! for joiners (the engine's own serves only operations of one size); an engine per epoch, each
//! with its own partition of votes; gossip that wakes the leader; timeouts that do not grow with
//! the heartbeat. Blocks, state, pool and this interface stay.

mod application;
mod blame;
mod block;
mod config;
mod data_dir;
mod drive;
mod engine;
mod error;
mod execution;
mod feed;
mod handle;
mod links;
mod network;
mod observer;
mod pacing;
mod pool;
mod proof;
mod query;
mod queue;
mod relay;
mod settled;
mod start;
mod state;
mod tips;

pub use blame::{Blame, PEER_BLOCKED_FOR};
pub use config::{Config, SecretKey};
pub use error::{Closed, QueryError, ShutdownError, StartError, SubmitError};
pub use feed::FINALIZED_BLOCKS_QUEUE_MAX;
pub use handle::{Finality, FinalizedBlock, HeardTip, Ledger, Role, Status};
pub use links::{
    BLOCK_MESSAGE_BYTES_MAX, Carrier, Channel, DeliverError, Inbound, Links, Outbound, Outgoing,
    SMALL_MESSAGE_BYTES_MAX, links,
};
pub use pool::{
    POOL_BYTES_MAX, POOL_PEER_BYTES_MAX, POOL_PEER_TRANSACTIONS_MAX, POOL_TRANSACTIONS_MAX,
    POOL_WAITERS_MAX, PoolDepth,
};
pub use proof::{
    BlockHeader, FinalizedProof, StateProof, VerifyFinalizedError, VerifyProofError,
    genesis_digest, read_block, verify_finalized, verify_proof,
};
pub use start::start;
pub use state::Snapshot;
