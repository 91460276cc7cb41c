//! From nothing to the first answer: full, resumed, and with the first packets; in milliseconds
//! and in round trips of the relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypermesh_stoq::{Config, Endpoint, OpenOptions, Question, Service, Target};

use crate::measure::{runtime, serving};
use crate::relay;
use crate::world::{Takes, credentials, id};

/// Connections of each kind and distance.
const CONNECTIONS: usize = 15;

pub(crate) fn table() {
    let server = serving(|sender| async move {
        let authority = Arc::new(Takes(2));
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(id(1), bind, credentials(), authority);
        let mut asked = config.streams(Service::Invoke, 1..=1);
        let endpoint = Endpoint::bind(config).unwrap();
        sender.send(endpoint.local_address().unwrap()).unwrap();
        while let Some(mut stream) = asked.recv().await {
            tokio::spawn(async move {
                if let Ok(question) = stream.recv.read_to_end(100).await {
                    let _ = stream.send.write_all(&question).await;
                    let _ = stream.send.finish().await;
                }
            });
        }
    });
    println!(
        "{:<44} {:>8} {:>8} {:>8}",
        "connect to first answer (median)", "rtt ms", "ms", "rtts"
    );
    for rtt_ms in [0, 16, 100] {
        let relay = relay::start(server, Duration::from_millis(rtt_ms) / 2);
        for kind in ["full", "resumed", "early"] {
            let (median, rtt) = runtime().block_on(run(relay, kind));
            let name = format!("stoq::connect/kind={kind}");
            let (ms, rtt) = (median.as_secs_f64() * 1e3, rtt.as_secs_f64() * 1e3);
            let trips = ms / rtt;
            println!("{name:<44} {rtt:>8.2} {ms:>8.2} {trips:>8.2}");
        }
    }
}

/// The median time, and the round trip that QUIC measured over the relay.
async fn run(address: SocketAddr, kind: &str) -> (Duration, Duration) {
    let authority = Arc::new(Takes(1));
    let bind = "127.0.0.1:0".parse().unwrap();
    let endpoint = Endpoint::bind(Config::new(id(2), bind, credentials(), authority)).unwrap();
    let target = Target {
        node: Some(id(1)),
        addresses: vec![address],
    };
    let question = Question {
        service: Service::Invoke,
        options: OpenOptions {
            // Only these may go early; a resumed handshake is one with a ticket that waits.
            idempotent: kind == "early",
            ..OpenOptions::default()
        },
        request: &[1; 64],
        answer_bytes_max: 100,
    };
    let mut times = Vec::new();
    let mut rtt = Duration::MAX;
    for round in 0..=CONNECTIONS {
        if kind == "full" {
            // Forgets all tickets.
            endpoint.recheck();
        }
        let started = Instant::now();
        let answer = endpoint.ask(target.clone(), question).await.unwrap();
        let took = started.elapsed();
        // The first brings the ticket.
        if round > 0 {
            assert_eq!(answer.was_early, kind == "early", "{kind}");
            times.push(took);
        }
        let session = loop {
            match endpoint.session(&id(1)) {
                Some(session) => break session,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        // Tickets come after the handshake, and the round trip settles.
        tokio::time::sleep(Duration::from_millis(50) + session.info().rtt * 2).await;
        rtt = rtt.min(session.info().rtt);
        session.close("again");
        session.ended().await;
        while !endpoint.sessions().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The other end has to know as well, or it would take the next for a later one.
        tokio::time::sleep(Duration::from_millis(20) + rtt).await;
    }
    times.sort_unstable();
    (times[times.len() / 2], rtt)
}
