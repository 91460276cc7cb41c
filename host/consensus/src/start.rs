//! Starts the engine on its own thread, hands out the snapshot and the stream, and turns however
//! that thread ends into a reason. Never knows what blocks contain.

use std::sync::Arc;

use commonware_codec::{Copying, DecodeExt as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_cryptography::{Signer as _, ed25519};
use commonware_utils::ordered::Set;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Config;
use crate::data_dir::{DataDir, Identity};
use crate::error::{Closed, StartError};
use crate::feed::Feed;
use crate::handle::{FinalizedBlock, Ledger, Rounds, Shared, Tip};
use crate::pool::Pool;
use crate::state::Snapshot;

/// Separates this engine's votes from everything else that the same key signs.
const VOTE_DOMAIN: &[u8] = b"hypermesh/consensus/1\0";

/// Starts this validator's ledger and waits until everything that was final is applied again.
///
/// The stream continues where the snapshot ends: its first block has the next height. Read it
/// without pause; see [`crate::FINALIZED_BLOCKS_QUEUE_MAX`].
///
/// # Errors
/// [`StartError`]; then no vote was cast and the directory can be started again.
pub async fn start(
    config: Config,
) -> Result<(Ledger, Snapshot, mpsc::Receiver<FinalizedBlock>), StartError> {
    let (scheme, me) = committee(&config)?;
    let shared = Arc::new(Shared {
        fabric: config.genesis.fabric_id(),
        validators: config.genesis.validators().len(),
        pool: Pool::default(),
        tip: watch::Sender::new(Tip::default()),
        rounds: watch::Sender::new(Rounds::default()),
        closed: watch::Sender::new(None),
    });
    let (feed, stream) = Feed::new(shared.clone());
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let path = config.data_dir.clone();
    let job = Job {
        config,
        scheme,
        me,
        shared: shared.clone(),
        feed,
        stopped,
        tell: Some(tell),
    };
    let thread = std::thread::Builder::new()
        .name("consensus".into())
        .spawn(move || job.run())
        .map_err(|source| StartError::Io {
            what: "start a thread for",
            path: path.clone(),
            source,
        })?;
    let ledger = Ledger::new(shared, stop, thread);
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
                Closed::Failed { reason } => reason,
                Closed::Stopped => "it was stopped".to_owned(),
            };
            Err(StartError::Engine { path, reason })
        }
    }
}

/// The signing scheme of the fabric's committee, if this node is in it.
fn committee(config: &Config) -> Result<(Scheme, ed25519::PublicKey), StartError> {
    let validators = config.genesis.validators();
    if validators.len() > 1 {
        return Err(StartError::Committee {
            validators: validators.len(),
        });
    }
    let decode = |key: &types::PublicKey| {
        ed25519::PublicKey::decode(Copying(key.as_bytes()))
            .map_err(|_| StartError::ValidatorKey { key: *key })
    };
    let keys = validators
        .iter()
        .map(decode)
        .collect::<Result<Vec<_>, _>>()?;
    let fabric = config.genesis.fabric_id();
    let namespace = [VOTE_DOMAIN, fabric.as_bytes().as_slice()].concat();
    let signer = config.secret_key.signer();
    let me = signer.public_key();
    let scheme = Scheme::signer(&namespace, Set::from_iter_dedup(keys), signer);
    let key = config.secret_key.public_key();
    scheme
        .map(|scheme| (scheme, me))
        .ok_or(StartError::NotAValidator { key, fabric })
}

/// What the engine's thread works with.
pub(crate) struct Job {
    pub(crate) config: Config,
    pub(crate) scheme: Scheme,
    pub(crate) me: ed25519::PublicKey,
    pub(crate) shared: Arc<Shared>,
    pub(crate) feed: Feed,
    pub(crate) stopped: oneshot::Receiver<()>,
    /// Taken when the start is over.
    pub(crate) tell: Option<oneshot::Sender<Result<Snapshot, StartError>>>,
}

impl Job {
    /// From taking the directory to the reason of the end.
    fn run(mut self) {
        let shared = self.shared.clone();
        let identity = Identity {
            fabric: shared.fabric,
            validator: self.config.secret_key.public_key(),
        };
        let reason = match DataDir::open(self.config.data_dir.clone(), identity) {
            Ok(dir) => self.run_engine(&dir),
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
