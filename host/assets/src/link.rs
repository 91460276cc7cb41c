//! Leased transport: what goes over all connections of one lease, within its rate. Knows no socket and no
//! lease.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::{TakeError, TokenBucket};

/// Connections of one link at once: a node takes 32 streams of another, and other leases are to have
/// some.
pub const CONNECTIONS_PER_LINK_MAX: usize = 16;
/// Bytes that wait for their turn in one connection, each way: few beside the least burst, so that
/// connections of one link take turns.
const CHUNK_BYTES: usize = 16 << 10;

/// Which way bytes go, seen from whoever leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To what was dialled.
    Out,
    /// From it.
    In,
}

/// The rate of one lease, and what went at it.
#[derive(Debug)]
pub struct Link {
    bytes_per_s: u64,
    bucket: Mutex<TokenBucket>,
    sent: AtomicU64,
    received: AtomicU64,
    places: Arc<Semaphore>,
}

/// What a link carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkUse {
    /// What was leased.
    pub bytes_per_s: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Connections that are open.
    pub connections: u32,
}

impl Link {
    /// A link that carries so much from `now` on.
    #[must_use]
    pub fn new(bytes_per_s: u64, now: Instant) -> Self {
        Self {
            bytes_per_s,
            bucket: Mutex::new(TokenBucket::new(bytes_per_s, now)),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(CONNECTIONS_PER_LINK_MAX)),
        }
    }

    /// The right to one more connection, as long as it is held; none if there are as many as may be.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// What it carried.
    #[must_use]
    pub fn used(&self) -> LinkUse {
        let open = CONNECTIONS_PER_LINK_MAX.saturating_sub(self.places.available_permits());
        LinkUse {
            bytes_per_s: self.bytes_per_s,
            sent_bytes: self.sent.load(Ordering::Relaxed),
            received_bytes: self.received.load(Ordering::Relaxed),
            connections: u32::try_from(open).unwrap_or(u32::MAX),
        }
    }

    /// Waits until so many bytes may go, and counts them.
    async fn spend(&self, way: Way, bytes: usize) {
        let bytes = bytes as u64;
        loop {
            let taken = {
                let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
                bucket.take(bytes, Instant::now())
            };
            match taken {
                Err(TakeError::Wait { wait }) => tokio::time::sleep(wait).await,
                // No more than a chunk is asked for, which every burst has.
                Ok(()) | Err(TakeError::BeyondBurst { .. }) => break,
            }
        }
        let count = match way {
            Way::Out => &self.sent,
            Way::In => &self.received,
        };
        count.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reads what is there, at most as many bytes; none at the end. What was read waits for its turn.
    ///
    /// # Errors
    /// What the reader reports.
    pub async fn read(
        &self,
        way: Way,
        reader: &mut (impl AsyncRead + Unpin),
        bytes_max: usize,
    ) -> io::Result<Vec<u8>> {
        let mut chunk = vec![0; bytes_max.min(CHUNK_BYTES)];
        let count = reader.read(&mut chunk).await?;
        chunk.truncate(count);
        self.spend(way, count).await;
        Ok(chunk)
    }

    /// Writes bytes, each chunk once it may go.
    ///
    /// # Errors
    /// What the writer reports; some may have been written.
    pub async fn write(
        &self,
        way: Way,
        writer: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.spend(way, chunk.len()).await;
            writer.write_all(chunk).await?;
        }
        writer.flush().await
    }

    /// Carries what comes from `reader` to `writer` until its end, which is passed on.
    ///
    /// # Errors
    /// What either reports.
    pub async fn carry(
        &self,
        way: Way,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        loop {
            let chunk = self.read(way, reader, CHUNK_BYTES).await?;
            if chunk.is_empty() {
                return writer.shutdown().await;
            }
            writer.write_all(&chunk).await?;
            writer.flush().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_carried_comes_whole_is_counted_and_its_end_is_passed_on() {
        let link = Link::new(64 << 20, Instant::now());
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut near, mut far) = tokio::io::duplex(1_000);
        let carried = async {
            link.carry(Way::Out, &mut content.as_slice(), &mut near)
                .await
                .unwrap();
        };
        let mut arrived = Vec::new();
        let (_, read) = tokio::join!(carried, far.read_to_end(&mut arrived));
        read.unwrap();
        assert!(arrived == content);
        link.write(Way::In, &mut arrived, b"abc").await.unwrap();
        let used = link.used();
        assert_eq!((used.sent_bytes, used.received_bytes), (800_000, 3));
    }

    #[tokio::test]
    async fn all_connections_of_a_link_keep_to_its_rate_both_ways_together() {
        let rate = 1 << 20;
        let begun = Instant::now();
        let link = Link::new(rate, begun);
        let content = vec![7; 256 << 10];
        let one = async {
            let mut sink = tokio::io::sink();
            link.carry(Way::Out, &mut content.as_slice(), &mut sink)
                .await
        };
        let other = async {
            let mut sink = tokio::io::sink();
            link.carry(Way::In, &mut content.as_slice(), &mut sink)
                .await
        };
        let (one, other) = tokio::join!(one, other);
        one.unwrap();
        other.unwrap();
        let used = link.used();
        let gone = used.sent_bytes + used.received_bytes;
        assert_eq!(gone, 512 << 10);
        // No sooner than the rate allows, after the first burst; how much later is the machine's.
        let earned = gone - (rate / 10).max(64 << 10);
        let least = Duration::from_millis(earned * 1_000 / rate);
        assert!(
            begun.elapsed() >= least,
            "{:?} of {least:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn connections_of_a_link_are_counted_and_bounded() {
        let link = Link::new(1, Instant::now());
        let mut places: Vec<_> = std::iter::from_fn(|| link.place()).collect();
        assert_eq!(places.len(), CONNECTIONS_PER_LINK_MAX);
        assert_eq!(link.used().connections, 16);
        places.pop();
        assert_eq!(link.used().connections, 15);
        assert!(link.place().is_some());
    }
}
