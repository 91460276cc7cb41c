//! What a path showed that it carries, from readings of the traffic that went over it. Sends nothing
//! to find out and guesses nothing: an idle path stays unknown.

use std::time::Duration;

use crate::bounds::{MEASURED_BITS_MIN, MEASURED_PACKETS_MAX, TIER_READINGS};
use crate::proto::tier::Reading;

/// What a path showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// When its goodput was read, since the session began.
    pub at: Duration,
    /// Bits per second that it carried in one direction, with all headers but those of UDP and IP.
    pub goodput_bits: u64,
    /// Round trip time.
    pub rtt: Duration,
    /// Packets lost of a million.
    pub loss_ppm: u32,
}

/// Measures one session's path.
#[derive(Debug, Default)]
pub struct Meter {
    goodput: Option<Goodput>,
    rtt: Duration,
    /// Readings in a row in which the path took less than was to be sent.
    pressed: u32,
    /// The most that it carried in one of these.
    pressed_bits: u64,
    packets_sent: u64,
    packets_lost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Goodput {
    at: Duration,
    bits: u64,
}

impl Meter {
    /// Takes a reading.
    ///
    /// What was carried shows that the path carries so much. That it carries less, or little at all,
    /// only readings show in which more was to be sent, and several: a transfer may begin late in one.
    pub fn read(&mut self, reading: &Reading) {
        self.rtt = reading.rtt;
        self.count(reading);
        let carried = reading.sent_bits.max(reading.received_bits);
        if reading.is_pressed {
            self.pressed += 1;
            self.pressed_bits = self.pressed_bits.max(carried);
        } else {
            (self.pressed, self.pressed_bits) = (0, 0);
        }
        let held = self.goodput.map_or(MEASURED_BITS_MIN, |held| held.bits);
        let at = reading.at;
        if carried >= held {
            self.goodput = Some(Goodput { at, bits: carried });
        } else if self.pressed >= TIER_READINGS {
            let bits = self.pressed_bits;
            self.goodput = Some(Goodput { at, bits });
            (self.pressed, self.pressed_bits) = (0, 0);
        }
    }

    /// What the path showed so far; nothing before it carried something.
    #[must_use]
    pub fn measured(&self) -> Option<Measured> {
        let goodput = self.goodput?;
        let lost = u128::from(self.packets_lost) * 1_000_000;
        let loss_ppm = lost / u128::from(self.packets_sent.max(1));
        Some(Measured {
            at: goodput.at,
            goodput_bits: goodput.bits,
            rtt: self.rtt,
            loss_ppm: u32::try_from(loss_ppm).map_or(1_000_000, |ppm| ppm.min(1_000_000)),
        })
    }

    fn count(&mut self, reading: &Reading) {
        self.packets_sent = self.packets_sent.saturating_add(reading.packets_sent);
        self.packets_lost = self.packets_lost.saturating_add(reading.packets_lost);
        while self.packets_sent > MEASURED_PACKETS_MAX {
            self.packets_sent /= 2;
            self.packets_lost /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;

    /// One reading every 2.5 s of what was sent and whether more was to be sent; what is known after
    /// each, in Mbit/s.
    fn known(readings: &[(u64, bool)]) -> Vec<Option<u64>> {
        let mut meter = Meter::default();
        let mut at = Duration::ZERO;
        let each = readings.iter().map(|(bits, is_pressed)| {
            at += Duration::from_millis(2_500);
            meter.read(&reading(at, *bits, *is_pressed));
            meter.measured().map(|known| known.goodput_bits / MBIT)
        });
        each.collect()
    }

    fn reading(at: Duration, sent_bits: u64, is_pressed: bool) -> Reading {
        Reading {
            at,
            sent_bits,
            received_bits: 0,
            is_pressed,
            rtt: Duration::from_millis(20),
            rtt_min: Duration::from_millis(10),
            packet_bytes: 1_400,
            packets_sent: 1_000,
            packets_lost: 2,
        }
    }

    #[test]
    fn an_idle_path_is_unknown_and_a_known_one_stays_known_when_it_rests() {
        let idle = (MEASURED_BITS_MIN - 1, false);
        assert_eq!(known(&[idle; 10]), [None; 10]);
        let busy = [idle, (50 * MBIT, false), idle, idle, idle, idle];
        let fifty = Some(50);
        assert_eq!(known(&busy), [None, fifty, fifty, fifty, fifty, fifty]);
    }

    #[test]
    fn more_is_believed_at_once_and_less_when_three_readings_had_more_to_send() {
        let pressed = [(90, true), (80, true), (20, true), (30, true), (25, true)];
        let mut readings = pressed.map(|(mbits, is_pressed)| (mbits * MBIT, is_pressed));
        // The first of the first three is as much as was known.
        let ninety = Some(90);
        assert_eq!(known(&readings), [ninety; 5]);
        let again = [readings.as_slice(), &[(28 * MBIT, true)]].concat();
        assert_eq!(known(&again).last(), Some(&Some(30)));
        // One that asked for little ends the row.
        readings[3].1 = false;
        let broken = [readings.as_slice(), &[(28 * MBIT, true)]].concat();
        assert_eq!(known(&broken).last(), Some(&ninety));
    }

    #[test]
    fn a_path_that_carries_very_little_is_known_once_it_showed_that() {
        let slow = [(MBIT / 10, true), (MBIT / 5, true), (MBIT / 10, true)];
        let mut meter = Meter::default();
        for (bits, is_pressed) in slow {
            assert_eq!(meter.measured(), None);
            meter.read(&reading(Duration::from_secs(1), bits, is_pressed));
        }
        let known = meter.measured().unwrap();
        assert_eq!(known.goodput_bits, MBIT / 5);
        assert_eq!(
            (known.rtt, known.loss_ppm),
            (Duration::from_millis(20), 2_000)
        );
    }

    #[test]
    fn what_arrives_is_carried_too_and_loss_follows_the_path() {
        let mut meter = Meter::default();
        let mut arriving = reading(Duration::from_secs(1), 0, false);
        arriving.received_bits = 70 * MBIT;
        arriving.packets_lost = 500;
        meter.read(&arriving);
        let known = meter.measured().unwrap();
        assert_eq!((known.goodput_bits, known.loss_ppm), (70 * MBIT, 500_000));
        // What was lost long ago weighs ever less.
        let mut clean = reading(Duration::from_secs(2), 0, false);
        (clean.packets_sent, clean.packets_lost) = (MEASURED_PACKETS_MAX, 0);
        for _ in 0..10 {
            meter.read(&clean);
        }
        assert_eq!(meter.measured().unwrap().loss_ppm, 0);
    }
}
