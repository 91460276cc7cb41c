//! Three days of two nodes in simulated time: real QUIC, TLS and certificates, the node's own
//! judgement of them, over a network in memory that loses packets. What is simulated is the clock
//! and the network, and the ledger is absent: certificates count as those of strangers.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stoq::{
    AsyncUdpSocket, Config, Endpoint, InboundStream, OpenOptions, RecvMeta, SendStream, Service,
    Session, Target, Transmit, UdpPoller,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use trust::{IssuedCertificate, SecretKey};
use types::{Digest, FabricId};

use super::recheck_at_ends;
use crate::clock::Clock;
use crate::peers::authority::Authority;
use crate::peers::credentials::shown;

const START_MS: u64 = 1_795_392_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// When a node renews: two thirds of a day.
const RENEWAL: Duration = Duration::from_secs(16 * 3_600);
const MINUTES: u32 = 72 * 60;
const STREAMS: usize = 4;
/// One of so many packets is lost.
const LOSS: u64 = 97;

/// Packets by the address that they are for.
#[derive(Debug, Default)]
struct Net {
    boxes: Mutex<BTreeMap<SocketAddr, Mailbox>>,
    sent: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Mailbox {
    packets: VecDeque<(SocketAddr, Vec<u8>)>,
    reader: Option<Waker>,
}

/// One address of it.
#[derive(Debug, Clone)]
struct Port {
    net: Arc<Net>,
    address: SocketAddr,
}

impl UdpPoller for Port {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Port {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Self::clone(&self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut sent = self.net.sent.lock().unwrap();
        *sent += 1;
        if sent.is_multiple_of(LOSS) {
            return Ok(());
        }
        let mut boxes = self.net.boxes.lock().unwrap();
        let mailbox = boxes.entry(transmit.destination).or_default();
        let packet = (self.address, transmit.contents.to_vec());
        mailbox.packets.push_back(packet);
        if let Some(reader) = mailbox.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut boxes = self.net.boxes.lock().unwrap();
        let mailbox = boxes.entry(self.address).or_default();
        let Some((source, packet)) = mailbox.packets.pop_front() else {
            mailbox.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        buffers[0][..packet.len()].copy_from_slice(&packet);
        metas[0] = RecvMeta {
            addr: source,
            len: packet.len(),
            stride: packet.len(),
            ..RecvMeta::default()
        };
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A node as far as its sessions go.
struct Node {
    endpoint: Endpoint,
    identity: SecretKey,
    streams: mpsc::Receiver<InboundStream>,
}

fn node(number: u8, net: &Arc<Net>, fabric: &FabricId, clock: &Clock) -> Node {
    let identity = SecretKey::from_seed(&[number; 32]);
    let issued = IssuedCertificate::issue(&identity, fabric, true, clock()).unwrap();
    let address = SocketAddr::from(([10, 0, 0, number], 7400));
    let authority = Arc::new(Authority::with_clock(*fabric, Arc::clone(clock)));
    let mut config = Config::new(identity.public(), address, shown(&issued), authority);
    let net = Arc::clone(net);
    config.socket(Arc::new(Port { net, address }));
    let streams = config.streams(Service::Control, 1..=1);
    let endpoint = Endpoint::bind(config).unwrap();
    tokio::spawn(recheck_at_ends(endpoint.clone(), Arc::clone(clock)));
    Node {
        endpoint,
        identity,
        streams,
    }
}

/// Renews every sixteen hours, the first time after `first`, and counts.
async fn renew(node: &Node, fabric: FabricId, clock: Clock, first: Duration, count: &Mutex<u32>) {
    tokio::time::sleep(first).await;
    loop {
        let issued = IssuedCertificate::issue(&node.identity, &fabric, true, clock()).unwrap();
        node.endpoint.set_credentials(shown(&issued)).unwrap();
        *count.lock().unwrap() += 1;
        tokio::time::sleep(RENEWAL).await;
    }
}

async fn echo(mut stream: InboundStream) {
    let mut word = [0; 8];
    while stream.recv.read_exact(&mut word).await.is_ok() {
        if stream.send.write_all(&word).await.is_err() {
            return;
        }
    }
}

async fn dial(from: &Node, to: &Node) -> Session {
    let target = Target {
        node: Some(to.endpoint.node()),
        addresses: vec![to.endpoint.local_address().unwrap()],
    };
    from.endpoint.dial(target).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn seventy_two_hours_of_rotation_drop_no_stream() {
    let (fabric, net) = (Digest::of(b"fabric"), Arc::<Net>::default());
    let begun = Instant::now();
    let clock: Clock =
        Arc::new(move || START_MS + u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    let one = node(1, &net, &fabric, &clock);
    let mut other = node(2, &net, &fabric, &clock);
    let idle = node(3, &net, &fabric, &clock);
    let session = dial(&one, &other).await;
    let unrenewed = dial(&idle, &one).await;
    let (mut serving, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let options = OpenOptions::default();
        let (mut send, recv) = session.open(Service::Control, options).await.unwrap();
        send.flush().await.unwrap();
        serving.push(tokio::spawn(echo(other.streams.recv().await.unwrap())));
        streams.push((send, recv));
    }
    let counts = [Mutex::new(0), Mutex::new(0)];
    // Not at the same time.
    let renewals = async {
        tokio::join!(
            renew(&one, fabric, Arc::clone(&clock), RENEWAL, &counts[0]),
            renew(&other, fabric, Arc::clone(&clock), 11 * HOUR, &counts[1]),
        )
    };
    let talk = async {
        for minute in 0..MINUTES {
            tokio::time::sleep(Duration::from_secs(60)).await;
            for (send, recv) in &mut streams {
                say(send, u64::from(minute)).await;
                let mut heard = [0; 8];
                recv.read_exact(&mut heard).await.unwrap();
                assert_eq!(u64::from_le_bytes(heard), u64::from(minute));
            }
        }
    };
    let ended = async {
        let reason = unrenewed.ended().await;
        (begun.elapsed(), reason)
    };
    let ((), (after, reason)) = tokio::select! {
        _ = renewals => unreachable!("it renews for ever"),
        both = async { tokio::join!(talk, ended) } => both,
    };
    assert!(session.is_live(), "the session has ended");
    assert!(session.info().age >= 72 * HOUR);
    assert_eq!(counts.map(|count| count.into_inner().unwrap()), [4, 4]);
    // Who does not renew shows that ends are effective here, too.
    let (least, most) = (23 * HOUR, 24 * HOUR + Duration::from_secs(300));
    assert!((least..most).contains(&after), "after {after:?}: {reason}");
}

async fn say(send: &mut SendStream, minute: u64) {
    send.write_all(&minute.to_le_bytes()).await.unwrap();
    send.flush().await.unwrap();
}
