//! STOQ under measurement: `artifact` takes bulk, `invoke` answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hypermesh_stoq::{Config, Endpoint, InboundStream, OpenOptions, Service, Session, Target};
use tokio::task::JoinSet;

use crate::measure::{gbits, runtime, serving};
use crate::world::{Takes, credentials, id};

/// Bytes of one write.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

pub(crate) struct Ends {
    runtime: tokio::runtime::Runtime,
    session: Session,
    _endpoint: Endpoint,
}

impl Ends {
    pub(crate) fn start() -> Self {
        let address = serving(|sender| async move {
            let mut config = config(1);
            let mut bulk = config.streams(Service::Artifact, 1..=1);
            let mut ask = config.streams(Service::Invoke, 1..=1);
            let endpoint = Endpoint::bind(config).unwrap();
            sender.send(endpoint.local_address().unwrap()).unwrap();
            loop {
                tokio::select! {
                    Some(stream) = bulk.recv() => { tokio::spawn(count(stream)); }
                    Some(stream) = ask.recv() => { tokio::spawn(answer(stream)); }
                }
            }
        });
        let runtime = runtime();
        let (endpoint, session) = runtime.block_on(async {
            let endpoint = Endpoint::bind(config(2)).unwrap();
            let target = Target {
                node: Some(id(1)),
                addresses: vec![address],
            };
            let session = endpoint.dial(target).await.unwrap();
            (endpoint, session)
        });
        Self {
            runtime,
            session,
            _endpoint: endpoint,
        }
    }

    pub(crate) fn bulk(&mut self, bytes: u64, streams: u64) -> f64 {
        let session = self.session.clone();
        let started = Instant::now();
        self.runtime.block_on(async {
            let mut all = JoinSet::new();
            for _ in 0..streams {
                all.spawn(send_bulk(session.clone(), bytes / streams));
            }
            while let Some(sent) = all.join_next().await {
                sent.unwrap();
            }
        });
        gbits(bytes, started.elapsed())
    }

    pub(crate) fn ask(&mut self, requests: usize) -> Vec<Duration> {
        let session = self.session.clone();
        self.runtime.block_on(ask(&session, requests))
    }

    pub(crate) fn describe(&self) -> String {
        let info = self.session.info();
        format!(
            "packets of {} bytes, {} of {} lost, tier {}, {:?}",
            info.mtu_bytes, info.packets_lost, info.packets_sent, info.tier, info.settings
        )
    }
}

fn config(number: u8) -> Config {
    let authority = Arc::new(Takes(3 - number));
    Config::new(
        id(number),
        "127.0.0.1:0".parse().unwrap(),
        credentials(),
        authority,
    )
}

/// How long each of `requests` took, one after another, each on a stream of its own.
pub(crate) async fn ask(session: &Session, requests: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let started = Instant::now();
        let (mut send, mut recv) = session
            .open(Service::Invoke, OpenOptions::default())
            .await
            .unwrap();
        send.write_all(&[1; 64]).await.unwrap();
        send.finish().await.unwrap();
        recv.read_exact(&mut [0; 64]).await.unwrap();
        times.push(started.elapsed());
    }
    times
}

async fn send_bulk(session: Session, bytes: u64) {
    let (mut send, mut recv) = session
        .open(Service::Artifact, OpenOptions::default())
        .await
        .unwrap();
    let chunk = Bytes::from(vec![7; CHUNK_BYTES]);
    let mut left = usize::try_from(bytes).unwrap();
    while left > 0 {
        let now = left.min(CHUNK_BYTES);
        send.write_chunk(chunk.slice(..now)).await.unwrap();
        left -= now;
    }
    send.finish().await.unwrap();
    let mut counted = [0; 8];
    recv.read_exact(&mut counted).await.unwrap();
    assert_eq!(u64::from_le_bytes(counted), bytes);
}

async fn count(mut stream: InboundStream) {
    let mut counted = 0_u64;
    while let Some(chunk) = stream.recv.read_chunk(usize::MAX).await.unwrap() {
        counted += chunk.len() as u64;
    }
    stream.send.write_all(&counted.to_le_bytes()).await.unwrap();
    stream.send.finish().await.unwrap();
}

/// Answers 64 bytes with the same.
pub(crate) async fn answer(mut stream: InboundStream) {
    let mut question = [0; 64];
    if stream.recv.read_exact(&mut question).await.is_ok() {
        let _ = stream.send.write_all(&question).await;
        let _ = stream.send.finish().await;
    }
}
