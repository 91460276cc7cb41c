//! Looking around on the local network before there is a node, or without one. What is found is a
//! hint: whoever answers there must prove itself as ever.

use std::net::SocketAddr;
use std::time::Duration;

use discovery::{Hints, Lan, LanError, Sightings};
use types::{FabricId, NodeId};

/// How long a member of a fabric is looked for at a time: multicast DNS asks three times within it.
const MEMBER_TIME: Duration = Duration::from_secs(5);

/// Times that is done. Who begins anew asks for everything again: answers to an earlier question
/// may have been held back, because they had just been given to somebody else.
const MEMBER_LOOKS: u32 = 4;

/// How long others are waited for after the first has answered.
const MORE_TIME: Duration = Duration::from_millis(500);

/// A node on the local network, as somebody there says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanNode {
    /// The fabric.
    pub fabric: FabricId,
    /// The node.
    pub node: NodeId,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
}

/// Nodes of any fabric that are found on the local network within `time`, in id order.
///
/// # Errors
/// [`LanError`] if this machine has no multicast.
pub async fn nodes_on_lan(time: Duration) -> Result<Vec<LanNode>, LanError> {
    let lan = Lan::start()?;
    let sightings = lan.browse()?;
    let mut hints = Hints::default();
    collect(&sightings, &mut hints, time, |_| false).await;
    let found = hints.iter().map(|hint| LanNode {
        fabric: hint.fabric,
        node: hint.node,
        addresses: hint.addresses.clone(),
    });
    Ok(found.collect())
}

/// Where members of a fabric may be on the local network; nothing if none is found in time.
pub(crate) async fn members_on_lan(fabric: FabricId) -> Result<Vec<SocketAddr>, LanError> {
    for _ in 1..MEMBER_LOOKS {
        let found = look_for_members(fabric).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    look_for_members(fabric).await
}

async fn look_for_members(fabric: FabricId) -> Result<Vec<SocketAddr>, LanError> {
    let lan = Lan::start()?;
    let sightings = lan.browse()?;
    let mut hints = Hints::default();
    // A name may be heard before its addresses are.
    let is_found = |hints: &Hints| {
        let mut of_fabric = hints.iter().filter(|hint| hint.fabric == fabric);
        of_fabric.any(|hint| !hint.addresses.is_empty())
    };
    collect(&sightings, &mut hints, MEMBER_TIME, is_found).await;
    collect(&sightings, &mut hints, MORE_TIME, |_| false).await;
    let members = hints.iter().filter(|hint| hint.fabric == fabric);
    Ok(members.flat_map(|hint| hint.addresses.clone()).collect())
}

/// Takes hints until `enough`, for at most `time`.
async fn collect(
    sightings: &Sightings,
    hints: &mut Hints,
    time: Duration,
    enough: impl Fn(&Hints) -> bool,
) {
    let taking = async {
        while let Some(hint) = sightings.next().await {
            hints.take(hint);
            if enough(hints) {
                return;
            }
        }
    };
    // Late is no error: what was found until then counts.
    let _ = tokio::time::timeout(time, taking).await;
}
