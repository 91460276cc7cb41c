//! Admission of inbound streams: how many of each service a peer may have open at once.

use super::service::Service;

/// Most streams of one service that one peer has open at once. Their sum is what QUIC is told.
#[must_use]
pub const fn streams_max(service: Service) -> u32 {
    match service {
        // A handful of long streams.
        Service::Consensus | Service::Gossip => 32,
        // Requests of a few operators.
        Service::Control => 32,
        // Calls: the bulk of what nodes ask of each other.
        Service::Invoke => 128,
        // Calls to remote assets, and chunks of several artifacts.
        Service::Asset => 32,
        Service::Artifact => 64,
        // One for each pair that a peer is an end of.
        Service::Relay => 32,
    }
}

/// The inbound streams of one peer.
#[derive(Debug, Default)]
pub struct Admission {
    open: [u32; Service::ALL.len()],
}

impl Admission {
    /// Takes a place for a stream. Each `true` is paid back by one [`Admission::release`].
    #[must_use]
    pub fn admit(&mut self, service: Service) -> bool {
        let Some(open) = self.open.get_mut(service.index()) else {
            return false;
        };
        if *open >= streams_max(service) {
            return false;
        }
        *open += 1;
        true
    }

    /// Gives a place back.
    pub fn release(&mut self, service: Service) {
        if let Some(open) = self.open.get_mut(service.index()) {
            debug_assert!(*open > 0, "{service} released more often than admitted");
            *open = open.saturating_sub(1);
        }
    }

    /// Streams that are open now, of all services.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::STREAMS_PER_PEER_MAX;

    #[test]
    fn one_service_cannot_take_the_places_of_another() {
        let mut admission = Admission::default();
        let admitted = (0..1_000)
            .filter(|_| admission.admit(Service::Artifact))
            .count();
        assert_eq!(admitted, streams_max(Service::Artifact) as usize);
        assert!(admission.admit(Service::Consensus));
        admission.release(Service::Artifact);
        assert!(admission.admit(Service::Artifact));
        assert!(!admission.admit(Service::Artifact));
    }

    #[test]
    fn the_bound_of_a_peer_is_the_sum_of_its_services() {
        let sum: u32 = Service::ALL.into_iter().map(streams_max).sum();
        assert_eq!(sum, STREAMS_PER_PEER_MAX);
    }
}
