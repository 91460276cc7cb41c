//! One node's ledger on a simulated machine: boot it, talk to it, cut its power. Runs the engine
//! that [`crate::start`] runs; only the runtime below differs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use commonware_runtime::Handle;
use ledger::Genesis;
use tokio::sync::{mpsc, oneshot};

use super::machine::{Machine, OnMachine};
use super::world::World;
use crate::config::{Config, Retention, SecretKey};
use crate::engine::EngineRuntime;
use crate::error::{Closed, StartError};
use crate::handle::{Finalized, Ledger, Shared};
use crate::links::{Carrier, links_in};
use crate::runs::Runs;
use crate::start::{Job, Prepared, prepare};
use crate::state::Snapshot;
use crate::time::Time;

/// What a simulated node is started with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its identity.
    pub secret_key: SecretKey,
    /// What the fabric began with.
    pub genesis: Genesis,
    /// Longest silence between blocks.
    pub heartbeat: Duration,
    /// Blocks that it may be behind before it takes over a state.
    pub sync_beyond_blocks: u64,
    /// What it keeps of the past.
    pub retention: Retention,
}

/// A node under power.
pub struct Powered {
    /// Its ledger.
    pub ledger: Ledger,
    /// Its final blocks, above the snapshot.
    pub stream: mpsc::Receiver<Finalized>,
    /// Its end of the network.
    pub carrier: Carrier,
    /// Where its state comes once what is final on its disk is applied again.
    pub started: oneshot::Receiver<Result<Snapshot, StartError>>,
    /// Ends it.
    pub plug: Plug,
}

/// What ends a node.
pub struct Plug {
    task: Handle<()>,
    shared: Arc<Shared>,
    machine: Machine,
}

impl Plug {
    /// Ends the process at once, and its machine loses or tears what it had not flushed.
    pub fn pull(self) {
        self.task.abort();
        self.machine.disk.cut_power();
        let reason = Closed::Failed {
            reason: "its power was cut".to_owned(),
        };
        self.shared.pool.close(&reason);
        self.shared.closed.send_replace(Some(reason));
    }
}

impl<E: EngineRuntime> World<E> {
    /// Starts a node on `machine`, from what its disk holds.
    ///
    /// # Errors
    /// [`StartError`] if the configuration is no good.
    pub fn boot(&self, machine: &Machine, config: NodeConfig) -> Result<Powered, StartError> {
        let NodeConfig {
            secret_key,
            genesis,
            heartbeat,
            sync_beyond_blocks,
            retention,
        } = config;
        let time = Time::of(self.context.child("time"));
        let (links, carrier) = links_in(time);
        let Prepared {
            job,
            ledger,
            stream,
            told,
        } = prepare(Config {
            data_dir: PathBuf::new(),
            secret_key,
            genesis,
            rules: ledger::KnownRules::RELEASED,
            heartbeat,
            sync_beyond_blocks,
            retention,
            links: Some(links),
        })?;
        let shared = job.shared.clone();
        let context = self.context.child("node");
        let context = context.with_attribute("number", machine.number);
        let task = run(OnMachine::new(context, machine.powered()), job);
        Ok(Powered {
            ledger,
            stream,
            carrier,
            started: told,
            plug: Plug {
                task,
                shared,
                machine: machine.clone(),
            },
        })
    }
}

/// Runs until it fails, as [`Job::run`] does on a thread.
fn run<E: EngineRuntime>(context: E, mut job: Job) -> Handle<()> {
    context.spawn(move |context| async move {
        let shared = job.shared.clone();
        let mut runs = Runs::default();
        let reason = loop {
            shared.rounds.send_modify(|rounds| rounds.voting = false);
            let next = runs.next();
            // A task of its own: whatever it spawned ends with it.
            let once = context.child("run").spawn(move |context| async move {
                let end = job.drive(context, None, next).await;
                (job, end)
            });
            match once.await {
                Ok((again, end)) => {
                    job = again;
                    if let Some(reason) = runs.after(end) {
                        break reason;
                    }
                }
                Err(error) => {
                    break Closed::Failed {
                        reason: error.to_string(),
                    };
                }
            }
        };
        shared.pool.close(&reason);
        shared.closed.send_replace(Some(reason));
    })
}
