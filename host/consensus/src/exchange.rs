//! What goes on between a node and its peers beside the engine's own channels, and what the node
//! asks of the engine. Only puts the parts together.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::engine::{EngineRuntime, Foundation};
use crate::epochs::Epochs;
use crate::handle::Shared;
use crate::network::PeerSet;
use crate::query::{Query, answer};
use crate::relay::Relay;
use crate::tips::{Behind, Tips};

/// Everything of one run that is not the engine's.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    epochs: Epochs,
}

impl Exchange {
    pub(crate) fn new(shared: &Arc<Shared>, epochs: &Epochs) -> Self {
        Self {
            shared: shared.clone(),
            epochs: epochs.clone(),
        }
    }

    /// Runs for ever.
    pub(crate) async fn run<E: EngineRuntime>(
        self,
        context: &E,
        base: &Foundation<E>,
        peers: &PeerSet,
        queries: &mut mpsc::Receiver<Query>,
    ) {
        let Self { shared, epochs } = self;
        let wires = shared.wires.clone();
        let relay = Relay {
            shared: shared.clone(),
            wires: wires.clone(),
        };
        let tips = Tips {
            shared,
            wires: wires.clone(),
            epochs,
            marshal: base.marshal.clone(),
            behind: Behind::default(),
        };
        futures::join!(
            peers.follow(),
            wires.blocklist.expire(),
            tips.announce(),
            tips.hear(context.child("tips")),
            relay.take(),
            relay.send(),
            answer(base, queries),
        );
    }
}
