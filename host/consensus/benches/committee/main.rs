//! Time from submit to finality and transactions a second for 1, 4 and 7 validators in one process,
//! at rest (each after a pause), one after the other, and under load; beside as many validators of
//! the engine alone on payloads that nobody reads, first agreement only, then with its own delivery,
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
mod delivered;
mod etcd;
#[path = "../../tests/consensus/memory.rs"]
mod memory;
#[path = "../../tests/consensus/support.rs"]
mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use ledger::Operation;
use types::Name;

use bare::{Bare, Kind};
use etcd::Etcd;
use memory::{Member, Memory};
use support::{Principal, genesis_of};

type Failure = Box<dyn std::error::Error>;

/// Validators: alone, and as many as bear one and two faulty ones.
const VALIDATORS: [u8; 3] = [1, 4, 7];
/// Members of etcd: alone, and as many as bear one that stopped.
const MEMBERS: [usize; 2] = [1, 3];
/// Measured at rest, and one after the other.
const ALONE: u64 = 200;
/// Pause before each at rest: whatever the one before left to do is done.
const PAUSE: Duration = Duration::from_millis(25);
/// Callers at once under load, and what each hands in.
const CALLERS: u64 = 64;
const EACH: u64 = 20;
/// The first ones warm everything up and are not counted.
const WARM: u64 = 10;
/// Bytes of a payload of the engine alone: as many as the smallest transaction of a ledger.
const PAYLOAD_BYTES: usize = 180;

/// How much is asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// One, after a pause.
    AtRest,
    /// One after the other.
    InTurn,
    /// Of many callers at once, who ask again when all are answered.
    Many,
}

const LOADS: [Load; 3] = [Load::AtRest, Load::InTurn, Load::Many];

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::AtRest => "at_rest",
            Self::InTurn => "in_flight=1",
            Self::Many => "in_flight=64",
        }
    }
}

fn main() -> Result<(), Failure> {
    let mut output = io::stdout();
    let runtime = tokio::runtime::Runtime::new()?;
    for validators in VALIDATORS {
        let agreement = runtime.block_on(engine(validators, Kind::Agreement, &mut output))?;
        let delivery = runtime.block_on(engine(validators, Kind::Delivery, &mut output))?;
        let ours = runtime.block_on(committee(validators, &mut output))?;
        for (beside, theirs) in [("agreement", agreement), ("delivery", delivery)] {
            for ((load, theirs), ours) in LOADS.iter().zip(theirs).zip(&ours) {
                writeln!(
                    output,
                    "ledger to engine's {beside}/validators={validators}/{:<12} \
                     p50 {:.2}x   p99 {:.2}x   throughput {:.2}x",
                    load.name(),
                    ours.median_ms / theirs.median_ms,
                    ours.worst_ms / theirs.worst_ms,
                    ours.per_second / theirs.per_second,
                )?;
            }
        }
    }
    let Some(program) = etcd::program() else {
        writeln!(output, "etcd is not installed: nothing to compare with")?;
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    for members in MEMBERS {
        let etcd = Etcd::start(&program, members, dir.path())?;
        etcd.puts(1, WARM, Duration::ZERO)?;
        let name = format!("etcd::put/members={members}");
        for load in LOADS {
            let began = Instant::now();
            let times = match load {
                Load::AtRest => etcd.puts(1, ALONE, PAUSE)?,
                Load::InTurn => etcd.puts(1, ALONE, Duration::ZERO)?,
                Load::Many => etcd.puts(usize::try_from(CALLERS)?, EACH, Duration::ZERO)?,
            };
            report(&mut output, &name, load, times, began.elapsed())?;
        }
    }
    Ok(())
}

/// The engine alone with so many validators.
async fn engine(
    validators: u8,
    kind: Kind,
    output: &mut impl Write,
) -> Result<Vec<Timed>, Failure> {
    let dir = tempfile::tempdir()?;
    let bare = Bare::start(validators, kind, dir.path());
    let submit = async || {
        bare.submit(vec![7; PAYLOAD_BYTES]).await;
        Ok(())
    };
    let name =
        format!("engine's {kind:?}::payload_to_final/validators={validators}").to_lowercase();
    let timed = measure(&name, submit, output).await?;
    bare.stop();
    Ok(timed)
}

/// The ledger with so many validators.
async fn committee(validators: u8, output: &mut impl Write) -> Result<Vec<Timed>, Failure> {
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
    let sign = |_| {
        operator.sign(Operation::Stop {
            workload: Name::new("shop").expect("a name"),
        })
    };
    // Signed by others, before they are handed in.
    let signed: VecDeque<_> = (0..WARM + 2 * ALONE + CALLERS * EACH).map(sign).collect();
    let signed = RefCell::new(signed);
    let submit = async || {
        let next = signed.borrow_mut().pop_front();
        ledger
            .submit(next.expect("as many as are measured"))
            .await?;
        Ok(())
    };
    let name = format!("ledger::submit_to_final/validators={validators}");
    let timed = measure(&name, submit, output).await?;
    for member in members {
        member.node.ledger.shutdown().await?;
    }
    Ok(timed)
}

/// Measures `submit` under each load.
async fn measure(
    name: &str,
    submit: impl AsyncFn() -> Result<(), Failure>,
    output: &mut impl Write,
) -> Result<Vec<Timed>, Failure> {
    let one = async || {
        let handed_in = Instant::now();
        submit().await?;
        Ok::<_, Failure>(handed_in.elapsed())
    };
    for _ in 0..WARM {
        one().await?;
    }
    let mut all = Vec::new();
    for load in LOADS {
        let mut times = Vec::new();
        let began = Instant::now();
        match load {
            Load::AtRest | Load::InTurn => {
                for _ in 0..ALONE {
                    if load == Load::AtRest {
                        tokio::time::sleep(PAUSE).await;
                    }
                    times.push(one().await?);
                }
            }
            Load::Many => {
                for _ in 0..EACH {
                    times.extend(try_join_all((0..CALLERS).map(|_| one())).await?);
                }
            }
        }
        all.push(report(output, name, load, times, began.elapsed())?);
    }
    Ok(all)
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
    load: Load,
    mut times: Vec<Duration>,
    took: Duration,
) -> Result<Timed, Failure> {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let paused = match load {
        Load::AtRest => PAUSE * u32::try_from(times.len())?,
        Load::InTurn | Load::Many => Duration::ZERO,
    };
    let timed = Timed {
        median_ms: at(50),
        worst_ms: at(99),
        per_second: f64::from(u32::try_from(times.len())?)
            / took.saturating_sub(paused).as_secs_f64(),
    };
    let Timed {
        median_ms,
        worst_ms,
        per_second,
    } = timed;
    writeln!(
        output,
        "{name}/{:<12} p50 {median_ms:8.2} ms   p99 {worst_ms:8.2} ms   {per_second:8.0}/s",
        load.name(),
    )?;
    Ok(timed)
}
