//! What STOQ costs over bare quinn with the same settings, and beside TLS over TCP.
//!
//! `cargo bench -p hypermesh-stoq --bench transport [bulk|ask|connect|idle|flood]`; two threads, one per end, loopback.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its table and stops at the first surprise"
)]

mod bare;
mod connect;
mod flood;
mod idle;
mod measure;
mod relay;
mod stoq;
mod tcp;
mod world;

use measure::{Summary, median};

/// Bytes of one bulk run, in a warm session.
const BULK_BYTES: u64 = 1 << 30;
/// Runs of each kind, taken in turns so that a busy moment of the machine hits all.
const ROUNDS: usize = 9;
/// Requests of one latency run.
const REQUESTS: usize = 10_000;

fn main() {
    let what = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'));
    let wants = |name: &str| what.as_deref().is_none_or(|word| word == name);
    if wants("bulk") {
        bulk();
    }
    if wants("ask") {
        ask();
    }
    if wants("connect") {
        connect::table();
    }
    if wants("idle") {
        idle::table();
    }
    if wants("flood") {
        flood::table();
    }
}

/// Goodput in Gbit/s.
fn bulk() {
    let mut stoq = stoq::Ends::start();
    let mut bare = bare::Ends::start();
    println!(
        "{:<44} {:>8} {:>8} {:>8}",
        "bulk, Gbit/s (median)", "stoq", "quinn", "ratio"
    );
    for streams in [1, 8, 64] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let run = [
                stoq.bulk(BULK_BYTES, streams),
                bare.bulk(BULK_BYTES, streams),
            ];
            // The first warms up.
            if round > 0 {
                ours.push(run[0]);
                theirs.push(run[1]);
            }
        }
        let (all_ours, all_theirs) = (&mut ours, &mut theirs);
        let (ours, theirs) = (median(all_ours), median(all_theirs));
        let ratio = ours / theirs;
        let name = format!("stoq::bulk/streams={streams}");
        println!("{name:<44} {ours:>8.2} {theirs:>8.2} {ratio:>8.3}");
        println!(
            "{:<44} {all_ours:.1?} {all_theirs:.1?}",
            "  all runs, sorted"
        );
    }
    println!("stoq's session at the end: {}", stoq.describe());
    let mut tcp = tcp::Ends::start();
    let mut runs: Vec<f64> = (0..ROUNDS).map(|_| tcp.bulk(BULK_BYTES)).collect();
    println!(
        "{:<44} {:>8.2}",
        "tokio-rustls::bulk/streams=1",
        median(&mut runs)
    );
}

/// Request and response of 64 bytes in microseconds.
fn ask() {
    let mut stoq = stoq::Ends::start();
    let mut bare = bare::Ends::start();
    let mut tcp = tcp::Ends::start();
    let (mut ours, mut theirs, mut tcps) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let runs = [stoq.ask(REQUESTS), bare.ask(REQUESTS), tcp.ask(REQUESTS)];
        if round > 0 {
            let [a, b, c] = runs;
            ours.extend(a);
            theirs.extend(b);
            tcps.extend(c);
        }
    }
    let (ours, theirs) = (Summary::of(ours), Summary::of(theirs));
    println!(
        "{:<44} {:>8} {:>8}",
        "64 bytes there and back, us", "p50", "p99"
    );
    println!("{:<44} {ours}", "stoq::ask/stream=new");
    println!("{:<44} {theirs}", "quinn::ask/stream=new");
    println!(
        "{:<44} {:>8.3} {:>8.3}",
        "ratio",
        ours.p50_us / theirs.p50_us,
        ours.p99_us / theirs.p99_us
    );
    println!(
        "{:<44} {}",
        "tokio-rustls::ask/stream=one",
        Summary::of(tcps)
    );
}
