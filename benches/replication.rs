//! `cargo bench -p hypermesh-benches --bench replication`: a call of a deterministic component that two
//! of three drawn nodes must agree on, beside the same call of the replica that was placed, and of one
//! drawn node that signs a receipt. Four nodes in this process, on the loopback interface; calls of the
//! three kinds take turns.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::{Duration, Instant};

use hypermesh_benches::{Fabric, Failure, guest_component, ms, percentile, table};
use types::{ComponentKind, ComponentSpec, Digest, Name, Replication, WorkloadSpec};

const GUEST: &str = include_str!("../host/runtime/tests/guests/deterministic.wat");
const NODES: usize = 4;
const ROUNDS: u32 = 300;
/// The first ones have every node fetch, compile and prepare, and are not counted.
const WARM: u32 = 20;
/// What a call computes: as long for all, and another draw for each.
const STEPS: u32 = 5_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let nodes = Fabric::start_founded(NODES).await?;
    let at = nodes.first().ok_or("no node")?;
    let name = Name::new("det")?;
    let component = guest_component(GUEST);
    let spec = ComponentSpec {
        deterministic_seed: Some(7),
        ..ComponentSpec::new(name.clone(), ComponentKind::Library, Digest::of(&component))
    };
    let spec = WorkloadSpec::new(name.clone(), vec![spec])?;
    at.deploy(spec, component).await?;
    let host = hosting(&nodes, &name).await?;
    let kinds = [
        ("replication::invoke/nodes=1 (baseline)", host, None),
        (
            "replication::invoke/nodes=1/receipt=yes",
            at,
            Some(Replication::One),
        ),
        (
            "replication::invoke/agree=2/nodes=3",
            at,
            Some(Replication::Of { agree: 2, of: 3 }),
        ),
    ];
    let mut samples: [Vec<Duration>; 3] = Default::default();
    for round in 0..WARM + ROUNDS {
        let mut results = Vec::new();
        for ((_, node, dial), samples) in kinds.iter().zip(&mut samples) {
            let arguments = vec![(STEPS + round).to_string()];
            let begun = Instant::now();
            let result = node.invoke_dialled(&name, "run", arguments, *dial).await?;
            if round >= WARM {
                samples.push(begun.elapsed());
            }
            results.push(result);
        }
        if results.windows(2).any(|pair| pair.first() != pair.last()) {
            return Err(format!("not the same: {results:?}").into());
        }
    }
    let rows = kinds.iter().zip(&mut samples).map(|((name, ..), samples)| {
        let (p50, p99) = (percentile(samples, 500), percentile(samples, 990));
        vec![
            (*name).to_owned(),
            samples.len().to_string(),
            ms(p50),
            ms(p99),
        ]
    });
    let rows: Vec<_> = rows.collect();
    println!(
        "{}",
        table(&["bench", "samples", "p50 ms", "p99 ms"], &rows)
    );
    Ok(())
}

/// The node that the workload is placed on.
async fn hosting<'a>(nodes: &'a [Fabric], name: &Name) -> Result<&'a Fabric, Failure> {
    for node in nodes {
        let arguments = vec!["1".to_owned()];
        if node.invoke(name, "run", arguments).await.is_ok() {
            return Ok(node);
        }
    }
    Err("it runs nowhere".into())
}
