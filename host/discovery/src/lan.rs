//! Nodes on the local network, by multicast DNS (RFC 6762, RFC 6763): announced and looked for.
//! What is found is a hint and nothing more: anybody on the network can say anything, so whoever
//! answers there must prove itself as ever.
//!
//! A node is one instance of `_hypermesh._udp.local.` whose TXT record holds `v=1`, `fabric=` (the
//! fabric's id) and `node=` (64 hex digits).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mdns_sd::{Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use types::{FabricId, NodeId};

use crate::record::{ADDRESSES_MAX, is_dialled};

const SERVICE: &str = "_hypermesh._udp.local.";
const VERSION: &str = "1";

/// Nodes of which hints are kept at once: more than a local network has.
pub const HINTS_MAX: usize = 256;

/// What a node tells the local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Its fabric.
    pub fabric: FabricId,
    /// Its identity.
    pub node: NodeId,
    /// The address of this machine that it listens at; the unspecified one stands for all.
    pub listening: SocketAddr,
}

/// Somebody says that a node of a fabric is at some addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The fabric.
    pub fabric: FabricId,
    /// The node.
    pub node: NodeId,
    /// Where, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
}

/// The local network cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS: {0}")]
pub struct LanError(#[from] mdns_sd::Error);

/// This machine's part in multicast DNS; it ends when this is dropped.
pub struct Lan {
    daemon: ServiceDaemon,
}

/// Hints as they come.
pub struct Sightings {
    events: Receiver<ServiceEvent>,
}

/// The newest hint of each node, bounded.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    found: BTreeMap<NodeId, Hint>,
}

impl Lan {
    /// Begins to listen to the local network; a thread of its own does.
    ///
    /// # Errors
    /// [`LanError`] if the system has no thread or socket for it.
    pub fn start() -> Result<Self, LanError> {
        let daemon = ServiceDaemon::new()?;
        Ok(Self { daemon })
    }

    /// Tells the local network of a node, until this is dropped.
    ///
    /// # Errors
    /// [`LanError`].
    pub fn announce(&self, announced: &Announced) -> Result<(), LanError> {
        let Announced {
            fabric,
            node,
            listening,
        } = announced;
        // Names have at most 63 bytes, and the whole identity is in the TXT record.
        let name = format!("hypermesh-{}", node.short());
        let host = format!("{name}.local.");
        let told = [
            ("v", VERSION.to_owned()),
            ("fabric", fabric.to_string()),
            ("node", node.to_string()),
        ];
        let port = listening.port();
        let info = match listening.ip() {
            ip if ip.is_unspecified() => {
                ServiceInfo::new(SERVICE, &name, &host, (), port, &told[..])?.enable_addr_auto()
            }
            ip => ServiceInfo::new(SERVICE, &name, &host, ip, port, &told[..])?,
        };
        Ok(self.daemon.register(info)?)
    }

    /// Looks for nodes.
    ///
    /// # Errors
    /// [`LanError`].
    pub fn browse(&self) -> Result<Sightings, LanError> {
        let events = self.daemon.browse(SERVICE)?;
        Ok(Sightings { events })
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // It says goodbye to the network. If it has ended already, nobody is left to be told.
        let _ = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for Lan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lan").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sightings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sightings").finish_non_exhaustive()
    }
}

impl Sightings {
    /// The next hint; none once nobody listens any more. Loses nothing when it is cancelled.
    pub async fn next(&self) -> Option<Hint> {
        loop {
            let event = self.events.recv_async().await.ok()?;
            if let ServiceEvent::ServiceResolved(service) = event
                && let Some(hint) = hint(&service)
            {
                return Some(hint);
            }
        }
    }
}

impl Hints {
    /// Keeps a hint, unless too many are kept.
    pub fn take(&mut self, hint: Hint) {
        if self.found.len() < HINTS_MAX || self.found.contains_key(&hint.node) {
            self.found.insert(hint.node, hint);
        }
    }

    /// All of them, in id order.
    pub fn iter(&self) -> impl Iterator<Item = &Hint> {
        self.found.values()
    }
}

fn hint(service: &ResolvedService) -> Option<Hint> {
    let text = |key| service.get_property_val_str(key);
    if text("v") != Some(VERSION) {
        return None;
    }
    let port = service.get_port();
    let found = service.get_addresses().iter();
    let ips = found.map(mdns_sd::ScopedIp::to_ip_addr);
    Some(Hint {
        fabric: text("fabric")?.parse().ok()?,
        node: text("node")?.parse().ok()?,
        addresses: dialled(ips, port),
    })
}

/// The addresses that another machine can dial, IPv4 first, in an order that does not change.
fn dialled(ips: impl Iterator<Item = IpAddr>, port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = ips
        .map(|ip| SocketAddr::new(ip, port))
        .filter(|address| is_dialled(address) && !address.ip().is_loopback())
        .collect();
    addresses.sort_by_key(|address| (address.is_ipv6(), *address));
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use types::PublicKey;

    use super::*;

    #[test]
    fn hints_are_addresses_of_other_machines() {
        let ips = [
            "::1",
            "fe80::1",
            "2001:db8::1",
            "127.0.0.1",
            "192.0.2.1",
            "0.0.0.0",
        ];
        let ips = ips.into_iter().map(|ip| ip.parse().unwrap());
        let found: Vec<_> = dialled(ips, 7_400)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["192.0.2.1:7400", "[2001:db8::1]:7400"]);
    }

    #[test]
    fn hints_are_bounded_and_the_newest_stays() {
        let mut hints = Hints::default();
        let hint = |number: u16, port| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            Hint {
                fabric: FabricId::of(b"fabric"),
                node: PublicKey::from_bytes(key),
                addresses: vec![([192, 0, 2, 1], port).into()],
            }
        };
        for number in 0..300 {
            hints.take(hint(number, 1));
        }
        hints.take(hint(0, 2));
        assert_eq!(hints.iter().count(), HINTS_MAX);
        assert_eq!(hints.iter().next(), Some(&hint(0, 2)));
    }
}
