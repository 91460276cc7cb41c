//! Takes readings of all sessions at intervals and applies what follows from them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn::VarInt;

use crate::bounds::TIER_INTERVAL;
use crate::endpoint::Shared;
use crate::link::{Link, lock};
use crate::proto::Reading;

/// What had been counted at the last reading.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    at: Duration,
    bytes_sent: u64,
    bytes_lost: u64,
    bytes_received: u64,
    packets_sent: u64,
    packets_lost: u64,
}

/// Reads until the endpoint closes.
pub(crate) async fn watch(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(TIER_INTERVAL).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if shared.stop.is_cancelled() {
            return;
        }
        let links = lock(&shared.table).all();
        for link in links {
            read(&link);
        }
    }
}

fn read(link: &Arc<Link>) {
    let reading = {
        let mut counted = lock(&link.counted);
        counted.next(link)
    };
    lock(&link.meter).read(&reading);
    let Some(settings) = lock(&link.tier).read(&reading) else {
        return;
    };
    let window = VarInt::from_u32(settings.window_bytes);
    link.connection.set_receive_window(window);
    link.connection
        .set_send_window(u64::from(settings.window_bytes));
    if let Some(lever) = &link.lever {
        lever.set(settings.control);
    }
}

impl Counted {
    fn next(&mut self, link: &Link) -> Reading {
        let stats = link.connection.stats();
        let now = Self {
            at: link.since.elapsed(),
            bytes_sent: stats.udp_tx.bytes,
            bytes_lost: stats.path.lost_bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
        };
        let sent = now.bytes_sent.saturating_sub(self.bytes_sent);
        let lost = now.bytes_lost.saturating_sub(self.bytes_lost);
        let received = now.bytes_received.saturating_sub(self.bytes_received);
        let time = now.at.saturating_sub(self.at);
        let reading = Reading {
            at: now.at,
            sent_bits: per_second(sent.saturating_sub(lost), time),
            received_bits: per_second(received, time),
            // A cap says nothing about the path.
            is_pressed: link.lane.was_pressed() && link.lane.cap().is_none(),
            rtt: stats.path.rtt,
            rtt_min: link.connection.min_rtt(),
            packet_bytes: stats.path.current_mtu,
            packets_sent: now.packets_sent.saturating_sub(self.packets_sent),
            packets_lost: now.packets_lost.saturating_sub(self.packets_lost),
        };
        *self = now;
        reading
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000;
    u64::try_from(bits / time.as_micros().max(1)).unwrap_or(u64::MAX)
}
