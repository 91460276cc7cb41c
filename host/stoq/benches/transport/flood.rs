//! What a peer that floods or stalls does to the requests of another peer of the same node.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hypermesh_stoq::{
    CertificateDer, Config, Credentials, Endpoint, InboundStream, Occasion, OpenOptions, Peer,
    PeerAuthority, PeerRefusal, Service, ServiceSet, Session, Target, bounds,
};
use quinn::crypto::rustls::QuicClientConfig;

use crate::bare::client_tls;
use crate::measure::{Summary, median, runtime, serving};
use crate::stoq::{CHUNK_BYTES, answer, ask};
use crate::world::{Takes, credentials, id};

/// Requests of the honest peer in one run.
const REQUESTS: usize = 2_000;
/// Runs of each kind, taken in turns.
const ROUNDS: usize = 9;
/// For how long a flood flows before anything is measured.
const FLOWING: Duration = Duration::from_millis(300);
/// Requests that the flooder has under way: as many streams as the service lets one peer have.
const STREAMS: usize = 128;
/// Bulk streams that the staller never reads.
const STALLED: usize = 64;
/// Handshakes that are begun and never ended, again and again.
const HALVES: usize = 2_000;
/// Addresses that [`Beside::Forged`] sends from.
const SOURCES: u8 = 250;
/// Packets or datagrams between two looks at the clock.
const BURST: usize = 16;
/// Pause after each burst of first packets: two thousand handshakes a second are begun so. A flood
/// at the full rate of the machine fills the socket's buffer, which nobody above it can bound.
const BURST_PAUSE: Duration = Duration::from_millis(4);

/// What goes on beside the honest peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nothing: the baseline.
    Nobody,
    /// A thread that burns its core and speaks to nobody: what sharing the machine costs alone.
    Spinning,
    /// The requests of `Streams`, to another endpoint in a thread of its own: what making and
    /// answering them costs on the same cores.
    StreamsElsewhere,
    Streams,
    Datagrams,
    Stalling,
    /// The packets of `Handshakes`, to a socket whose reader throws them away: what sending and
    /// receiving them costs on the same cores, whatever the victim makes of them.
    Elsewhere,
    /// First packets of handshakes from one address.
    Handshakes,
    /// The same from as many addresses as there are packets in flight, as if they were forged.
    Forged,
}

const ALL: [Beside; 9] = [
    Beside::Nobody,
    Beside::Spinning,
    Beside::StreamsElsewhere,
    Beside::Streams,
    Beside::Datagrams,
    Beside::Stalling,
    Beside::Elsewhere,
    Beside::Handshakes,
    Beside::Forged,
];

/// Tells the flooder from the honest peer.
struct Told {
    flooder: CertificateDer<'static>,
}

impl PeerAuthority for Told {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let number = if chain.first() == Some(&self.flooder) {
            3
        } else {
            2
        };
        Ok(Peer::node(id(number), ServiceSet::ALL, "peer"))
    }
}

/// All runs beside one kind of peer.
struct Found {
    /// Of all requests together: a busy moment of the machine in one run is in it.
    all: Summary,
    /// The p99 of each run, the median of them.
    p99_us: f64,
    /// What the victim's thread used of a core before the honest peer asked, the median.
    used: f64,
}

/// What one run found.
struct Run {
    times: Vec<Duration>,
    used: f64,
}

/// The thread that all of the victim runs on.
#[derive(Clone)]
struct Victim {
    address: SocketAddr,
    /// What the system counts of it.
    schedstat: PathBuf,
}

impl Victim {
    /// Time on a core since it began. Unlike the time on the clock it does not grow when others
    /// use the machine.
    fn used(&self) -> Duration {
        let text = std::fs::read_to_string(&self.schedstat).unwrap();
        let nanos = text.split_whitespace().next().unwrap();
        Duration::from_nanos(nanos.parse().unwrap())
    }

    /// The share of a core that it uses for a while.
    fn share(&self) -> f64 {
        let (begun, before) = (Instant::now(), self.used());
        std::thread::sleep(FLOWING);
        (self.used() - before).as_secs_f64() / begun.elapsed().as_secs_f64()
    }
}

impl Found {
    fn of(runs: &[Run]) -> Self {
        let tails = runs.iter().map(|run| Summary::of(run.times.clone()).p99_us);
        let mut used: Vec<f64> = runs.iter().map(|run| run.used).collect();
        let all: Vec<&[Duration]> = runs.iter().map(|run| &*run.times).collect();
        Self {
            all: Summary::of(all.concat()),
            p99_us: median(&mut tails.collect::<Vec<f64>>()),
            used: median(&mut used),
        }
    }
}

/// Prints p50 and p99 of 64 bytes there and back beside each kind of peer, and the factors.
pub(crate) fn table() {
    let shown = credentials();
    let flooder = (shown.chain.clone(), shown.key.clone_key());
    let told = shown.chain[0].clone();
    let also_told = told.clone();
    let bystander = serving(move |sender| victim(also_told, sender));
    let victim = serving(move |sender| victim(told, sender));
    let mut all = ALL.map(|beside| (beside, Vec::new()));
    for round in 0..=ROUNDS {
        for (beside, runs) in &mut all {
            let (chain, key) = &flooder;
            let credentials = Credentials {
                chain: chain.clone(),
                key: key.clone_key(),
            };
            let flooded = match beside {
                Beside::StreamsElsewhere => bystander.address,
                _ => victim.address,
            };
            let run = run(*beside, &victim, flooded, credentials);
            if matches!(beside, Beside::Handshakes | Beside::Forged) {
                // What was begun is over before the next is measured.
                std::thread::sleep(bounds::HANDSHAKE_TIME);
            }
            // The first warms up.
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let all = all.map(|(beside, runs)| (beside, Found::of(&runs)));
    let of = |wanted| all.iter().find(|(beside, _)| *beside == wanted).unwrap();
    let (_, alone) = of(Beside::Nobody);
    let (_, elsewhere) = of(Beside::Elsewhere);
    let (_, asked_elsewhere) = of(Beside::StreamsElsewhere);
    println!("64 bytes there and back, us; p99 of all requests, and the median of the runs' p99;");
    println!(
        "factors beside nobody, and beside the same to another: requests to another endpoint,"
    );
    println!("packets to a socket of nobody's;");
    println!("what the victim used of one core while only the other peer spoke");
    println!(
        "{:<36} {:>8} {:>8} {:>8} {:>8} {:>8} {:>12} {:>8}",
        "", "p50", "p99", "x alone", "median", "x alone", "x elsewhere", "core, %"
    );
    for (beside, found) in &all {
        let same_elsewhere = match beside {
            Beside::StreamsElsewhere | Beside::Streams => asked_elsewhere,
            _ => elsewhere,
        };
        let name = format!("stoq::flood/beside={beside:?}").to_lowercase();
        println!(
            "{name:<36} {} {:>8.2} {:>8.1} {:>8.2} {:>12.2} {:>8.2}",
            found.all,
            found.all.p99_us / alone.all.p99_us,
            found.p99_us,
            found.p99_us / alone.p99_us,
            found.p99_us / same_elsewhere.p99_us,
            found.used * 100.0,
        );
    }
}

/// Answers, pours bulk into whoever asks for it, and takes datagrams.
async fn victim(flooder: CertificateDer<'static>, sender: Sender<Victim>) {
    let authority = Arc::new(Told { flooder });
    let mut config = config(1, credentials(), authority);
    let mut asked = config.streams(Service::Invoke, 1..=1);
    let mut bulk = config.streams(Service::Artifact, 1..=1);
    let mut datagrams = config.datagrams(Service::Gossip);
    let endpoint = Endpoint::bind(config).unwrap();
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let victim = Victim {
        address: endpoint.local_address().unwrap(),
        schedstat: Path::new("/proc").join(thread).join("schedstat"),
    };
    sender.send(victim).unwrap();
    loop {
        tokio::select! {
            Some(stream) = asked.recv() => { tokio::spawn(answer(stream)); }
            Some(stream) = bulk.recv() => { tokio::spawn(pour(stream)); }
            Some(_) = datagrams.recv() => {}
        }
    }
}

/// Writes until the peer is gone.
async fn pour(mut stream: InboundStream) {
    let chunk = Bytes::from(vec![7; CHUNK_BYTES]);
    while stream.send.write_chunk(chunk.clone()).await.is_ok() {}
}

fn config(number: u8, shown: Credentials, authority: Arc<dyn PeerAuthority>) -> Config {
    Config::new(id(number), "127.0.0.1:0".parse().unwrap(), shown, authority)
}

/// The times of an honest peer's requests while something else goes on.
fn run(beside: Beside, to: &Victim, flooded: SocketAddr, flooder: Credentials) -> Run {
    let stop = Arc::new(AtomicBool::new(false));
    let honest = runtime();
    let (endpoint, session) = honest.block_on(dial(2, credentials(), to.address));
    let (ready, readied) = channel();
    let told = Arc::clone(&stop);
    let flood = std::thread::spawn(move || {
        runtime().block_on(flood(beside, flooded, flooder, &ready, &told));
    });
    readied.recv().unwrap();
    std::thread::sleep(FLOWING);
    let used = to.share();
    let times = honest.block_on(async {
        let times = ask(&session, REQUESTS).await;
        endpoint.close("measured").await;
        times
    });
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    Run { times, used }
}

/// A session with the victim; a crowded one may refuse at first.
async fn dial(number: u8, shown: Credentials, victim: SocketAddr) -> (Endpoint, Session) {
    let endpoint = Endpoint::bind(config(number, shown, Arc::new(Takes(1)))).unwrap();
    let target = Target {
        node: Some(id(1)),
        addresses: vec![victim],
    };
    for _ in 0..100 {
        if let Ok(session) = endpoint.dial(target.clone()).await {
            return (endpoint, session);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never let in");
}

async fn flood(
    beside: Beside,
    victim: SocketAddr,
    shown: Credentials,
    ready: &Sender<()>,
    stop: &Arc<AtomicBool>,
) {
    let over = || stop.load(Ordering::Relaxed);
    match beside {
        Beside::Nobody | Beside::Spinning => {
            ready.send(()).unwrap();
            while beside == Beside::Spinning && !over() {
                std::hint::spin_loop();
            }
            return;
        }
        Beside::Elsewhere | Beside::Handshakes | Beside::Forged => {
            return begin(beside, victim, shown, ready, stop);
        }
        Beside::StreamsElsewhere | Beside::Streams | Beside::Datagrams | Beside::Stalling => {}
    }
    let (endpoint, session) = dial(3, shown, victim).await;
    ready.send(()).unwrap();
    match beside {
        Beside::Streams | Beside::StreamsElsewhere => many_streams(&session, stop).await,
        Beside::Datagrams => {
            while !over() {
                for _ in 0..BURST {
                    // A full buffer loses the oldest, as a flooder expects.
                    let _ = session.send_datagram(Service::Gossip, &[1; 1_000]);
                }
                tokio::task::yield_now().await;
            }
        }
        _ => {
            let mut stalled = Vec::new();
            for _ in 0..STALLED {
                let options = OpenOptions::default();
                let opened = session.open(Service::Artifact, options).await;
                let (mut send, recv) = opened.unwrap();
                send.write_all(&[1; 64]).await.unwrap();
                stalled.push((send, recv));
            }
            while !over() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    endpoint.close("over").await;
}

/// First packets of handshakes, burst after burst.
fn begin(
    beside: Beside,
    victim: SocketAddr,
    shown: Credentials,
    ready: &Sender<()>,
    stop: &Arc<AtomicBool>,
) {
    let packets = first_packets(shown, victim);
    let target = if beside == Beside::Elsewhere {
        throwing_away(stop)
    } else {
        victim
    };
    let sources = if beside == Beside::Forged { SOURCES } else { 1 };
    // All of 127.0.0.0/8 is this machine.
    let sockets =
        (1..=sources).map(|number| UdpSocket::bind((Ipv4Addr::new(127, 0, 1, number), 0)).unwrap());
    let sockets: Vec<UdpSocket> = sockets.collect();
    let mut sources = sockets.iter().cycle();
    ready.send(()).unwrap();
    for some in packets.chunks(BURST).cycle() {
        for (packet, socket) in some.iter().zip(&mut sources) {
            // What the system drops is lost as on any way.
            let _ = socket.send_to(packet, target);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(BURST_PAUSE);
    }
}

/// Where packets are taken one by one, as an endpoint would, and nothing is made of them.
fn throwing_away(stop: &Arc<AtomicBool>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(FLOWING)).unwrap();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut packet = [0; 2_048];
        while !stop.load(Ordering::Relaxed) {
            // Silence is no reason to end.
            let _ = socket.recv(&mut packet);
        }
    });
    address
}

/// As many requests at once as a peer may have, one after another in each place.
async fn many_streams(session: &Session, stop: &Arc<AtomicBool>) {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let (session, stop) = (session.clone(), Arc::clone(stop));
        all.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let options = OpenOptions::default();
                let Ok((mut send, mut recv)) = session.open(Service::Invoke, options).await else {
                    continue;
                };
                // A refusal is an answer: the flooder asks again.
                let sent = send.write_all(&[1; 64]).await.is_ok();
                if sent && send.finish().await.is_ok() {
                    let _ = recv.read_exact(&mut [0; 64]).await;
                }
            }
        });
    }
    while all.join_next().await.is_some() {}
}

/// The first packets of many handshakes, made before anything is measured.
fn first_packets(shown: Credentials, victim: SocketAddr) -> Vec<Vec<u8>> {
    let mut tls = client_tls(shown.chain[0].clone());
    tls.alpn_protocols = vec![b"stoq/1".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let settings = Arc::new(quinn_proto::EndpointConfig::default());
    let mut endpoint = quinn_proto::Endpoint::new(settings, None, false, None);
    let mut packets = Vec::new();
    for _ in 0..HALVES {
        let now = Instant::now();
        let begun = endpoint.connect(now, config.clone(), victim, "node.stoq");
        let (_, mut connection) = begun.unwrap();
        let mut packet = Vec::new();
        while connection.poll_transmit(now, 1, &mut packet).is_some() {
            packets.push(std::mem::take(&mut packet));
        }
    }
    packets
}
