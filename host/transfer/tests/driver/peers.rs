//! Peers in memory: each a store behind a server, with what it does to its answers.

use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hypermesh_transfer::{Pace, Server, Sources};
use storage::Artifacts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split};
use types::NodeId;

use crate::content;

/// What a peer does to the bytes that its server sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Nature {
    Honest,
    /// Changes a byte at this place of every answer.
    Lies(usize),
    /// Sends so many bytes of every answer, then nothing.
    Stalls(usize),
    /// Sends so many bytes of every answer, then closes.
    Cuts(usize),
    /// Cannot be reached.
    Absent,
    /// Sends bytes that mean nothing.
    Garbage,
    /// Waits before each piece of 64 KiB.
    Slow(Duration),
}

pub(crate) struct Peers {
    pub(crate) all: Vec<(Server, Nature)>,
    pub(crate) opened: Vec<AtomicUsize>,
}

impl Peers {
    pub(crate) fn new(peers: &[(&Artifacts, Nature)]) -> Self {
        let server = |artifacts: &Artifacts| Server::new(artifacts.clone(), 64);
        Self {
            all: peers
                .iter()
                .map(|(artifacts, nature)| (server(artifacts), *nature))
                .collect(),
            opened: peers.iter().map(|_| AtomicUsize::new(0)).collect(),
        }
    }
}

impl Sources for Peers {
    type Reader = ReadHalf<DuplexStream>;
    type Writer = WriteHalf<DuplexStream>;

    async fn open(&self, peer: NodeId) -> io::Result<(Self::Reader, Self::Writer)> {
        let number = usize::from(peer.as_bytes()[0]);
        self.opened[number].fetch_add(1, Ordering::Relaxed);
        let (server, nature) = self.all[number].clone();
        if matches!(nature, Nature::Absent) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(server, nature, theirs));
        Ok(split(ours))
    }

    fn pace(&self, _: NodeId) -> Pace {
        let number = |number| NonZeroU32::new(number).unwrap();
        Pace {
            asks: number(2),
            groups: number(32),
        }
    }
}

async fn serve(server: Server, nature: Nature, stream: DuplexStream) {
    let (requests, mut answers) = split(stream);
    if matches!(nature, Nature::Garbage) {
        let _ = answers.write_all(&content(10_000)).await;
        return;
    }
    // The server's end of a second pipe, so that what it sends can be changed on the way.
    let (mut sent, far) = tokio::io::duplex(64 << 10);
    let (_, writer) = split(far);
    tokio::spawn(async move { server.serve(requests, writer).await });
    let (mut at, mut piece) = (0, vec![0; 64 << 10]);
    while let Ok(read) = sent.read(&mut piece).await {
        if read == 0 {
            let _ = answers.shutdown().await;
            return;
        }
        let mut end = read;
        match nature {
            Nature::Lies(place) if (at..at + read).contains(&place) => piece[place - at] ^= 1,
            Nature::Stalls(bytes) | Nature::Cuts(bytes) => end = read.min(bytes.saturating_sub(at)),
            Nature::Slow(pause) => tokio::time::sleep(pause).await,
            _ => {}
        }
        at += read;
        if answers.write_all(&piece[..end]).await.is_err() {
            return;
        }
        if end < read {
            if matches!(nature, Nature::Stalls(_)) {
                // The stream stays open until who asked gives up.
                let _ = answers.flush().await;
                std::future::pending::<()>().await;
            }
            return;
        }
    }
}
