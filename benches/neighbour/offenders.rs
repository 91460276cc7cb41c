//! The node with a hello service and its bad neighbours, started and stopped on request.

use std::io::{BufRead as _, Write as _};

use hypermesh_benches::{Fabric, command_component, hello_component, hello_spec};
use ledger::Operation;
use types::{
    ByteSize, ComponentKind, ComponentSpec, Digest, Limits, Millis, Name, RestartPolicy,
    WorkloadSpec,
};

use crate::Failure;

/// Name and `run` function of each bad neighbour.
pub(crate) const OFFENDERS: [(&str, &str); 3] = [
    (
        "hot-loop",
        include_str!("../../host/runtime/tests/guests/run-spin.wat"),
    ),
    ("memory-bomb", include_str!("bomb.wat")),
    ("log-flood", include_str!("flood.wat")),
];

/// One for each core of the smallest machine that we measure on.
const REPLICAS: u16 = 2;

/// Prints the address, then obeys lines of `start NAME` and `stop NAME`.
pub(crate) async fn serve() -> Result<(), Failure> {
    let fabric = Fabric::start().await?;
    fabric
        .deploy(hello_spec("hello", "/"), hello_component())
        .await?;
    for (name, run) in OFFENDERS {
        let component = command_component(run);
        fabric
            .deploy(offender(name, &component)?, component)
            .await?;
        stop(&fabric, name).await?;
    }
    say(&fabric.address().to_string())?;
    let (sender, mut lines) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        match line.split_once(' ') {
            Some(("start", name)) => start(&fabric, name).await?,
            Some(("stop", name)) => stop(&fabric, name).await?,
            _ => return Err(format!("unknown request: {line}").into()),
        }
        say("done")?;
    }
    Ok(())
}

async fn start(fabric: &Fabric, name: &str) -> Result<(), Failure> {
    let workload = Name::new(name)?;
    fabric
        .change(
            Operation::Start {
                workload: workload.clone(),
            },
            &workload,
        )
        .await
}

async fn stop(fabric: &Fabric, name: &str) -> Result<(), Failure> {
    let workload = Name::new(name)?;
    fabric
        .change(
            Operation::Stop {
                workload: workload.clone(),
            },
            &workload,
        )
        .await
}

fn offender(name: &str, component: &[u8]) -> Result<WorkloadSpec, Failure> {
    let name = Name::new(name)?;
    let component = ComponentSpec {
        replicas: REPLICAS,
        limits: Limits {
            memory: ByteSize::mib(256),
            wall_time: Millis::seconds(3_600),
            ..Limits::default()
        },
        restart: RestartPolicy::Always,
        ..ComponentSpec::new(name.clone(), ComponentKind::Command, Digest::of(component))
    };
    Ok(WorkloadSpec {
        name,
        components: vec![component],
    })
}

fn say(line: &str) -> Result<(), Failure> {
    println!("{line}");
    std::io::stdout().flush()?;
    Ok(())
}
