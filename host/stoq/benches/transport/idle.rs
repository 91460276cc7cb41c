//! What idle sessions cost in memory. Both ends are in this process: an end costs half of it.

use std::sync::Arc;

use hypermesh_stoq::{
    CertificateDer, Config, Endpoint, Occasion, Peer, PeerAuthority, PeerRefusal, ServiceSet,
    Target,
};

use crate::measure::runtime;
use crate::world::{credentials, id};

/// Takes everyone for a peer that may have many sessions.
struct Many;

impl PeerAuthority for Many {
    fn judge(&self, _: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let mut peer = Peer::node(id(9), ServiceSet::ALL, "one of many");
        peer.single = false;
        Ok(peer)
    }
}

pub(crate) fn table() {
    println!(
        "{:<44} {:>8} {:>8}",
        "idle sessions, both ends", "MiB", "KiB each"
    );
    runtime().block_on(async {
        let bind = "127.0.0.1:0".parse().unwrap();
        let start = |number| {
            Endpoint::bind(Config::new(id(number), bind, credentials(), Arc::new(Many))).unwrap()
        };
        let (server, client) = (start(1), start(2));
        let target = Target {
            node: None,
            addresses: vec![server.local_address().unwrap()],
        };
        let empty = resident_kib();
        let mut sessions = 0_u32;
        for count in [100, 1_000, 3_000] {
            while sessions < count {
                client.dial(target.clone()).await.unwrap();
                sessions += 1;
            }
            let used = f64::from(resident_kib() - empty);
            let name = format!("stoq::idle/sessions={count}");
            let each = used / f64::from(count);
            println!("{name:<44} {:>8.1} {each:>8.1}", used / 1_024.0);
        }
    });
}

/// Resident memory of this process.
fn resident_kib() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
