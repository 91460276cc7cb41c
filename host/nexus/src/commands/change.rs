//! `nexus scale`, `stop`, `start`, `pause`, `resume`, `restart`, `rm`: one transaction each, then a
//! look at what came of it.

use std::time::Duration;

use admin::{WorkloadState, WorkloadStatus};
use ledger::Operation;
use types::{Name, WorkloadSpec};

use crate::cli::ScaleArgs;
use crate::deployment::{Rest, observe, observe_rest};
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::status::replicas;
use crate::{terminal, text};

/// How long a change may take until it is seen. It stays admitted if it takes longer.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn scale(session: &Session, args: ScaleArgs) -> Outcome {
    let workload = args.target.workload;
    let before = existing(session, &workload).await?;
    let component = match args.target.component {
        Some(component) => component,
        None => only_component(&before.spec)?,
    };
    let (replicas_wanted, name) = (args.replicas, component.clone());
    session
        .submit(Operation::Scale {
            workload,
            component,
            replicas: replicas_wanted,
        })
        .await?;
    // The state between admission and here is the node's; what is waited for is what was asked.
    let mut spec = before.spec;
    if let Some(entry) = spec.components.iter_mut().find(|entry| entry.name == name) {
        entry.replicas = replicas_wanted;
    }
    let status = match before.state {
        WorkloadState::Stopped => existing(session, &spec.name).await?,
        WorkloadState::Paused | WorkloadState::Pausing => {
            observe_rest(session, &spec.name, Rest::Paused, SEEN_WITHIN).await?
        }
        _ => seen(session, &spec, before.generation).await?,
    };
    session.show(&status, || {
        let wanted = text::count(replicas_wanted.into(), "replica");
        let state = status.state;
        format!(
            "scaled `{}/{name}` to {wanted}: {state}, {} run",
            spec.name,
            replicas(&status)
        )
    })
}

pub(crate) async fn stop(session: &Session, workload: Name) -> Outcome {
    session
        .submit(Operation::Stop {
            workload: workload.clone(),
        })
        .await?;
    let what = format!("waiting for `{workload}` to stop");
    let wait = observe_rest(session, &workload, Rest::Stopped, SEEN_WITHIN);
    let status = terminal::progress(&what, wait).await?;
    session.show(&status, || {
        format!("stopped `{workload}`: it keeps its name and routes")
    })
}

pub(crate) async fn start(session: &Session, workload: Name) -> Outcome {
    let operation = Operation::Start {
        workload: workload.clone(),
    };
    run(session, workload, operation, "started").await
}

pub(crate) async fn pause(session: &Session, workload: Name) -> Outcome {
    session
        .submit(Operation::Pause {
            workload: workload.clone(),
        })
        .await?;
    let what = format!("waiting for `{workload}` to pause");
    let wait = observe_rest(session, &workload, Rest::Paused, SEEN_WITHIN);
    let status = terminal::progress(&what, wait).await?;
    session.show(&status, || {
        format!("paused `{workload}`: `nexus resume {workload}` lets it go on")
    })
}

pub(crate) async fn resume(session: &Session, workload: Name) -> Outcome {
    let operation = Operation::Resume {
        workload: workload.clone(),
    };
    run(session, workload, operation, "resumed").await
}

pub(crate) async fn restart(session: &Session, workload: Name) -> Outcome {
    let operation = Operation::Restart {
        workload: workload.clone(),
    };
    run(session, workload, operation, "restarted").await
}

/// Submits what makes a workload run and waits until it does.
async fn run(session: &Session, workload: Name, operation: Operation, done: &str) -> Outcome {
    session.submit(operation).await?;
    let admitted = existing(session, &workload).await?;
    let status = seen(session, &admitted.spec, admitted.generation).await?;
    session.show(&status, || {
        let (state, replicas) = (status.state, replicas(&status));
        format!("{done} `{workload}`: {state}, {replicas} replicas")
    })
}

pub(crate) async fn remove(session: &Session, workload: Name) -> Outcome {
    let report = session
        .submit(Operation::Remove {
            workload: workload.clone(),
        })
        .await?;
    session.show(&report, || format!("removed `{workload}`"))
}

async fn existing(session: &Session, workload: &Name) -> Outcome<WorkloadStatus> {
    session
        .client()
        .workload(workload)
        .await
        .map_err(|error| session.failure(error))
}

async fn seen(session: &Session, spec: &WorkloadSpec, generation: u64) -> Outcome<WorkloadStatus> {
    let what = format!("waiting for `{}` to run", spec.name);
    terminal::progress(&what, observe(session, spec, generation, SEEN_WITHIN)).await
}

fn only_component(spec: &WorkloadSpec) -> Outcome<Name> {
    match spec.components.as_slice() {
        [only] => Ok(only.name.clone()),
        several => {
            let targets: Vec<String> = several
                .iter()
                .map(|c| format!("{}/{}", spec.name, c.name))
                .collect();
            let message = format!(
                "`{}` has {}: name one of {}",
                spec.name,
                text::count(several.len(), "component"),
                targets.join(", ")
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}
