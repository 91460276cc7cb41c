//! Granted rights. What is not granted is denied, before start where an import shows the wish.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::topic::Topic;
use crate::units::ByteSize;
use crate::{Amount, AssetType};

/// One right of one component. New kinds are appended: the order is part of the canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// `wasi:http/outgoing-handler`, to these authorities only.
    HttpOutgoing {
        /// Where requests may go; at least one.
        allow: Vec<HostPattern>,
    },
    /// `wasi:keyvalue`: buckets of the workload, kept over restarts.
    Keyvalue {
        /// What a write may bring the workload's buckets to, keys and values together.
        quota: ByteSize,
    },
    /// `wasi:blobstore`: containers of the workload, kept over restarts.
    Blobstore {
        /// What a write may bring the workload's containers to, names and contents together.
        quota: ByteSize,
    },
    /// `wasi:sockets/tcp`, outgoing, to these authorities only.
    Tcp {
        /// Where connections may go; at least one.
        allow: Vec<HostPattern>,
    },
    /// `wasi:sockets/udp`, to these authorities only.
    Udp {
        /// Where datagrams may go; at least one.
        allow: Vec<HostPattern>,
    },
    /// `wasi:messaging/producer`, to these topics only.
    Publish {
        /// What may be published to; at least one.
        topics: Vec<Topic>,
    },
    /// `hypermesh:consensus`: what is final, and records of the workload on the ledger.
    Consensus {
        /// What a write may bring the workload's records to; none lets it only read and verify.
        records: u32,
    },
    /// `hypermesh:assets/memory`: regions of leased memory, here and on other nodes.
    Memory {
        /// What one replica may have allocated at once; other regions are opened on top of it.
        quota: ByteSize,
    },
    /// `hypermesh:assets/volumes`: volumes on leased storage, here and on other nodes.
    Storage {
        /// What one replica may have leased at once, what it keeps beyond its end included.
        quota: ByteSize,
    },
    /// `hypermesh:assets/cpu`: time of leased processors, here and on other nodes.
    Cpu {
        /// Thousandths of a core that one replica may have leased at once.
        millicores: u32,
    },
    /// `hypermesh:assets/network`: connections over leased transport, of this node and of others, to
    /// what [`Self::Tcp`] allows.
    Network {
        /// Bytes per second that one replica may have leased at once.
        rate: ByteSize,
    },
}

impl Capability {
    /// Most host patterns or topics in one grant.
    pub const ENTRIES_MAX: usize = 64;
    /// Largest quota of a store, or of leased memory or storage, and largest leased rate.
    pub const QUOTA_MAX: ByteSize = ByteSize::mib(1 << 20);
    /// Most records of one workload on the ledger: every node keeps them, and their index is one
    /// entry of at most 128 KiB.
    pub const RECORDS_MAX: u32 = 512;
    /// Most thousandths of a core in one grant: no machine has a thousand cores to lease.
    pub const MILLICORES_MAX: u32 = 1_000_000;

    /// The manifest's name of the right.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::HttpOutgoing { .. } => "http_outgoing",
            Self::Keyvalue { .. } => "keyvalue",
            Self::Blobstore { .. } => "blobstore",
            Self::Tcp { .. } => "tcp",
            Self::Udp { .. } => "udp",
            Self::Publish { .. } => "publish",
            Self::Consensus { .. } => "consensus",
            Self::Memory { .. } => "memory",
            Self::Storage { .. } => "storage",
            Self::Cpu { .. } => "cpu",
            Self::Network { .. } => "network",
        }
    }

    /// What is wrong with the grant's size; none if nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let (count, what) = match self {
            Self::HttpOutgoing { allow } | Self::Tcp { allow } | Self::Udp { allow } => {
                (allow.len(), "hosts")
            }
            Self::Publish { topics } => (topics.len(), "topics"),
            Self::Keyvalue { quota }
            | Self::Blobstore { quota }
            | Self::Memory { quota }
            | Self::Storage { quota }
            | Self::Network { rate: quota } => {
                let fits = (1..=Self::QUOTA_MAX.as_u64()).contains(&quota.as_u64());
                let problem = format!("is {quota}: allowed is 1B to {}", Self::QUOTA_MAX);
                return (!fits).then_some(problem);
            }
            Self::Consensus { records } => {
                let fits = *records <= Self::RECORDS_MAX;
                let problem = format!("grants {records} records: at most {}", Self::RECORDS_MAX);
                return (!fits).then_some(problem);
            }
            Self::Cpu { millicores } => {
                let fits = (1..=Self::MILLICORES_MAX).contains(millicores);
                let max = Self::MILLICORES_MAX;
                let problem = format!("grants {millicores} thousandths of a core: 1 to {max}");
                return (!fits).then_some(problem);
            }
        };
        let fits = (1..=Self::ENTRIES_MAX).contains(&count);
        (!fits).then(|| format!("lists {count} {what}: 1 to {}", Self::ENTRIES_MAX))
    }

    /// What is granted, as the manifest writes it.
    #[must_use]
    pub fn scope(&self) -> String {
        fn joined<T: fmt::Display>(entries: &[T]) -> String {
            let texts: Vec<_> = entries.iter().map(ToString::to_string).collect();
            texts.join(", ")
        }
        match self {
            Self::HttpOutgoing { allow } | Self::Tcp { allow } | Self::Udp { allow } => {
                joined(allow)
            }
            Self::Publish { topics } => joined(topics),
            Self::Keyvalue { quota }
            | Self::Blobstore { quota }
            | Self::Memory { quota }
            | Self::Storage { quota } => quota.to_string(),
            Self::Consensus { records } => format!("{records} records"),
            Self::Network { rate } => format!("{rate}/s"),
            Self::Cpu { millicores } => Amount(u64::from(*millicores))
                .of(AssetType::Cpu)
                .to_string(),
        }
    }
}

/// A host, perhaps with a port: `api.example.com`, `*.example.com`, `127.0.0.1:8080`, `[::1]:80`.
///
/// Without a port any port matches. `*.` matches one or more labels, never the bare domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    wildcard: bool,
    host: String,
    port: Option<u16>,
}

/// A text that is not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a host pattern: expected a host such as `api.example.com`, `*.example.com` or `127.0.0.1:8080`, without scheme or path"
)]
pub struct ParseHostPatternError {
    text: String,
}

impl HostPattern {
    /// Longest DNS name.
    const HOST_BYTES_MAX: usize = 253;

    /// Whether `port` is covered, whatever the host.
    #[must_use]
    pub fn covers_port(&self, port: u16) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
    }

    /// The address that it means; none if it means names.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse().ok();
        address.filter(|_| !self.wildcard)
    }

    /// The one name that it means; none for an address and for `*.`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.wildcard && self.address().is_none()).then_some(self.host.as_str())
    }

    /// Whether a request to `host` and `port` is covered. IPv6 hosts come with their brackets.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.covers_port(port) && self.matches_host(host)
    }

    /// Whether a connection to `host`, a name or an address, is covered. Addresses are compared as such
    /// and names as names, so that one is never taken for the other.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let same = match inner.unwrap_or(host).parse::<IpAddr>() {
            Ok(address) => self.address() == Some(address.to_canonical()),
            Err(_) => self.address().is_none() && self.matches_host(host),
        };
        same && self.covers_port(port)
    }

    /// Whether `host` is covered, whatever the port. IPv6 hosts come with their brackets.
    #[must_use]
    pub fn matches_host(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if !self.wildcard {
            return host == self.host;
        }
        host.strip_suffix(self.host.as_str())
            .and_then(|front| front.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty())
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for HostPattern {
    type Err = ParseHostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseHostPatternError {
            text: text.chars().take(80).collect(),
        };
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let bracketed = rest.starts_with('[');
        let split = if bracketed {
            rest.rfind("]:").map(|at| at + 1)
        } else {
            rest.rfind(':')
        };
        let (host, port) = match split {
            Some(at) => (
                &rest[..at],
                Some(rest[at + 1..].parse().map_err(|_| refused())?),
            ),
            None => (rest, None),
        };
        let valid = if bracketed {
            let inner = host
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'));
            !wildcard && inner.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
        } else {
            let labels = |label: &str| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|c| c.is_ascii_alphanumeric() || c == b'-')
            };
            host.len() <= Self::HOST_BYTES_MAX && host.split('.').all(labels)
        };
        if valid {
            Ok(Self {
                wildcard,
                host: host.to_ascii_lowercase(),
                port,
            })
        } else {
            Err(refused())
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_covers_exactly_what_it_says() {
        assert!(pattern("api.example.com").matches("API.example.com", 443));
        assert!(!pattern("api.example.com").matches("evil-api.example.com", 443));
        assert!(!pattern("api.example.com").matches("api.example.com.evil.org", 443));
        assert!(pattern("*.example.com").matches("a.b.example.com", 80));
        assert!(!pattern("*.example.com").matches("example.com", 80));
        assert!(!pattern("*.example.com").matches("evilexample.com", 80));
        assert!(pattern("127.0.0.1:8080").matches("127.0.0.1", 8080));
        assert!(!pattern("127.0.0.1:8080").matches("127.0.0.1", 80));
        assert!(pattern("[::1]:80").matches("[::1]", 80));
    }

    #[test]
    fn a_connection_is_covered_by_address_or_by_name() {
        for (text, host, port) in [
            ("db.example:5432", "DB.example", 5432),
            ("*.api.example", "a.api.example.", 1),
            ("[::1]:80", "[::1]", 80),
            ("[::1]:80", "0:0::1", 80),
            ("10.0.0.1", "10.0.0.1", 9),
            ("10.0.0.1", "::ffff:10.0.0.1", 9),
        ] {
            assert!(pattern(text).covers(host, port), "{text} {host}:{port}");
        }
        for (text, host, port) in [
            ("db.example:5432", "db.example", 5433),
            ("*.api.example", "api.example", 1),
            ("*.api.example", "a.api.example:1", 1),
            ("[::1]:80", "[::1]", 81),
            ("10.0.0.1", "10.0.0.2", 9),
            ("10.0.0.1", "10.1", 9),
            ("db.example", "", 1),
        ] {
            assert!(!pattern(text).covers(host, port), "{text} {host}:{port}");
        }
    }

    #[test]
    fn a_pattern_means_an_address_or_names() {
        let address = |text: &str| pattern(text).address().map(|found| found.to_string());
        assert_eq!(address("[0:0::1]:80"), Some("::1".to_owned()));
        assert_eq!(address("127.0.0.1"), Some("127.0.0.1".to_owned()));
        assert_eq!(address("*.0.0.1"), None);
        assert_eq!(pattern("127.0.0.1").name(), None);
        assert_eq!(pattern("*.example.com").name(), None);
        assert_eq!(pattern("API.example.com:1").name(), Some("api.example.com"));
    }

    #[test]
    fn what_guests_may_lease_is_bounded_and_written_in_its_unit() {
        let cpu = |millicores| Capability::Cpu { millicores };
        let network = |rate| Capability::Network { rate };
        for (grant, scope) in [
            (cpu(1), "0.001 cores"),
            (cpu(1_500), "1.5 cores"),
            (network(ByteSize::mib(2)), "2MiB/s"),
        ] {
            assert_eq!(grant.problem(), None, "{grant:?}");
            assert_eq!(grant.scope(), scope);
        }
        for grant in [
            cpu(0),
            cpu(Capability::MILLICORES_MAX + 1),
            network(ByteSize::bytes(0)),
            network(ByteSize::bytes(Capability::QUOTA_MAX.as_u64() + 1)),
        ] {
            assert!(grant.problem().is_some(), "{grant:?}");
        }
    }

    #[test]
    fn urls_and_nonsense_are_refused() {
        for bad in [
            "", "*", "*.", "http://a", "a/b", "a:x", "a:", "[::1", "*.[::1]", "a..b", "a b",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
