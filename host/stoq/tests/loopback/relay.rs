//! A UDP relay between one client and one server: it counts, delays, records and replays.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// Passes packets to `server` and back, each after `delay`.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// What the client sent, in order; not kept when packets are lost.
    pub(crate) sent: Arc<Mutex<Vec<Vec<u8>>>>,
    is_cut: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr, delay: Duration) -> Self {
        Self::with(server, delay, usize::MAX, usize::MAX).await
    }

    /// Loses one packet in `one_in`, in either direction.
    pub(crate) async fn lossy(server: SocketAddr, delay: Duration, one_in: usize) -> Self {
        Self::with(server, delay, one_in, usize::MAX).await
    }

    /// Loses what is longer than a path takes, in either direction.
    pub(crate) async fn narrow(server: SocketAddr, bytes_max: usize) -> Self {
        Self::with(server, Duration::ZERO, usize::MAX, bytes_max).await
    }

    async fn with(server: SocketAddr, delay: Duration, one_in: usize, bytes_max: usize) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let is_cut = Arc::<AtomicBool>::default();
        Self {
            address: front.local_addr().unwrap(),
            sent: sent.clone(),
            is_cut: is_cut.clone(),
            _task: AbortOnDropHandle::new(tokio::spawn(pass(
                front,
                back,
                (server, delay, one_in, bytes_max),
                sent,
                is_cut,
            ))),
        }
    }

    /// Loses everything from now on, or nothing more.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

async fn pass(
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    (server, delay, one_in, bytes_max): (SocketAddr, Duration, usize, usize),
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    is_cut: Arc<AtomicBool>,
) {
    let mut client = None;
    let mut passed = 0_usize;
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut up) => {
                client = Some(from);
                if is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                let packet = up[..length].to_vec();
                if one_in == usize::MAX {
                    sent.lock().unwrap().push(packet.clone());
                }
                passed += 1;
                if !passed.is_multiple_of(one_in) && length <= bytes_max {
                    later(back.clone(), packet, server, delay);
                }
            }
            Ok((length, _)) = back.recv_from(&mut down) => {
                if is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                passed += 1;
                if let Some(client) = client
                    && !passed.is_multiple_of(one_in)
                    && length <= bytes_max
                {
                    later(front.clone(), down[..length].to_vec(), client, delay);
                }
            }
        }
    }
}

fn later(socket: Arc<UdpSocket>, packet: Vec<u8>, to: SocketAddr, delay: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = socket.send_to(&packet, to).await;
    });
}
