//! Services: what streams are for, with their numbers on the wire and their order of precedence.

use std::fmt;

/// What a stream or datagram is for. What it carries is the service's own business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Service {
    /// Agreement among validators.
    Consensus = 1,
    /// Membership and small news.
    Gossip = 2,
    /// The admin API.
    Control = 3,
    /// Calls between workloads.
    Invoke = 4,
    /// Assets of other nodes.
    Asset = 5,
    /// Bulk transfer of artifacts.
    Artifact = 6,
    /// Packets of two other nodes that cannot reach each other.
    Relay = 7,
}

impl Service {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Consensus,
        Self::Gossip,
        Self::Control,
        Self::Invoke,
        Self::Asset,
        Self::Artifact,
        Self::Relay,
    ];

    /// The number on the wire; it never changes.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The service with this number, if this build knows it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| service.number() == number)
    }

    /// Position in [`Service::ALL`].
    #[must_use]
    pub(crate) const fn index(self) -> usize {
        self as usize - 1
    }

    /// Precedence within a session: data of a higher one is always sent first.
    #[must_use]
    pub const fn priority(self) -> i32 {
        match self {
            Self::Consensus => 50,
            Self::Gossip | Self::Control => 40,
            // It may carry anything, calls for instance.
            Self::Invoke | Self::Relay => 30,
            Self::Asset => 20,
            Self::Artifact => 10,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consensus => "consensus",
            Self::Gossip => "gossip",
            Self::Control => "control",
            Self::Invoke => "invoke",
            Self::Asset => "asset",
            Self::Artifact => "artifact",
            Self::Relay => "relay",
        })
    }
}

/// A set of services: what a peer may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceSet(u8);

impl ServiceSet {
    /// No service.
    pub const NONE: Self = Self(0);

    /// Every service.
    pub const ALL: Self = Self(0b111_1111);

    /// This set and `service`.
    #[must_use]
    pub const fn with(self, service: Service) -> Self {
        Self(self.0 | 1 << service.index())
    }

    /// Whether `service` is in the set.
    #[must_use]
    pub const fn contains(self, service: Service) -> bool {
        self.0 & (1 << service.index()) != 0
    }
}

impl FromIterator<Service> for ServiceSet {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        services.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_change() {
        let numbers = Service::ALL.map(Service::number);
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        for service in Service::ALL {
            assert_eq!(Service::from_number(service.number()), Some(service));
        }
        assert_eq!(Service::from_number(0), None);
        assert_eq!(Service::from_number(8), None);
    }

    #[test]
    fn agreement_comes_before_everything_and_bulk_after() {
        use Service::{Artifact, Asset, Consensus, Control, Gossip, Invoke};
        assert!(Consensus.priority() > Gossip.priority());
        assert_eq!(Gossip.priority(), Control.priority());
        assert!(Control.priority() > Invoke.priority());
        assert!(Invoke.priority() > Asset.priority());
        assert!(Asset.priority() > Artifact.priority());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: ServiceSet = [Service::Consensus, Service::Artifact]
            .into_iter()
            .collect();
        let held: Vec<Service> = Service::ALL
            .into_iter()
            .filter(|service| set.contains(*service))
            .collect();
        assert_eq!(held, [Service::Consensus, Service::Artifact]);
        assert_eq!(
            Service::ALL.into_iter().collect::<ServiceSet>(),
            ServiceSet::ALL
        );
    }
}
