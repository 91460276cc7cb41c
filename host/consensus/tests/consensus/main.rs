//! Behaviour of a validator's ledger through its public interface: real engine, real files.

mod committee;
mod crash;
mod entry_proofs;
mod epochs;
mod finality;
mod follow;
mod halted;
mod liars;
mod memory;
mod proofs;
mod refusal;
mod restart;
mod retention;
mod support;
mod sync;
mod upgrades;
mod waits;
