//! The ledger on one node: agreement, durable blocks, authenticated state. Knows the pure rules of
//! `ledger` and nothing of workloads, HTTP, the terminal or any transport.
//!
//! [`start`] runs the engine (commonware simplex, marshal, stateful over qmdb) on its own thread
//! and runtime. The node talks to it through [`Ledger`], reads final blocks from the stream and
//! never sees an engine type.
//!
//! # Roles
//! A node that is in office in the epoch under way votes. Any other follows: the same delivery and
//! state without agreement. It takes final blocks from its peers, checks each certificate against
//! the validators of its epoch, executes, compares the state root (a final block with another
//! root stops the ledger), and serves what it has to others, so a newcomer may know followers only.
//!
//! # Links
//! [`links`] makes the seam to other nodes: [`Links`] for [`Config`], and a [`Carrier`] for whoever
//! moves messages between nodes. Per [`Channel`]:
//!
//! | channel | carries | bounds |
//! |---|---|---|
//! | votes, certificates, resolver | agreement, between validators only | 8 MiB waiting |
//! | backfill | questions after final blocks, answers | 64 MiB waiting, 32 questions at once |
//! | broadcast | candidate blocks of validators | 64 MiB waiting, 16 kept of each validator |
//! | tip | a peer's last final block: height and certificate | 8 MiB waiting, one kept per peer |
//! | transactions | one signed transaction each | 16 MiB waiting, 512 in the pool per peer |
//! | state | questions of a node that is far behind, answers | 16 MiB waiting, at most half of the thread's time for others |
//!
//! One peer has at most a quarter of a queue. What does not fit is dropped: questions are asked
//! again after a second, tips are repeated, transactions are sent again with growing pauses until
//! they are final or expired. Each transaction is passed on once per sending, to the connected
//! validators or, where there are none, to all peers but the one that it came from.
//!
//! A peer that sends what no honest node sends is blocked for [`PEER_BLOCKED_FOR`], and
//! [`Carrier::blocked`] says why. A tip carries a certificate, so that a lie about it costs one
//! check of signatures. Silence, loss and floods block nobody.
//!
//! Peers keep the last 65,536 blocks ([`Retention`]), however often they are started, and the block
//! that the epoch builds on. A node that is [`Config::sync_beyond_blocks`] behind, or needs blocks
//! that nobody keeps, takes over the state instead.
//!
//! # State from peers
//! Such a node asks for the ends of epochs, proves them from the genesis, and begins from the last
//! block of the epoch before the one under way. Parts of the log of its state come from any peer,
//! each with a proof; who sends a false one is blocked. Final blocks move the state on while it is
//! fetched; peers keep what the last 4,096 of them replaced. It goes to files of its own. Once it is
//! whole, its root is compared with the block's, and the node changes over, in one write. Until then
//! it is what it was before, also after a crash. The stream then carries [`Finalized::State`]. Where
//! no part has come for a minute, the node goes on with what it had and tries again later.
//!
//! # Proofs
//! [`Ledger::finalized`] and [`Ledger::prove`] give bytes that [`verify_finalized`] and
//! [`verify_proof`] check with nothing but the genesis. [`Ledger::entry_proof`] joins them and the
//! genesis to an [`EntryProof`], a file that is checked with nothing but the fabric's id.
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
//! | `identity` | format, fabric and key, in which epoch it voted last |
//! | `engine/votes-epoch-*` | a validator's votes in an epoch: never delete them and keep the key |
//! | `engine/handovers` | the ends of epochs in which validators changed, and the last epoch that is over |
//! | `engine/blocks-*`, `engine/certificates-*` | final blocks, pruned beyond 65,536 |
//! | `engine/delivery-*` | candidate blocks, how far blocks are applied |
//! | `engine/state-*` | the operation log, its Merkle nodes, what was pruned |
//! | `engine/taken-over-N-*` | the same four, of a state that was taken over from peers |
//!
//! Files grow with what they hold; none is allocated ahead.
//!
//! # Idle
//! A proposal is held until a transaction waits or the heartbeat is due. Among several validators
//! rounds are timed by a clock that stands still meanwhile, so that silence counts as failure soon
//! after there is work and never before; a lone validator times them by the heartbeat. The hold
//! sits outside the stateful application, because that one finishes building before it applies
//! what is final.
//!
//! # Several validators
//! Each sends the transactions that it got from callers and followers to all others, so whoever
//! leads is woken.
//!
//! # Epochs
//! The genesis names who votes first and how many blocks an epoch has. Each epoch has an engine and
//! a journal of votes of its own; messages of agreement carry their epoch in eight bytes in front.
//! The last block of an epoch carries no transactions and names who votes next, if that changed in
//! the state. While a change is decided and not in force, blocks are made without waiting. The last
//! block with its certificate is a [`Handover`], kept for good: [`Committees`] goes from the genesis
//! along them. Who hears of a later epoch than its own asks for the end of its own first.
//!
//! # Evidence
//! Votes that come in and the signatures in certificates are compared; two that exclude each other
//! are [`Ledger::evidence`].

mod application;
mod ballots;
mod blame;
mod block;
mod committees;
mod config;
mod contents;
mod data_dir;
mod depth;
mod drive;
mod engine;
mod entry_proof;
mod epochs;
mod error;
mod evidence;
mod exchange;
mod execution;
mod feed;
#[doc(hidden)]
pub mod fuzz;
mod handle;
mod handovers;
mod links;
mod network;
mod observer;
mod pacing;
mod pool;
mod proof;
mod proving;
mod pruning;
mod query;
mod queue;
mod quorum;
mod relay;
mod runs;
mod settled;
#[doc(hidden)]
pub mod simulated;
mod start;
mod state;
mod sync;
mod terms;
mod time;
mod tips;
mod upgrade;
mod votes;
mod waking;
mod wanted;

pub use blame::{Blame, PEER_BLOCKED_FOR};
pub use committees::Committees;
pub use config::{Config, Retention, SecretKey};
pub use contents::{ReadTransactionsError, carries_transaction, read_transactions};
pub use depth::PoolDepth;
pub use entry_proof::{
    DecodeEntryProofError, ENTRY_PROOF_BYTES_MAX, EntryProof, ProvenEntry, VerifyEntryProofError,
};
pub use error::{Closed, QueryError, ShutdownError, StartError, SubmitError};
pub use feed::FINALIZED_BLOCKS_QUEUE_MAX;
pub use handle::{Finality, Finalized, FinalizedBlock, HeardTip, Ledger, Role, Status};
pub use handovers::Handover;
pub use links::{
    BLOCK_MESSAGE_BYTES_MAX, Carrier, Channel, DeliverError, Inbound, Links, Outbound, Outgoing,
    SMALL_MESSAGE_BYTES_MAX, STATE_MESSAGE_BYTES_MAX, links,
};
pub use pool::{
    POOL_BYTES_MAX, POOL_PEER_BYTES_MAX, POOL_PEER_TRANSACTIONS_MAX, POOL_PRINCIPAL_BYTES_MAX,
    POOL_PRINCIPAL_TRANSACTIONS_MAX, POOL_TRANSACTIONS_MAX, POOL_WAITERS_MAX,
};
pub use proof::{
    BlockHeader, FinalizedProof, StateProof, VerifyFinalizedError, VerifyProofError,
    genesis_digest, read_block, verify_finalized, verify_proof,
};
pub use quorum::Quorum;
pub use start::start;
pub use state::Snapshot;
