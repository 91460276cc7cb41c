//! A UDP relay between one client and one server: it counts, delays, records and replays.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// Passes packets to `server` and back, each after `delay`.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// What the client sent, in order; not kept when packets are lost.
    pub(crate) sent: Arc<Mutex<Vec<Vec<u8>>>>,
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
        Self {
            address: front.local_addr().unwrap(),
            sent: sent.clone(),
            _task: AbortOnDropHandle::new(tokio::spawn(pass(
                front,
                back,
                (server, delay, one_in, bytes_max),
                sent,
            ))),
        }
    }
}

async fn pass(
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    (server, delay, one_in, bytes_max): (SocketAddr, Duration, usize, usize),
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let mut client = None;
    let mut passed = 0_usize;
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut up) => {
                client = Some(from);
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
