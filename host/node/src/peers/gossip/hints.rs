//! This node on the local network: announced, and told of others there.

use discovery::{Announced, Hint, Lan, Sightings};

use crate::peers::Peers;
use crate::shared::Shared;

/// Announces this node on the local network if it listens, and looks for others. Without multicast
/// the node does as well as it did without.
pub(super) fn lan(peers: &Peers, shared: &Shared) -> Option<(Lan, Sightings)> {
    let begin = || {
        let lan = Lan::start()?;
        if let Some(listening) = peers.listening {
            lan.announce(&Announced {
                fabric: shared.fabric,
                node: shared.node,
                listening,
            })?;
        }
        let sightings = lan.browse()?;
        Ok::<_, discovery::LanError>((lan, sightings))
    };
    begin()
        .map_err(|error| tracing::warn!("this node is not found on the local network: {error}"))
        .ok()
}

/// The next hint of the local network; never returns if nobody listens to it.
pub(super) async fn sighted(sightings: Option<&Sightings>) -> Hint {
    match sightings {
        Some(sightings) => match sightings.next().await {
            Some(hint) => hint,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
