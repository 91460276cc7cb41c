//! `cargo bench -p hypermesh-benches --bench density`: resident memory per live instance, beside
//! bare wasmtime, and per deployed workload that nobody calls.
//!
//! Each measurement is a process of its own: what one leaves behind would count for the next.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

#[path = "http/bare_host.rs"]
mod bare_host;
mod density {
    pub(crate) mod instances;
    pub(crate) mod workloads;
}

use std::process::Command;

use density::{instances, workloads};
use hypermesh_benches::{Failure, table};

const INSTANCES: [u32; 3] = [100, 1_000, 10_000];
const WORKLOADS: [u32; 3] = [100, 1_000, 10_000];

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count = args.get(1).and_then(|count| count.parse().ok());
    match (args.first().map(String::as_str), count) {
        (Some("instances-bare"), Some(count)) => runtime.block_on(instances::bare(count)),
        (Some("instances-node"), Some(count)) => runtime.block_on(instances::ours(count)),
        (Some("workloads"), Some(count)) => runtime.block_on(workloads::deployed(count)),
        _ => report(),
    }
}

fn report() -> Result<(), Failure> {
    let mut rows = Vec::new();
    for count in INSTANCES {
        for (of, mode) in [("bare", "instances-bare"), ("node", "instances-node")] {
            let name = format!("density::instance/live={count}/of={of}");
            rows.push(vec![name, measured(mode, count)?]);
        }
    }
    for count in WORKLOADS {
        let name = format!("density::workload/deployed={count}");
        rows.push(vec![name, measured("workloads", count)?]);
    }
    println!("{}", table(&["bench", "KiB each"], &rows));
    Ok(())
}

/// What the process of one measurement prints.
fn measured(mode: &str, count: u32) -> Result<String, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args([mode, &count.to_string()])
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    } else {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason = reason.lines().last().unwrap_or_default().to_owned();
        Ok(format!("failed: {reason}"))
    }
}

/// Resident memory of this process, in KiB.
pub(crate) fn resident_kib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}

/// Prints the growth since `before`, for each of `count`.
pub(crate) fn print_growth(before_kib: u64, count: u32) -> Result<(), Failure> {
    let grown = resident_kib()?.saturating_sub(before_kib);
    println!("{:.1}", grown as f64 / f64::from(count));
    Ok(())
}
