//! `cargo bench -p hypermesh-node --bench precedence [-- SAMPLES]`: time from submit to finality of four
//! validators over STOQ on loopback, at rest and while artifacts saturate the very same sessions.
//!
//! In one run, taken in turns: at rest; while other endpoints of this process transfer as much, so
//! that the processors are as busy and the sessions are free; while all nodes transfer to each other.
//! Then the same over sessions that are capped, so that there is processor time left and only the
//! order on the link counts. `TMPDIR` is the disk of the ledgers, `HYPERMESH_ARTIFACTS` that of the
//! artifacts: in memory where that is left out, so that flushes of the two do not meet.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints its results and stops at the first surprise"
)]

mod fabric;
/// What the carriage of the node, which is measured here as it is, expects around itself.
#[path = "."]
mod peers {
    #[path = "../../src/peers/carriage.rs"]
    #[allow(dead_code, reason = "a node uses more of it")]
    pub(crate) mod carriage;

    pub(crate) mod authority {
        /// All are members here.
        pub(crate) fn is_stranger(_: &stoq::Peer) -> bool {
            false
        }
    }
}

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fabric::{Caller, Fabric, Place};
use tokio::task::JoinSet;
use types::Digest;

/// Samples of each turn, one after the other, unless told otherwise; turns of each state.
const SAMPLES: usize = 100;
const TURNS: usize = 3;
/// The first ones warm everything up and are not counted.
const WARM: usize = 20;
/// What is transferred again and again.
const ARTIFACT_BYTES: usize = 32 << 20;
/// Time for transfers to be at full speed before anything is measured.
const RAMP: Duration = Duration::from_millis(500);
/// A good connection of an office, 100 Mbit/s, as bytes.
const CAP_BYTES_PER_SECOND: u64 = 12_500_000;

/// What goes on meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    TransfersElsewhere,
    Transfers,
}

#[tokio::main]
async fn main() {
    let memory = PathBuf::from("/dev/shm");
    let memory = memory.is_dir().then_some(memory);
    let named = std::env::var_os("HYPERMESH_ARTIFACTS").map(PathBuf::from);
    let artifacts = named.or(memory).unwrap_or_else(std::env::temp_dir);
    println!("artifacts in {}", artifacts.display());
    let folder = tempfile::tempdir_in(artifacts).unwrap();
    let place = Place::of(folder.path(), ARTIFACT_BYTES);
    let nodes = Fabric::start(&place, true).await;
    let others = Fabric::start(&place, false).await;
    let mut arguments = std::env::args();
    let samples = arguments.find_map(|argument| argument.parse().ok());
    let samples = samples.unwrap_or(SAMPLES);
    let mut caller = nodes.caller();
    finality(&mut caller, WARM).await;
    for cap in [None, Some(CAP_BYTES_PER_SECOND)] {
        nodes.cap(cap);
        others.cap(cap);
        measure([&nodes, &others], &mut caller, samples, cap).await;
    }
    nodes.stop().await;
}

async fn measure(
    [nodes, others]: [&Fabric; 2],
    caller: &mut Caller,
    samples: usize,
    cap: Option<u64>,
) {
    use Meanwhile::{Nothing, Transfers, TransfersElsewhere};
    let states = [
        (Nothing, "rest"),
        (TransfersElsewhere, "transfers_elsewhere"),
        (Transfers, "transfers"),
    ];
    let mut all: [(Vec<Duration>, f64); 3] = Default::default();
    for _ in 0..TURNS {
        for ((meanwhile, _), (times, rate)) in states.iter().zip(&mut all) {
            let bytes = Arc::new(AtomicU64::new(0));
            let mut transfers = JoinSet::new();
            match meanwhile {
                Nothing => {}
                TransfersElsewhere => others.transfer(&mut transfers, &bytes),
                Transfers => nodes.transfer(&mut transfers, &bytes),
            }
            tokio::time::sleep(RAMP).await;
            let (began, before) = (Instant::now(), bytes.load(Ordering::Relaxed));
            times.extend(finality(caller, samples).await);
            let moved = bytes.load(Ordering::Relaxed) - before;
            *rate += millions(moved) / began.elapsed().as_secs_f64() / millions_of(TURNS);
            transfers.shutdown().await;
        }
    }
    let cap = cap.map_or_else(|| "none".to_owned(), |cap| format!("{cap}B/s"));
    let mut rest = None;
    for ((_, name), (mut times, rate)) in states.into_iter().zip(all) {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        let (median, worst) = (at(50), at(99));
        let (rest_median, rest_worst) = *rest.get_or_insert((median, worst));
        println!(
            "ledger::finality/nodes=4/cap={cap}/meanwhile={name:<19} p50 {median:7.2} ms ({:.2}x)   \
             p99 {worst:7.2} ms ({:.2}x)   {rate:6.0} MB/s transferred",
            median / rest_median,
            worst / rest_worst,
        );
    }
}

async fn finality(caller: &mut Caller, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        caller.submit().await;
        times.push(began.elapsed());
    }
    times
}

fn millions(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap()) / 1e3
}

fn millions_of(turns: usize) -> f64 {
    f64::from(u32::try_from(turns).unwrap())
}

/// The digest of bytes that look like chance.
fn content(bytes: usize) -> (Digest, Vec<u8>) {
    let mut state = 1_u64;
    let word = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 32).to_le_bytes()
    };
    let content: Vec<u8> = std::iter::repeat_with(word)
        .take(bytes / 8)
        .flatten()
        .collect();
    (Digest::of(&content), content)
}
