//! `simulate [--seeds N] [--from S] [--nodes n]`: runs scenarios and says what was found.
//! `simulate --traffic n [--followers m]`: what n validators, and m nodes without a vote, send for each
//! block when nothing goes wrong.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to the person who ran it"
)]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Instant;

use hypermesh_sim::{Failure, Scenario, Summary, Traffic, kept_seeds, simulate};

/// What was asked for.
struct Wanted {
    seeds: u64,
    from: u64,
    nodes: Option<usize>,
    /// Measure the traffic of a calm fabric of so many validators instead.
    traffic: Option<usize>,
    /// And of so many nodes that follow them.
    followers: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = match wanted(&words) {
        Ok(wanted) => wanted,
        Err(what) => {
            eprintln!(
                "{what}\nusage: simulate [--seeds N] [--from S] [--nodes n] \
                 | simulate --traffic n [--followers m]"
            );
            return ExitCode::from(2);
        }
    };
    if let Some(validators) = wanted.traffic {
        return traffic(validators, wanted.followers);
    }
    let started = Instant::now();
    let total = run_all(&wanted);
    println!(
        "{} runs, {}.{} simulated hours, {} blocks, {} crashes, {} states taken over, {} failures, \
         in {} s",
        total.runs,
        total.simulated_ms / 3_600_000,
        total.simulated_ms / 360_000 % 10,
        total.blocks,
        total.crashes,
        total.taken_over,
        total.failures.len(),
        started.elapsed().as_secs()
    );
    if total.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("keep in host/sim/seeds.txt: {:?}", total.failures);
    ExitCode::FAILURE
}

/// Prints what goes over each channel for one block.
fn traffic(validators: usize, followers: usize) -> ExitCode {
    let scenario = Scenario {
        seconds: 3,
        gap_ms: 1000,
        followers,
        ..Scenario::calm(1, validators)
    };
    match simulate(&scenario) {
        Ok(summary) => {
            println!("{summary}");
            let blocks = summary.height.max(1);
            for (channel, Traffic { messages, bytes }) in summary.traffic {
                println!(
                    "{validators} validators, {followers} followers, {channel:?}: {} messages, {} bytes a block",
                    messages / blocks,
                    bytes / blocks
                );
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAILED {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the kept seeds and those that were asked for, one on each core at a time.
fn run_all(wanted: &Wanted) -> Total {
    let until = wanted.from.saturating_add(wanted.seeds);
    let fresh = (wanted.from..until).map(|seed| (seed, wanted.nodes));
    let seeds: Vec<_> = kept_seeds().chain(fresh).collect();
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Total::default()));
    let work = || {
        while let Some((seed, nodes)) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let end = simulate(&Scenario::of(*seed, *nodes));
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            match end {
                Ok(summary) => total.add(&summary),
                Err(failure) => total.fail(&failure),
            }
        }
    };
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(seeds.len()) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Total {
    runs: u64,
    simulated_ms: u64,
    blocks: u64,
    crashes: u64,
    taken_over: u64,
    failures: Vec<u64>,
}

impl Total {
    fn add(&mut self, summary: &Summary) {
        println!("{summary}");
        self.runs += 1;
        self.simulated_ms += summary.simulated_ms;
        self.blocks += summary.height;
        self.crashes += summary.crashes;
        self.taken_over += summary.taken_over;
    }

    fn fail(&mut self, failure: &Failure) {
        println!("FAILED {failure}");
        self.runs += 1;
        self.simulated_ms += failure.at_ms;
        self.failures.push(failure.scenario.seed);
    }
}

fn wanted(words: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        seeds: 20,
        from: 1,
        nodes: None,
        traffic: None,
        followers: 0,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let number = words
            .next()
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| format!("`{word}` needs a number"))?;
        match word.as_str() {
            "--seeds" => wanted.seeds = number,
            "--from" => wanted.from = number,
            "--nodes" => wanted.nodes = usize::try_from(number).ok(),
            "--traffic" => wanted.traffic = usize::try_from(number).ok(),
            "--followers" => {
                wanted.followers = usize::try_from(number).map_err(|error| error.to_string())?;
            }
            _ => return Err(format!("there is no option `{word}`")),
        }
    }
    Ok(wanted)
}
