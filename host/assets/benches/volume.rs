//! What cutting, completing and sealing costs: writing and reading 16 MiB on volumes of every layout,
//! beside copying the same blocks into a map, in the same run. The members are in memory, so that nothing
//! else is measured. `cargo bench -p hypermesh-assets --bench volume [-- MEBIBYTES]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hypermesh_assets::volume::{
    BLOCK_BYTES, BLOCKS_FILE, BlockKey, Layout, Member, MemberAsked, MemberDone, MemberError,
    MemberOp, SPAN_BYTES_MAX, Seat, Version, Volume, VolumeKey,
};

const MEBIBYTES: usize = 16;

/// The pieces of one member, the last version of each.
#[derive(Debug, Default)]
struct Kept(Mutex<BTreeMap<BlockKey, (Version, Vec<u8>)>>);

impl Member for Kept {
    fn ask(&self, operation: MemberOp) -> MemberAsked<'_> {
        let done = self.apply(operation);
        Box::pin(async move { done })
    }
}

impl Kept {
    fn apply(&self, operation: MemberOp) -> Result<MemberDone, MemberError> {
        let mut kept = self.0.lock().unwrap();
        Ok(match operation {
            MemberOp::Epoch => MemberDone::Epoch(0),
            MemberOp::Versions { keys } => {
                let of = |key| kept.get(key).map(|(version, _)| *version);
                MemberDone::Versions(
                    keys.iter()
                        .map(|key| of(key).into_iter().collect())
                        .collect(),
                )
            }
            MemberOp::Read { key, .. } => MemberDone::Read(kept.get(&key).cloned()),
            MemberOp::Write {
                key,
                version,
                bytes,
                ..
            } => {
                kept.insert(key, (version, bytes));
                MemberDone::Done
            }
            _ => MemberDone::Done,
        })
    }
}

fn report(name: &str, bytes: usize, took: Duration) {
    let mib = bytes as f64 / f64::from(1 << 20);
    let each = took.as_secs_f64() * 1e6 / mib;
    let rate = mib / took.as_secs_f64();
    println!("assets::volume/{name}: {each:.0} us per MiB, {rate:.0} MiB/s");
}

/// The same blocks, copied and nothing else.
fn plain(content: &[u8]) {
    let mut map = BTreeMap::new();
    let begun = Instant::now();
    for (block, bytes) in content.chunks(BLOCK_BYTES).enumerate() {
        map.insert(block, bytes.to_vec());
    }
    report("write/layout=none", content.len(), begun.elapsed());
    let begun = Instant::now();
    let read = map.values().map(Vec::as_slice).collect::<Vec<_>>().concat();
    report("read/layout=none", content.len(), begun.elapsed());
    assert!(read == content);
}

async fn spread(name: &str, layout: Layout, away: usize, content: &[u8]) {
    let key = VolumeKey::generate().unwrap();
    let kept: Vec<Arc<Kept>> = (0..layout.total()).map(|_| Arc::default()).collect();
    let seats = || {
        kept.iter()
            .map(|kept| Seat::whole(Arc::clone(kept) as Arc<dyn Member>))
    };
    let volume = Volume::open_writer(layout, &key, seats().collect())
        .await
        .unwrap();
    let begun = Instant::now();
    for (span, bytes) in content.chunks(SPAN_BYTES_MAX).enumerate() {
        let offset = (span * SPAN_BYTES_MAX) as u64;
        volume.write(BLOCKS_FILE, offset, bytes).await.unwrap();
    }
    volume.flush().await.unwrap();
    report(
        &format!("write/layout={name}"),
        content.len(),
        begun.elapsed(),
    );
    let seats = seats().enumerate().map(|(index, seat)| {
        let is_away = index < away;
        if is_away { Seat::empty() } else { seat }
    });
    let reader = Volume::open_reader(layout, &key, seats.collect()).unwrap();
    let begun = Instant::now();
    let mut read = Vec::with_capacity(content.len());
    while read.len() < content.len() {
        let offset = read.len() as u64;
        read.extend(
            reader
                .read(BLOCKS_FILE, offset, SPAN_BYTES_MAX)
                .await
                .unwrap(),
        );
    }
    let took = begun.elapsed();
    report(
        &format!("read/layout={name}/away={away}"),
        content.len(),
        took,
    );
    assert!(read == content);
}

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let bytes = given.unwrap_or(MEBIBYTES) << 20;
    let content: Vec<u8> = (1..=251).cycle().take(bytes).collect();
    plain(&content);
    spread("single", Layout::SINGLE, 0, &content).await;
    let three = Layout::replicated(3).unwrap();
    spread("replicated-3", three, 0, &content).await;
    spread("replicated-3", three, 1, &content).await;
    spread("10-of-14", Layout::SHARDED, 0, &content).await;
    spread("10-of-14", Layout::SHARDED, 4, &content).await;
}
