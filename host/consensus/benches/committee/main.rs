//! Time from submit to finality and transactions a second for 1, 4 and 7 validators in one process,
//! at rest and under load; beside the engine alone, as many validators on payloads that nobody reads,
//! and beside etcd with 1 and 3 members doing durable puts on the same disk, where it is installed.
//! All in one run. Prints and asserts nothing.
//!
//! `cargo bench -p hypermesh-consensus --bench committee`; `HYPERMESH_ETCD` names etcd's program,
//! `TMPDIR` the disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "the network and the keys are those of the tests, of which not all is used here"
)]

mod bare;
mod etcd;
#[path = "../../tests/consensus/memory.rs"]
mod memory;
#[path = "../../tests/consensus/support.rs"]
mod support;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use hypermesh_consensus::Ledger;
use ledger::Operation;
use types::Name;

use bare::Bare;
use etcd::Etcd;
use memory::{Member, Memory};
use support::{Principal, genesis_of};

type Failure = Box<dyn std::error::Error>;

/// Validators: alone, and as many as bear one and two faulty ones.
const VALIDATORS: [u8; 3] = [1, 4, 7];
/// Members of etcd: alone, and as many as bear one that stopped.
const MEMBERS: [usize; 2] = [1, 3];
/// Measured one after the other.
const AT_REST: u64 = 200;
/// Callers at once under load, and what each hands in.
const CALLERS: u64 = 64;
const EACH: u64 = 20;
/// The first ones warm everything up and are not counted.
const WARM: u64 = 10;
/// Bytes of a payload of the engine alone: as many as the smallest transaction of a ledger.
const PAYLOAD_BYTES: usize = 180;

fn main() -> Result<(), Failure> {
    let mut output = io::stdout();
    let runtime = tokio::runtime::Runtime::new()?;
    for validators in VALIDATORS {
        let alone = runtime.block_on(engine(validators, &mut output))?;
        let ours = runtime.block_on(committee(validators, &mut output))?;
        for (in_flight, alone, ours) in [(1, alone.0, ours.0), (CALLERS, alone.1, ours.1)] {
            writeln!(
                output,
                "ledger to engine alone/validators={validators}/in_flight={in_flight:<3} \
                 p50 {:.2}x   p99 {:.2}x   throughput {:.2}x",
                ours.median_ms / alone.median_ms,
                ours.worst_ms / alone.worst_ms,
                ours.per_second / alone.per_second,
            )?;
        }
    }
    let Some(program) = etcd::program() else {
        writeln!(output, "etcd is not installed: nothing to compare with")?;
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    for members in MEMBERS {
        let etcd = Etcd::start(&program, members, dir.path())?;
        etcd.puts(1, WARM)?;
        let began = Instant::now();
        let times = etcd.puts(1, AT_REST)?;
        let name = format!("etcd::put/members={members}");
        report(&mut output, &name, 1, times, began.elapsed())?;
        let began = Instant::now();
        let times = etcd.puts(usize::try_from(CALLERS)?, EACH)?;
        report(&mut output, &name, CALLERS, times, began.elapsed())?;
    }
    Ok(())
}

/// The engine alone with so many validators: at rest, and under load.
async fn engine(validators: u8, output: &mut impl Write) -> Result<(Timed, Timed), Failure> {
    let dir = tempfile::tempdir()?;
    let bare = Bare::start(validators, dir.path());
    let payload = || vec![7; PAYLOAD_BYTES];
    let one_by_one = async |count| {
        let mut times = Vec::new();
        for _ in 0..count {
            let handed_in = Instant::now();
            bare.submit(payload()).await;
            times.push(handed_in.elapsed());
        }
        times
    };
    one_by_one(WARM).await;
    let name = format!("engine::payload_to_final/validators={validators}");
    let began = Instant::now();
    let times = one_by_one(AT_REST).await;
    let at_rest = report(output, &name, 1, times, began.elapsed())?;
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..EACH {
        let timed = (0..CALLERS).map(|_| async {
            let handed_in = Instant::now();
            bare.submit(payload()).await;
            handed_in.elapsed()
        });
        times.extend(join_all(timed).await);
    }
    let under_load = report(output, &name, CALLERS, times, began.elapsed())?;
    bare.stop();
    Ok((at_rest, under_load))
}

/// The ledger with so many validators: at rest, and under load.
async fn committee(validators: u8, output: &mut impl Write) -> Result<(Timed, Timed), Failure> {
    let memory = Memory::new();
    for one in 1..=validators {
        for other in 1..one {
            memory.connect(one, other);
        }
    }
    let genesis = genesis_of(validators);
    let start = |key| Member::start_of(&memory, key, genesis.clone());
    let mut members = join_all((1..=validators).map(start)).await;
    for member in &mut members {
        member.node.let_pass();
    }
    let ledger = members[0].node.ledger.clone();
    let operator = Principal::operator_in(&genesis, 0);
    let sign = || {
        operator.sign(Operation::Stop {
            workload: Name::new("shop").expect("a name"),
        })
    };
    one_by_one(&ledger, (0..WARM).map(|_| sign())).await?;
    let name = format!("ledger::submit_to_final/validators={validators}");
    let began = Instant::now();
    let times = one_by_one(&ledger, (0..AT_REST).map(|_| sign())).await?;
    let at_rest = report(output, &name, 1, times, began.elapsed())?;
    let waiting: Vec<_> = (0..CALLERS * EACH).map(|_| sign()).collect();
    let began = Instant::now();
    let mut times = Vec::new();
    // All callers hand in at once, and again when all are answered.
    for batch in waiting.chunks(usize::try_from(CALLERS)?) {
        let timed = batch.iter().map(|transaction| async {
            let handed_in = Instant::now();
            ledger.submit(transaction.clone()).await?;
            Ok::<_, Failure>(handed_in.elapsed())
        });
        times.extend(try_join_all(timed).await?);
    }
    let under_load = report(output, &name, CALLERS, times, began.elapsed())?;
    for member in members {
        member.node.ledger.shutdown().await?;
    }
    Ok((at_rest, under_load))
}

async fn one_by_one(
    ledger: &Ledger,
    transactions: impl Iterator<Item = Vec<u8>>,
) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for transaction in transactions {
        let handed_in = Instant::now();
        ledger.submit(transaction).await?;
        times.push(handed_in.elapsed());
    }
    Ok(times)
}

/// What was measured.
#[derive(Clone, Copy)]
struct Timed {
    median_ms: f64,
    worst_ms: f64,
    per_second: f64,
}

fn report(
    output: &mut impl Write,
    name: &str,
    in_flight: u64,
    mut times: Vec<Duration>,
    took: Duration,
) -> Result<Timed, Failure> {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let timed = Timed {
        median_ms: at(50),
        worst_ms: at(99),
        per_second: f64::from(u32::try_from(times.len())?) / took.as_secs_f64(),
    };
    let Timed {
        median_ms,
        worst_ms,
        per_second,
    } = timed;
    writeln!(
        output,
        "{name}/in_flight={in_flight:<3} p50 {median_ms:8.2} ms   p99 {worst_ms:8.2} ms   \
         {per_second:8.0}/s",
    )?;
    Ok(timed)
}
