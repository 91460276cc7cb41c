//! Tiers: how much a path to a peer carries, judged from readings, and what follows from it. Slow
//! to change, so that one busy second does not rearrange a transfer.

use std::fmt;
use std::time::Duration;

use crate::bounds::{SESSION_WINDOW_BYTES_MAX, TIER_READINGS, TIER_TIME};

/// What a path carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// About 100 Mbit/s: lines of homes and small hosts.
    Mbit100,
    /// About 1 Gbit/s: where sessions begin.
    Gbit1,
    /// About 2.5 Gbit/s.
    Gbit2_5,
    /// More than that.
    Above,
}

/// Which rule paces what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Control {
    /// Takes loss for congestion. Right where loss is rare.
    Cubic,
    /// Measures the path instead. Where one packet in a thousand is lost by chance, it carries
    /// thirty times as much.
    Bbr,
}

/// What a session's traffic was like for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When, since the session began.
    pub at: Duration,
    /// Bits per second that arrived at the peer.
    pub sent_bits: u64,
    /// Bits per second that came from the peer.
    pub received_bits: u64,
    /// Whether more would have been sent if the path had taken it: else `sent_bits` says what was
    /// asked for, not what the path carries.
    pub is_pressed: bool,
    /// Round trip time.
    pub rtt: Duration,
    /// The shortest round trip so far: what the path takes without queues.
    pub rtt_min: Duration,
    /// Bytes of a packet.
    pub packet_bytes: u16,
    /// Packets sent.
    pub packets_sent: u64,
    /// Those of them that were lost.
    pub packets_lost: u64,
}

/// What a tier means for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierSettings {
    /// Bytes under way in each direction.
    pub window_bytes: u32,
    /// Streams that a bulk transfer spreads over.
    pub bulk_streams: u32,
    /// Bytes of one chunk of a bulk transfer.
    pub chunk_bytes: u32,
    /// How sending is paced.
    pub control: Control,
}

impl Tier {
    /// The tier whose paths carry this much: up to half as much again as its name.
    #[must_use]
    pub const fn of_rate(bits: u64) -> Self {
        match bits {
            ..150_000_000 => Self::Mbit100,
            150_000_000..1_500_000_000 => Self::Gbit1,
            1_500_000_000..3_500_000_000 => Self::Gbit2_5,
            _ => Self::Above,
        }
    }

    /// What windows are made for, in bits per second.
    const fn rate_bits(self) -> u64 {
        match self {
            Self::Mbit100 => 150_000_000,
            Self::Gbit1 => 1_500_000_000,
            Self::Gbit2_5 => 3_500_000_000,
            Self::Above => 10_000_000_000,
        }
    }

    /// What follows for a path of this tier with round trips of `rtt`: windows hold twice what is
    /// under way, so that one lost packet does not stop the rest.
    #[must_use]
    pub fn settings(self, rtt: Duration, control: Control) -> TierSettings {
        let (floor_bytes, bulk_streams, chunk_bytes) = match self {
            Self::Mbit100 => (2 << 20, 2, 64 << 10),
            Self::Gbit1 => (8 << 20, 4, 256 << 10),
            Self::Gbit2_5 => (16 << 20, 8, 512 << 10),
            Self::Above => (32 << 20, 8, 1 << 20),
        };
        let under_way = u128::from(self.rate_bits() / 8) * rtt.as_micros() / 1_000_000;
        let window_bytes = u32::try_from(under_way * 2).unwrap_or(u32::MAX);
        TierSettings {
            window_bytes: window_bytes.clamp(floor_bytes, SESSION_WINDOW_BYTES_MAX),
            bulk_streams,
            chunk_bytes,
            control,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mbit100 => "100 Mb/s",
            Self::Gbit1 => "1 Gb/s",
            Self::Gbit2_5 => "2.5 Gb/s",
            Self::Above => "above 2.5 Gb/s",
        })
    }
}

/// A value that changes only when several readings in a row, over some time, agree on another.
#[derive(Debug)]
struct Steady<T> {
    held: T,
    wish: Option<(T, Duration, u32)>,
}

impl<T: Copy + PartialEq> Steady<T> {
    const fn new(held: T) -> Self {
        Self { held, wish: None }
    }

    /// Takes what a reading says; whether the held value changed.
    fn hear(&mut self, said: T, at: Duration) -> bool {
        if said == self.held {
            self.wish = None;
            return false;
        }
        let (since, readings) = match self.wish {
            Some((wish, since, readings)) if wish == said => (since, readings + 1),
            _ => (at, 1),
        };
        if readings >= TIER_READINGS && at.saturating_sub(since) >= TIER_TIME {
            self.held = said;
            self.wish = None;
            return true;
        }
        self.wish = Some((said, since, readings));
        false
    }
}

/// Judges one session's path.
#[derive(Debug)]
pub struct TierEstimator {
    tier: Steady<Tier>,
    control: Steady<Control>,
    rtt: Duration,
}

/// Packets without which a reading says nothing about loss.
const PACKETS_MIN: u64 = 500;
/// Up to 3 lost packets in 10,000, loss can be what Cubic causes itself: on a clean path of
/// 1 Gbit/s it is a tenth of that.
const LOSSY_PER_10_000: u64 = 3;

impl Reading {
    /// Whether loss, and not the path, is what would limit Cubic on a path of `tier`: it carries
    /// about 1.22 packets per round trip over the root of the share that is lost (Mathis et al.,
    /// 1997). Where round trips are short, it recovers before loss matters.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 53 bits"
    )]
    fn is_limited_by_loss(&self, tier: Tier) -> bool {
        let lost = self.packets_lost.saturating_mul(10_000);
        if lost < self.packets_sent.saturating_mul(LOSSY_PER_10_000) {
            return false;
        }
        let share = self.packets_lost as f64 / self.packets_sent as f64;
        let packet_bits = f64::from(self.packet_bytes) * 8.0;
        let round_trip = self.rtt_min.as_secs_f64().max(1e-6);
        1.22 * packet_bits / (round_trip * share.sqrt()) < tier.rate_bits() as f64
    }
}

impl Default for TierEstimator {
    fn default() -> Self {
        Self {
            tier: Steady::new(Tier::Gbit1),
            control: Steady::new(Control::Cubic),
            rtt: Duration::ZERO,
        }
    }
}

impl TierEstimator {
    /// The tier now.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.tier.held
    }

    /// What it means now.
    #[must_use]
    pub fn settings(&self) -> TierSettings {
        self.tier.held.settings(self.rtt, self.control.held)
    }

    /// Takes a reading; the new settings, if they differ from those before.
    pub fn read(&mut self, reading: &Reading) -> Option<TierSettings> {
        let before = self.settings();
        if let Some(tier) = self.said(reading)
            && self.tier.hear(tier, reading.at)
        {
            self.rtt = reading.rtt;
        }
        if reading.packets_sent >= PACKETS_MIN {
            let said = if reading.is_limited_by_loss(self.tier.held) {
                Control::Bbr
            } else {
                Control::Cubic
            };
            self.control.hear(said, reading.at);
        }
        // Windows follow the round trip when it grows well beyond what they were made for.
        if reading.rtt > self.rtt.saturating_mul(2) {
            self.rtt = reading.rtt;
        }
        Some(self.settings()).filter(|settings| *settings != before)
    }

    /// The tier that a reading speaks for. What arrives can only show that the path carries more.
    fn said(&self, reading: &Reading) -> Option<Tier> {
        let received = Some(Tier::of_rate(reading.received_bits));
        let received = received.filter(|tier| *tier > self.tier.held);
        let sent = Tier::of_rate(reading.sent_bits);
        let sent = Some(sent).filter(|tier| reading.is_pressed || *tier > self.tier.held);
        sent.max(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: u64, mbits: u64) -> Reading {
        Reading {
            at: Duration::from_millis(at_ms),
            sent_bits: mbits * 1_000_000,
            received_bits: 0,
            is_pressed: true,
            rtt: Duration::from_millis(20),
            rtt_min: Duration::from_millis(20),
            packet_bytes: 1_400,
            packets_sent: 10_000,
            packets_lost: 0,
        }
    }

    /// Readings of this many Mbit/s every 2.5 s, and the tier after each.
    fn tiers(rates: &[u64]) -> Vec<Tier> {
        let mut estimator = TierEstimator::default();
        let mut at_ms = 0;
        let each = rates.iter().map(|rate| {
            at_ms += 2_500;
            let _ = estimator.read(&reading(at_ms, *rate));
            estimator.tier()
        });
        each.collect()
    }

    #[test]
    fn three_readings_over_five_seconds_change_the_tier() {
        use Tier::{Above, Gbit1, Gbit2_5, Mbit100};
        let table: [(&[u64], &[Tier]); 6] = [
            (&[90, 90, 90, 90], &[Gbit1, Gbit1, Mbit100, Mbit100]),
            (&[2_400, 2_300, 2_500], &[Gbit1, Gbit1, Gbit2_5]),
            (&[9_000, 9_000, 9_000], &[Gbit1, Gbit1, Above]),
            // One reading of the old tier begins the count anew.
            (
                &[90, 90, 900, 90, 90, 90],
                &[Gbit1, Gbit1, Gbit1, Gbit1, Gbit1, Mbit100],
            ),
            // So does one that speaks for yet another tier.
            (&[90, 90, 9_000, 90, 90], &[Gbit1; 5]),
            // A rate that swings around a boundary changes nothing.
            (&[1_400, 1_600, 1_400, 1_600, 1_400, 1_600], &[Gbit1; 6]),
        ];
        for (rates, expected) in table {
            assert_eq!(tiers(rates), expected, "{rates:?}");
        }
    }

    #[test]
    fn three_readings_within_five_seconds_do_not() {
        let mut estimator = TierEstimator::default();
        for at_ms in [1_000, 2_000, 3_000, 4_000, 5_000, 5_999] {
            let _ = estimator.read(&reading(at_ms, 90));
            assert_eq!(estimator.tier(), Tier::Gbit1, "{at_ms}");
        }
        assert!(estimator.read(&reading(6_000, 90)).is_some());
        assert_eq!(estimator.tier(), Tier::Mbit100);
    }

    #[test]
    fn an_idle_session_keeps_its_tier() {
        let mut estimator = TierEstimator::default();
        for n in 0..100 {
            let idle = Reading {
                is_pressed: false,
                ..reading(n * 2_500, 1)
            };
            let _ = estimator.read(&idle);
        }
        assert_eq!(estimator.tier(), Tier::Gbit1);
    }

    #[test]
    fn what_arrives_can_raise_the_tier_and_never_lower_it() {
        let mut estimator = TierEstimator::default();
        for (rate, expected) in [(3_000, Tier::Gbit2_5), (10, Tier::Gbit2_5)] {
            for n in 0..10 {
                let mut heard = reading(n * 2_500, 0);
                heard.is_pressed = false;
                heard.received_bits = rate * 1_000_000;
                let _ = estimator.read(&heard);
            }
            assert_eq!(estimator.tier(), expected);
        }
    }

    #[test]
    fn loss_chooses_the_control() {
        let mut estimator = TierEstimator::default();
        let controls = [0_u64, 10, 10, 10, 10, 0, 0, 0]
            .iter()
            .zip(0_u64..)
            .map(|(lost, n)| {
                let lossy = Reading {
                    packets_lost: *lost,
                    ..reading(n * 2_500, 900)
                };
                let _ = estimator.read(&lossy);
                estimator.settings().control
            });
        use Control::{Bbr, Cubic};
        let expected = [Cubic, Cubic, Cubic, Bbr, Bbr, Bbr, Bbr, Cubic];
        assert_eq!(controls.collect::<Vec<_>>(), expected);
        // Where round trips are short, loss is the queue's own and Cubic is right.
        for n in 10..20 {
            let near = Reading {
                packets_lost: 30,
                rtt_min: Duration::from_micros(100),
                ..reading(n * 2_500, 900)
            };
            let _ = estimator.read(&near);
        }
        assert_eq!(estimator.settings().control, Cubic);
        // A handful of packets says nothing.
        for n in 20..30 {
            let few = Reading {
                packets_sent: 20,
                packets_lost: 5,
                ..reading(n * 2_500, 900)
            };
            let _ = estimator.read(&few);
        }
        assert_eq!(estimator.settings().control, Cubic);
    }

    #[test]
    fn windows_hold_twice_what_is_under_way_within_their_bounds() {
        let window = |tier: Tier, ms| {
            tier.settings(Duration::from_millis(ms), Control::Cubic)
                .window_bytes
        };
        assert_eq!(window(Tier::Gbit1, 100), 37_500_000);
        assert_eq!(window(Tier::Gbit1, 1), 8 << 20);
        assert_eq!(window(Tier::Above, 60_000), SESSION_WINDOW_BYTES_MAX);
        for pair in [Tier::Mbit100, Tier::Gbit1, Tier::Gbit2_5, Tier::Above].windows(2) {
            assert!(window(pair[0], 0) < window(pair[1], 0));
        }
    }
}
