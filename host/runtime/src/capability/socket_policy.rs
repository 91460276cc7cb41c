//! Where sockets may go: the grants, and what is known of the names in them. Knows no socket.
//!
//! A pattern with an address grants that address. One with a name grants whatever the name means
//! when a socket asks: the host looks it up, and takes what the guest's own lookups brought. A
//! wildcard grants only what the guest has looked up, for it names no host that could be.
//! As with HTTP, the name's owner decides where it leads, also to a private address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::lookup_host;
use tokio::time::timeout;
use types::{Capability, HostPattern};
use wasmtime_wasi::sockets::SocketAddrUse;

use crate::bounds::{LOOKUP_ADDRESSES_MAX, LOOKUP_KEPT, LOOKUP_NAMES_MAX, LOOKUP_TIME_MAX};
use crate::host::Guest;
use crate::meter::Meter;
use crate::observer::{Denial, SocketUse};

/// What the manifest grants, for all instances of a replica.
pub(crate) struct SocketPolicy {
    pub(super) tcp: Vec<HostPattern>,
    pub(super) udp: Vec<HostPattern>,
}

impl SocketPolicy {
    pub(crate) fn new(capabilities: &[Capability]) -> Self {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for capability in capabilities {
            match capability {
                Capability::Tcp { allow } => tcp.clone_from(allow),
                Capability::Udp { allow } => udp.clone_from(allow),
                _ => {}
            }
        }
        Self { tcp, udp }
    }

    /// Whether a connection to `host`, a name or an address, may be asked for at this port. As with
    /// HTTP, whoever dials looks the name up.
    pub(super) fn covers_tcp(&self, host: &str, port: u16) -> bool {
        self.tcp.iter().any(|pattern| pattern.covers(host, port))
    }

    /// Whether a guest may know the addresses of `name`: where it could go, it may look.
    pub(super) fn covers_name(&self, name: &str) -> bool {
        let host = match name.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => name.to_owned(),
        };
        // Nothing but what can stand in a pattern: the resolver must not read it differently.
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-.:[]".contains(&c);
        let covers = |pattern: &HostPattern| match pattern.address() {
            Some(address) => host.trim_matches(['[', ']']).parse() == Ok(address),
            None => pattern.matches_host(&host),
        };
        host.bytes().all(plain) && self.tcp.iter().chain(&self.udp).any(covers)
    }
}

/// The reach of one instance's sockets.
pub(super) struct Reach {
    pub(super) guest: Arc<Guest>,
    pub(super) meter: Arc<Meter>,
    names: Mutex<Names>,
}

impl Reach {
    pub(super) fn new(guest: Arc<Guest>, meter: Arc<Meter>) -> Self {
        Self {
            guest,
            meter,
            names: Mutex::default(),
        }
    }

    /// Whether a socket may do this; reports it if not.
    pub(super) async fn permits(&self, address: SocketAddr, wish: SocketAddrUse) -> bool {
        // Any free port is no more than what connecting takes by itself.
        let unspecific = address.port() == 0;
        let policy = &self.guest.sockets;
        let denied = match wish {
            SocketAddrUse::TcpConnect if self.covers(&policy.tcp, address).await => return true,
            SocketAddrUse::UdpSend if self.covers(&policy.udp, address).await => return true,
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if unspecific => return true,
            // Strangers must not be able to fill the log: what they send is dropped in silence.
            SocketAddrUse::UdpReceive => return self.covers(&policy.udp, address).await,
            SocketAddrUse::TcpAccept => return false,
            SocketAddrUse::TcpConnect => SocketUse::TcpConnect(address),
            SocketAddrUse::TcpBind => SocketUse::TcpBind(address),
            SocketAddrUse::TcpListen => SocketUse::TcpListen(address),
            SocketAddrUse::UdpBind => SocketUse::UdpBind(address),
            SocketAddrUse::UdpSend => SocketUse::UdpSend(address),
        };
        self.meter.denied(Denial::Socket(denied));
        false
    }

    /// Remembers that the guest was told that `name` means `address`.
    pub(super) fn learn(&self, name: &str, address: IpAddr) {
        self.names().learn(name, &[address]);
    }

    async fn covers(&self, patterns: &[HostPattern], address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let with_port = || patterns.iter().filter(|pattern| pattern.covers_port(port));
        if with_port().any(|pattern| pattern.address() == Some(ip)) {
            return true;
        }
        if self
            .names()
            .means(ip, |name| with_port().any(|p| p.matches_host(name)))
        {
            return true;
        }
        for name in with_port().filter_map(HostPattern::name) {
            if self.names().is_fresh(name) {
                continue;
            }
            let found = timeout(LOOKUP_TIME_MAX, lookup_host((name, port))).await;
            let found: Vec<IpAddr> = match found {
                Ok(Ok(found)) => found.map(|found| found.ip().to_canonical()).collect(),
                // Remembered, too: a guest that tries again and again must not keep asking.
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            self.names().learn(name, &found);
            if found.contains(&ip) {
                return true;
            }
        }
        false
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looked-up names, for [`LOOKUP_KEPT`].
#[derive(Default)]
struct Names(BTreeMap<String, (Instant, Vec<IpAddr>)>);

impl Names {
    fn learn(&mut self, name: &str, found: &[IpAddr]) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !self.0.contains_key(&name) && self.0.len() >= LOOKUP_NAMES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.0.remove(&oldest);
            }
        }
        let entry = self.0.entry(name);
        let (at, addresses) = entry.or_insert_with(|| (Instant::now(), Vec::new()));
        if at.elapsed() >= LOOKUP_KEPT {
            addresses.clear();
        }
        *at = Instant::now();
        for address in found {
            if !addresses.contains(address) && addresses.len() < LOOKUP_ADDRESSES_MAX {
                addresses.push(*address);
            }
        }
    }

    fn is_fresh(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|(at, _)| at.elapsed() < LOOKUP_KEPT)
    }

    fn means(&self, ip: IpAddr, granted: impl Fn(&str) -> bool) -> bool {
        let mut fresh = self
            .0
            .iter()
            .filter(|(_, (at, _))| at.elapsed() < LOOKUP_KEPT);
        fresh.any(|(name, (_, addresses))| addresses.contains(&ip) && granted(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(tcp: &[&str]) -> SocketPolicy {
        let allow = tcp.iter().map(|pattern| pattern.parse().unwrap()).collect();
        SocketPolicy::new(&[Capability::Tcp { allow }])
    }

    #[test]
    fn only_covered_names_may_be_looked_up() {
        let policy = policy(&["db.example:5432", "*.api.example", "[::1]:80", "10.0.0.1"]);
        for name in [
            "db.example",
            "DB.example.",
            "a.b.api.example",
            "::1",
            "10.0.0.1",
        ] {
            assert!(policy.covers_name(name), "{name}");
        }
        for name in [
            "example",
            "api.example",
            "db.example.evil",
            "::2",
            "10.0.0.2",
            "a%00.api.example",
            "",
        ] {
            assert!(!policy.covers_name(name), "{name}");
        }
    }

    #[test]
    fn names_are_forgotten_oldest_first() {
        let mut names = Names::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        names.learn("first", &[address(1)]);
        for count in 0..LOOKUP_NAMES_MAX {
            names.learn(&format!("n{count}"), &[address(2)]);
        }
        assert_eq!(names.0.len(), LOOKUP_NAMES_MAX);
        assert!(!names.means(address(1), |_| true));
        assert!(names.means(address(2), |name| name == "n0"));
        assert!(!names.means(address(2), |name| name == "first"));
    }
}
