//! Time from submit to finality and transactions a second for 1, 4 and 7 validators in one process,
//! at rest and under load; beside etcd with 1 and 3 members doing durable puts on the same disk, in
//! the same run, where it is installed. Prints and asserts nothing.
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

fn main() -> Result<(), Failure> {
    let mut output = io::stdout();
    let runtime = tokio::runtime::Runtime::new()?;
    for validators in VALIDATORS {
        runtime.block_on(committee(validators, &mut output))?;
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

async fn committee(validators: u8, output: &mut impl Write) -> Result<(), Failure> {
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
    report(output, &name, 1, times, began.elapsed())?;
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
    report(output, &name, CALLERS, times, began.elapsed())?;
    for member in members {
        member.node.ledger.shutdown().await?;
    }
    Ok(())
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

fn report(
    output: &mut impl Write,
    name: &str,
    in_flight: u64,
    mut times: Vec<Duration>,
    took: Duration,
) -> Result<(), Failure> {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let rate = f64::from(u32::try_from(times.len())?) / took.as_secs_f64();
    writeln!(
        output,
        "{name}/in_flight={in_flight:<3} p50 {:8.2} ms   p99 {:8.2} ms   {rate:8.0}/s",
        at(50),
        at(99)
    )?;
    Ok(())
}
