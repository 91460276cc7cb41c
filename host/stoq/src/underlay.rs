//! What QUIC sends through: the UDP socket, and relays for connections that have no other way.
//! Direct packets go to the socket untouched, with all that the system can do for them.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};

use crate::circuit::{Circuits, is_place};
use crate::gate::Gate;

/// A socket that also knows the relayed ways.
#[derive(Debug)]
pub(crate) struct Underlay {
    socket: Arc<dyn AsyncUdpSocket>,
    is_ipv6: bool,
    circuits: Arc<Circuits>,
    gate: Arc<Gate>,
}

impl Underlay {
    /// Both ways over `socket`. Needs a tokio runtime.
    pub(crate) fn new(
        socket: UdpSocket,
        circuits: &Arc<Circuits>,
        gate: &Arc<Gate>,
    ) -> io::Result<Arc<Self>> {
        Self::over(TokioRuntime.wrap_udp_socket(socket)?, circuits, gate)
    }

    /// As [`Self::new`], over whatever carries packets.
    pub(crate) fn over(
        socket: Arc<dyn AsyncUdpSocket>,
        circuits: &Arc<Circuits>,
        gate: &Arc<Gate>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            is_ipv6: socket.local_addr()?.is_ipv6(),
            socket,
            circuits: circuits.clone(),
            gate: gate.clone(),
        }))
    }

    /// `address` as QUIC writes it for this socket.
    fn as_seen(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.is_ipv6 => {
                SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))
            }
            other => other,
        }
    }
}

impl AsyncUdpSocket for Underlay {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !is_place(transmit.destination) {
            return self.socket.try_send(transmit);
        }
        let (to, segment) = (transmit.destination, transmit.segment_size);
        self.circuits.send(to, transmit.contents, segment);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // What relays brought came through the socket: taking it first starves nobody for long.
        let taken = self.circuits.take(context, buffers, metas);
        if taken > 0 {
            for meta in metas.iter_mut().take(taken) {
                meta.addr = self.as_seen(meta.addr);
            }
            return Poll::Ready(Ok(taken));
        }
        let received = self.socket.poll_recv(context, buffers, metas);
        if let Poll::Ready(Ok(received)) = &received {
            for (meta, buffer) in metas.iter_mut().zip(buffers.iter()).take(*received) {
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                // A forged source must not pass for a relayed one.
                if is_place(meta.addr) || !self.gate.admits(meta.addr, bytes, meta.stride) {
                    meta.len = 0;
                }
            }
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}
