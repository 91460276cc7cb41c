//! A congestion controller that can change its rule while a connection lives. quinn chooses one
//! per connection when it begins, before anything is known about the path.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{BbrConfig, Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

use crate::proto::Control;

/// Makes controllers that begin as Cubic.
#[derive(Debug, Default)]
pub(crate) struct SwitchingFactory;

impl ControllerFactory for SwitchingFactory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Switching {
            rule: built(false, now, mtu),
            is_bbr: false,
            mtu,
            wants_bbr: Arc::default(),
        })
    }
}

/// Delegates to the rule of the moment; whoever has a clone can ask for the other.
struct Switching {
    rule: Box<dyn Controller>,
    is_bbr: bool,
    mtu: u16,
    /// Shared by all clones.
    wants_bbr: Arc<AtomicBool>,
}

/// The lever of one connection's controller.
#[derive(Debug, Clone)]
pub(crate) struct Lever(Arc<AtomicBool>);

impl Lever {
    /// The lever of `connection`.
    pub(crate) fn of(connection: &quinn::Connection) -> Option<Self> {
        let state = connection.congestion_state().into_any();
        let switching = state.downcast::<Switching>().ok()?;
        Some(Self(switching.wants_bbr.clone()))
    }

    /// Asks for `control`; it takes over with the next packet.
    pub(crate) fn set(&self, control: Control) {
        self.0.store(control == Control::Bbr, Ordering::Relaxed);
    }
}

fn built(bbr: bool, now: Instant, mtu: u16) -> Box<dyn Controller> {
    if bbr {
        Arc::new(BbrConfig::default()).build(now, mtu)
    } else {
        Arc::new(CubicConfig::default()).build(now, mtu)
    }
}

impl Switching {
    fn follow_lever(&mut self, now: Instant) {
        let wants_bbr = self.wants_bbr.load(Ordering::Relaxed);
        if wants_bbr == self.is_bbr {
            return;
        }
        self.is_bbr = wants_bbr;
        self.rule = built(wants_bbr, now, self.mtu);
    }
}

impl Controller for Switching {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.follow_lever(now);
        self.rule.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.rule.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.rule
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.rule
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = mtu;
        self.rule.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        self.rule.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.rule.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            rule: self.rule.clone_box(),
            is_bbr: self.is_bbr,
            mtu: self.mtu,
            wants_bbr: self.wants_bbr.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.rule.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_moves_the_lever_of_the_original() {
        let now = Instant::now();
        let mut controller = Arc::new(SwitchingFactory).build(now, 1_200);
        let cubic_window = controller.window();
        let clone = controller.clone_box().into_any();
        let lever = Lever(clone.downcast::<Switching>().unwrap().wants_bbr);
        lever.set(Control::Bbr);
        assert_eq!(controller.window(), cubic_window, "nothing before a packet");
        controller.on_sent(now, 1_200, 1);
        let rule = controller.into_any().downcast::<Switching>().unwrap();
        assert!(rule.is_bbr);
        assert_ne!(
            rule.window(),
            cubic_window,
            "BBR begins with another window"
        );
    }
}
