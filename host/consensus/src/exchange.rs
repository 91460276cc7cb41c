//! What goes on between a node and its peers beside the engine's own channels, and what the node
//! asks of the engine. Only puts the parts together.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::mpsc;

use crate::engine::{EngineRuntime, Foundation};
use crate::epochs::Epochs;
use crate::handle::Shared;
use crate::network::PeerSet;
use crate::pruning::Old;
use crate::query::{Query, answer};
use crate::relay::Relay;
use crate::sync::{Asking, Fetching, Serving, StatePeers};
use crate::tips::{Behind, Tips};

/// Everything of one run that is not the engine's.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    epochs: Epochs,
    pub(crate) asking: Arc<Asking>,
    fetching: Fetching,
    state_peers: StatePeers,
}

impl Exchange {
    pub(crate) fn new(shared: &Arc<Shared>, epochs: &Epochs) -> Self {
        let asking = Arc::new(Asking::new(&shared.wires));
        let (state_peers, fetching) = Fetching::new(&shared.wires, &asking);
        Self {
            shared: shared.clone(),
            epochs: epochs.clone(),
            asking,
            fetching,
            state_peers,
        }
    }

    /// Where the engine fetches state.
    pub(crate) fn state_peers(&self) -> StatePeers {
        self.state_peers.clone()
    }

    /// How many parts of it held.
    pub(crate) fn accepted(&self) -> Arc<AtomicU64> {
        self.fetching.accepted.clone()
    }

    /// Runs for ever. `open` says whether there is a state to tell of.
    pub(crate) async fn run<E: EngineRuntime>(
        self,
        context: &E,
        base: &Foundation<E>,
        peers: &PeerSet,
        queries: &mut mpsc::Receiver<Query>,
        open: bool,
    ) {
        let Self {
            shared,
            epochs,
            asking,
            fetching,
            state_peers: _,
        } = self;
        let wires = shared.wires.clone();
        let old = Old {
            shared: shared.clone(),
            epochs: epochs.clone(),
        };
        let relay = Relay {
            shared: shared.clone(),
            wires: wires.clone(),
        };
        let serving = Serving {
            shared: shared.clone(),
            epochs: epochs.clone(),
            asking,
        };
        let tips = Tips {
            shared,
            wires: wires.clone(),
            epochs,
            marshal: base.marshal.clone(),
            behind: Behind::default(),
            kept_from: base.kept_from,
        };
        let forgetting = async {
            // What is taken over is complete first.
            if open {
                old.forget(base).await;
            }
        };
        futures::join!(
            peers.follow(),
            wires.blocklist.expire(),
            tips.announce(),
            tips.hear(context.child("tips")),
            relay.take(),
            relay.send(),
            answer(base, queries),
            serving.run(base, open),
            forgetting,
            fetching.run(),
        );
    }
}
