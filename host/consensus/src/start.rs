//! Starts the engine on its own thread, hands out the snapshot and the stream, and turns however
//! that thread ends into a reason. Never knows what blocks contain.

use std::sync::Arc;

use commonware_cryptography::{Signer as _, ed25519};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, engine_key};
use crate::data_dir::{DataDir, Identity};
use crate::epochs::{Committee, Epochs};
use crate::error::{Closed, StartError};
use crate::evidence::Vigilance;
use crate::feed::Feed;
use crate::handle::{Finalized, Ledger, Office, Rounds, Shared, Tip};
use crate::links::{Links, links};
use crate::pool::Pool;
use crate::query::{QUERIES_MAX, Query};
use crate::state::Snapshot;
use crate::tips::Heard;
use crate::upgrade::Rules;

/// Starts this node's ledger and waits until everything that was final here is applied again. A
/// follower does not wait for its peers: what it misses comes over the stream.
///
/// The stream continues where the snapshot ends: its first block has the next height. Read it
/// without pause; see [`crate::FINALIZED_BLOCKS_QUEUE_MAX`].
///
/// # Errors
/// [`StartError`]; then no vote was cast and the directory can be started again.
pub async fn start(
    config: Config,
) -> Result<(Ledger, Snapshot, mpsc::Receiver<Finalized>), StartError> {
    let path = config.data_dir.clone();
    let Prepared {
        job,
        ledger,
        stream,
        told,
    } = prepare(config)?;
    let thread = std::thread::Builder::new()
        .name("consensus".into())
        .spawn(move || job.run())
        .map_err(|source| StartError::Io {
            what: "start a thread for",
            path: path.clone(),
            source,
        })?;
    ledger.runs_on(thread);
    match told.await {
        Ok(Ok(snapshot)) => Ok((ledger, snapshot, stream)),
        Ok(Err(error)) => {
            // The thread is on its way out; its result is the error at hand.
            let _ = ledger.shutdown().await;
            Err(error)
        }
        Err(_) => {
            let _ = ledger.shutdown().await;
            let reason = match ledger.closed().await {
                Closed::Outdated(unknown) => return Err(StartError::Outdated(unknown)),
                Closed::Failed { reason } => reason,
                Closed::Stopped => "it was stopped".to_owned(),
            };
            Err(StartError::Engine { path, reason })
        }
    }
}

/// A ledger that only has to be run.
pub(crate) struct Prepared {
    pub(crate) job: Job,
    pub(crate) ledger: Ledger,
    pub(crate) stream: mpsc::Receiver<Finalized>,
    /// Where the snapshot comes once everything is applied.
    pub(crate) told: oneshot::Receiver<Result<Snapshot, StartError>>,
}

/// Puts together what a node needs, without touching its files.
pub(crate) fn prepare(mut config: Config) -> Result<Prepared, StartError> {
    let Member {
        committee,
        me,
        leader,
    } = member(&config)?;
    // A validator that is alone has nobody to carry messages to.
    let links = config.links.take().unwrap_or_else(|| links().0);
    let shared = shared(&config, &committee, &links);
    let (feed, stream) = Feed::new(shared.clone());
    let (queries, asked) = mpsc::channel(QUERIES_MAX);
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let job = Job {
        config,
        me,
        leader,
        _links: links,
        shared: shared.clone(),
        feed,
        queries: asked,
        stopped,
        tell: Some(tell),
    };
    Ok(Prepared {
        job,
        ledger: Ledger::new(shared, queries, stop),
        stream,
        told,
    })
}

/// What the engine's thread and the handles will have in common.
fn shared(config: &Config, committee: &Committee, links: &Links) -> Arc<Shared> {
    let shared = Shared {
        fabric: config.genesis.fabric_id(),
        me: config.secret_key.public_key(),
        office: watch::Sender::default(),
        ahead: Arc::default(),
        vigilance: Arc::new(Vigilance::new(config.genesis.fabric_id())),
        handovers: watch::Sender::default(),
        wires: links.wires.clone(),
        heard: watch::Sender::new(Heard::default()),
        executes: watch::Sender::default(),
        beyond_blocks: config.sync_beyond_blocks,
        retention: config.retention,
        pool: Pool::new(links.wires.time.clone()),
        tip: watch::Sender::new(Tip::default()),
        rounds: watch::Sender::new(Rounds::default()),
        rules: Rules::new(config.rules),
        closed: watch::Sender::new(None),
    };
    // Until the files tell of later epochs.
    shared.install(Office {
        epoch: 0,
        validators: committee.validators.clone(),
        votes: committee.votes,
        next: None,
        opens_above: None,
    });
    Arc::new(shared)
}

/// What this node is in the fabric of its genesis.
fn member(config: &Config) -> Result<Member, StartError> {
    let genesis = &config.genesis;
    let signer = config.secret_key.signer();
    let me = signer.public_key();
    let epochs = Epochs::of(genesis, Some(signer));
    let epochs = epochs.map_err(|key| StartError::ValidatorKey { key })?;
    let committee = epochs.committee(0);
    // A genesis names one validator or more, and all are keys.
    let leader = genesis.validators().first().and_then(engine_key);
    let leader = leader.ok_or(StartError::Committee { validators: 0 })?;
    if !committee.is_alone() && config.links.is_none() {
        return Err(if committee.votes {
            StartError::Committee {
                validators: committee.validators.len(),
            }
        } else {
            StartError::NotAValidator {
                key: config.secret_key.public_key(),
                fabric: genesis.fabric_id(),
            }
        });
    }
    Ok(Member {
        committee,
        me,
        leader,
    })
}

/// What this node is in its fabric.
struct Member {
    /// Who voted first.
    committee: Arc<Committee>,
    me: ed25519::PublicKey,
    /// Whom the first block names as its leader: the first validator.
    leader: ed25519::PublicKey,
}

/// Where the state goes that a start ends with.
pub(crate) type Tell = oneshot::Sender<Result<Snapshot, StartError>>;

/// What the engine's thread works with.
pub(crate) struct Job {
    pub(crate) config: Config,
    pub(crate) me: ed25519::PublicKey,
    pub(crate) leader: ed25519::PublicKey,
    /// Dropped with the job: then nobody takes messages any more.
    pub(crate) _links: Links,
    pub(crate) shared: Arc<Shared>,
    pub(crate) feed: Feed,
    pub(crate) queries: mpsc::Receiver<Query>,
    pub(crate) stopped: oneshot::Receiver<()>,
    /// Taken when the start is over.
    pub(crate) tell: Option<Tell>,
}

impl Job {
    /// From taking the directory to the reason of the end.
    fn run(mut self) {
        let shared = self.shared.clone();
        let identity = Identity {
            fabric: shared.fabric,
            node: self.config.secret_key.public_key(),
        };
        let reason = match DataDir::open(self.config.data_dir.clone(), identity) {
            Ok(dir) => match self.run_engine(&dir) {
                Closed::Failed { reason } => Closed::Failed {
                    reason: match dir.refuses() {
                        Some(refused) => format!("{refused} ({reason})"),
                        None => reason,
                    },
                },
                other @ (Closed::Stopped | Closed::Outdated(_)) => other,
            },
            Err(error) => {
                let reason = Closed::Failed {
                    reason: error.to_string(),
                };
                // Whoever started this is waiting for it.
                let _ = self.tell.take().map(|tell| tell.send(Err(error)));
                reason
            }
        };
        // The start, if it is not over, learns the reason from the handle.
        drop(self);
        shared.pool.close(&reason);
        shared.closed.send_replace(Some(reason));
    }
}
