//! A join through somebody who stands in between: everything that it passes on is genuine, and it
//! is found out by the one thing that it cannot have. Knows nothing of how the join is done.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypermesh_node::{Config, Entrance, JoinError, Node, StartNodeError};
use stoq::{
    CertificateDer, Credentials, Direction, Endpoint, InboundStream, Occasion, OpenOptions, Peer,
    PeerAuthority, PeerRefusal, PrivateKeyDer, Service, ServiceSet, SessionEvent, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use trust::{IssuedCertificate, PresentedCertificate, SecretKey, Ticket};
use types::FabricId;

/// Version of what nodes say to each other, and of the admin API over STOQ.
const VERSION: u16 = 1;
/// Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
const LOCALHOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Takes whoever comes.
struct Anybody;

impl PeerAuthority for Anybody {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let read = PresentedCertificate::read(&chain[0]).unwrap();
        Ok(Peer::node(*read.subject.key(), ServiceSet::ALL, "anybody"))
    }
}

/// One that answers in place of a member, with an identity and a certificate of its own making.
struct Middle {
    endpoint: Endpoint,
    streams: mpsc::Receiver<InboundStream>,
    /// Bytes of the ledger's messages that went from the member to the newcomer.
    ledger_bytes: Arc<AtomicU64>,
}

impl Middle {
    fn new(fabric: &FabricId) -> Self {
        let identity = SecretKey::from_seed(&[7; 32]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_ms = u64::try_from(now.as_millis()).unwrap();
        let issued = IssuedCertificate::issue(&identity, fabric, true, now_ms).unwrap();
        let shown = Credentials {
            chain: vec![CertificateDer::from(issued.der.clone())],
            key: PrivateKeyDer::Pkcs8(issued.key_der.to_vec().into()),
        };
        let mut config = stoq::Config::new(identity.public(), LOCALHOST, shown, Arc::new(Anybody));
        let (all, streams) = mpsc::channel(64);
        for service in [Service::Consensus, Service::Control] {
            let mut served = config.streams(service, VERSION..=VERSION);
            let all = all.clone();
            tokio::spawn(async move {
                while let Some(stream) = served.recv().await {
                    all.send(stream).await.unwrap();
                }
            });
        }
        Self {
            endpoint: Endpoint::bind(config).unwrap(),
            streams,
            ledger_bytes: Arc::default(),
        }
    }

    /// Waits for a newcomer, then passes every stream on, both ways, to and from `member`.
    async fn relay(mut self, member: SocketAddr) {
        let mut events = self.endpoint.events();
        let newcomer = loop {
            if let SessionEvent::Up(session) = events.recv().await.unwrap()
                && session.direction() == Direction::Inbound
            {
                break session;
            }
        };
        let target = Target {
            node: None,
            addresses: vec![member],
        };
        let member = self.endpoint.dial(target).await.unwrap();
        while let Some(stream) = self.streams.recv().await {
            let is_from_member = stream.session.peer_id() == member.peer_id();
            let to = if is_from_member { &newcomer } else { &member };
            let service = stream.header.service;
            let opened = to.open(service, OpenOptions::default()).await;
            // The other end is gone: so is the test.
            let Ok((mut send, mut recv)) = opened else {
                return;
            };
            let is_counted = is_from_member && service == Service::Consensus;
            let ledger_bytes = Arc::clone(&self.ledger_bytes);
            let InboundStream {
                send: mut back,
                recv: mut from,
                ..
            } = stream;
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = AsyncReadExt::read(&mut from, &mut buffer).await {
                    if is_counted {
                        let bytes = u64::try_from(read).unwrap();
                        ledger_bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                    if AsyncWriteExt::write_all(&mut send, &buffer[..read])
                        .await
                        .is_err()
                        || AsyncWriteExt::flush(&mut send).await.is_err()
                    {
                        return;
                    }
                }
                drop(AsyncWriteExt::shutdown(&mut send).await);
            });
            tokio::spawn(async move {
                drop(tokio::io::copy(&mut recv, &mut back).await);
                drop(AsyncWriteExt::shutdown(&mut back).await);
            });
        }
    }
}

fn config(data_dir: &Path) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        stoq: Some(LOCALHOST),
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_relays_a_genuine_ledger_under_an_own_name_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let founder = Node::start(config(&folder.path().join("founder")))
        .await
        .unwrap();
    let (fabric, member) = (founder.fabric(), founder.stoq_address().unwrap());
    let middle = Middle::new(&fabric);
    let (between, ledger_bytes) = (middle.endpoint.node(), Arc::clone(&middle.ledger_bytes));
    // The way to the member leads to the one in between, as on a network that it controls.
    let misled = vec![middle.endpoint.local_address().unwrap()];
    let ticket = Ticket::generate(fabric, misled, u32::MAX).unwrap();
    let relaying = tokio::spawn(middle.relay(member));

    let newcomer = folder.path().join("newcomer");
    let entrance = Entrance::Ticket(ticket);
    let joined = Node::join(config(&newcomer), &entrance);
    let joined = tokio::time::timeout(PATIENCE, joined).await.unwrap();
    let error = joined.err().unwrap();
    let StartNodeError::Join(JoinError::NeverLogged { node, fabric: of }) = &error else {
        panic!("{error}");
    };
    assert_eq!((*node, *of), (between, fabric));
    // It was not the ledger that was missing: it was read through the one in between.
    assert!(ledger_bytes.load(Ordering::Relaxed) > 0);
    relaying.abort();
    founder.stop(Duration::ZERO).await;
}
