//! A host in memory, for unit tests on your own machine: each thread has its own, so that tests that
//! run at once do not meet.
//!
//! It grants everything and enforces no limits; those are the node's business, and tests of a
//! deployed component's.

pub(crate) mod blob;
pub(crate) mod config;
pub(crate) mod cpu;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod messaging;
pub(crate) mod network;
pub(crate) mod proofs;
pub(crate) mod volume;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::http::{Request, Response};
use crate::log::Level;
use crate::messaging::Message;

pub use config::set_config;
pub use cpu::on_cpu_call;
pub use http::{call, get, on_fetch, post};
pub use ledger::pass_blocks;
pub use log::logs;
pub use memory::end_leases;
pub use messaging::{deliver, published};
pub use network::on_connect;
pub use proofs::{receipt, set_asset};

/// Answers outgoing requests.
type OnFetch = Box<dyn FnMut(Request) -> Response>;

/// All that the host of a thread knows.
#[derive(Default)]
struct State {
    config: BTreeMap<String, String>,
    logs: Vec<(Level, String, String)>,
    buckets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    containers: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    published: Vec<Message>,
    on_fetch: Option<OnFetch>,
    on_cpu_call: Option<cpu::OnCall>,
    on_connect: Option<network::OnConnect>,
    ledger: ledger::Ledger,
    memory: memory::Memory,
    proofs: proofs::Proofs,
    volumes: volume::Volumes,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(act)
}

/// Forgets everything: a fresh host.
pub fn reset() {
    with(|state| *state = State::default());
}
