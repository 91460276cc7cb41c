//! One deployment to its end: it runs, or it is taken back. Nothing is called done before it is seen.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use admin::{ClientError, ErrorCode, LogQuery, WorkloadState, WorkloadStatus};
use ledger::Operation;
use tokio::time::Instant;
use types::{ComponentKind, Millis, Name, WorkloadSpec};

use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::preparation::Prepared;
use crate::session::Session;
use crate::status::{activity, log_line, why};
use crate::{terminal, text};

/// Longest single question to the node; a longer wait asks again, and shows what it waits for.
const ASK_MS_MAX: u64 = 1_000;
/// Pause after an answer that came early and settled nothing, so that waiting costs nothing.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// A command that fails at once did not run: so long one is watched before it counts as running.
const COMMAND_PROVES_ITSELF_WITHIN: Duration = Duration::from_millis(300);
/// How long a workload that was put back may take until it runs again.
const RESTORE_WITHIN: Duration = Duration::from_secs(30);
/// How many lines of its log explain a workload that does not run.
const LOG_LINES: u32 = 10;
/// How long fetching them may take.
const LOG_WITHIN: Duration = Duration::from_secs(2);

/// What the node does for a workload that is waited for, as it last said.
#[derive(Default)]
struct Doing(Mutex<Option<String>>);

impl Doing {
    fn read(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn write(&self, doing: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }
}

/// How waiting for a generation ended.
enum End {
    Runs(Box<WorkloadStatus>),
    Fails(String),
    TimedOut(String),
    Interrupted,
    /// Somebody else changed the workload: what it is now is theirs.
    Overtaken(String),
}

/// Admits `prepared` and waits until it runs.
///
/// # Errors
/// [`Failure`] with the reason, the last log lines and what was done about it: a workload that does
/// not run in time is removed, or replaced by what was there before.
pub(crate) async fn deploy(
    session: &Session,
    prepared: &Prepared,
    timeout: Millis,
    interrupt: &mut Interrupt,
) -> Outcome<WorkloadStatus> {
    let name = &prepared.spec.name;
    let replaces = prepared.former.as_ref().map(|former| former.generation);
    let operation = Operation::Deploy {
        spec: prepared.spec.clone(),
        replaces,
    };
    let admitted = interrupt.insisting(session.submit(operation)).await;
    let admitted = admitted.ok_or_else(|| {
        let message = format!("interrupted: `nexus describe {name}` shows whether it was admitted");
        Failure::new(Exit::Interrupted, message)
    })?;
    let generation = admitted?.height;
    let deadline = Instant::now() + timeout.duration();
    let doing = Doing::default();
    let what = || match doing.read() {
        Some(doing) => format!("waiting for `{name}` to run: {doing}"),
        None => format!("waiting for `{name}` to run"),
    };
    let spec = &prepared.spec;
    let wait = wait(session, spec, generation, deadline, interrupt, &doing);
    let failure = match terminal::progress_of(what, wait).await? {
        End::Runs(status) => return Ok(*status),
        End::Overtaken(what) => {
            return Err(Failure::new(
                Exit::WorkloadFailed,
                format!("`{name}` {what}"),
            ));
        }
        End::Fails(reason) => Failure::new(
            Exit::WorkloadFailed,
            format!("`{name}` does not run: {reason}"),
        ),
        End::TimedOut(reason) => Failure::new(
            Exit::WorkloadFailed,
            format!("`{name}` does not run after {timeout}: {reason}"),
        ),
        End::Interrupted => Failure::new(
            Exit::Interrupted,
            format!("interrupted while `{name}` was starting"),
        ),
    };
    let failure = with_log(session, name, failure).await;
    terminal::note(&format!("taking `{name}` back …"));
    let back = take_back(session, name, generation, prepared.former.as_ref());
    Err(match interrupt.insisting(back).await {
        Some(Ok(done)) => failure.hint(done),
        Some(Err(problem)) => failure.hint(format!(
            "Taking it back failed too: {}\n`nexus describe {name}` shows what is left.",
            problem.message()
        )),
        None => failure.hint(format!(
            "Interrupted again before it was taken back: `nexus describe {name}` shows what is left."
        )),
    })
}

/// Waits until a workload that is admitted at `generation` runs, fails, or `within` has passed.
/// Changes nothing in any case.
///
/// # Errors
/// [`Failure`] if it does not run.
pub(crate) async fn observe(
    session: &Session,
    spec: &WorkloadSpec,
    generation: u64,
    within: Duration,
) -> Outcome<WorkloadStatus> {
    let name = &spec.name;
    let mut interrupt = Interrupt::new()?;
    let deadline = Instant::now() + within;
    let failed = |message| Err(Failure::new(Exit::WorkloadFailed, message));
    let doing = Doing::default();
    match wait(session, spec, generation, deadline, &mut interrupt, &doing).await? {
        End::Runs(status) => Ok(*status),
        End::Fails(reason) => failed(format!("`{name}` does not run: {reason}")),
        End::TimedOut(reason) => failed(format!("`{name}` does not run yet: {reason}")),
        End::Overtaken(what) => failed(format!("`{name}` {what}")),
        End::Interrupted => Err(Failure::new(
            Exit::Interrupted,
            format!("interrupted: `nexus describe {name}` shows how it goes on"),
        )),
    }
}

/// Where a workload comes to rest on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Stopped,
    Paused,
}

impl Rest {
    /// The state, the one on the way there, and how both are spelled in a message.
    const fn states(self) -> (WorkloadState, WorkloadState, &'static str, &'static str) {
        match self {
            Self::Stopped => (
                WorkloadState::Stopped,
                WorkloadState::Stopping,
                "stop",
                "stopping",
            ),
            Self::Paused => (
                WorkloadState::Paused,
                WorkloadState::Pausing,
                "pause",
                "pausing",
            ),
        }
    }
}

/// Waits until every replica of a workload that was asked to stop or pause has.
///
/// # Errors
/// [`Failure`] if one has not after `within`, or if the workload is something else by then.
pub(crate) async fn observe_rest(
    session: &Session,
    name: &Name,
    rest: Rest,
    within: Duration,
) -> Outcome<WorkloadStatus> {
    let mut interrupt = Interrupt::new()?;
    let deadline = Instant::now() + within;
    let (there, on_the_way, verb, going) = rest.states();
    loop {
        let status = session.client().workload(name).await;
        let status = status.map_err(|error| session.failure(error))?;
        if status.state == there {
            return Ok(status);
        }
        if status.state != on_the_way || Instant::now() >= deadline {
            let reason = why(&status).map_or_else(String::new, |why| format!(": {why}"));
            let message = format!(
                "`{name}` is admitted to {verb} and is {}{reason}",
                status.state
            );
            return Err(Failure::new(Exit::Failed, message));
        }
        let asked = session
            .client()
            .settled(name, status.generation, ASK_MS_MAX);
        tokio::select! {
            answer = asked => drop(answer.map_err(|error| session.failure(error))?),
            () = interrupt.received() => {
                let message = format!("interrupted: `{name}` goes on {going}");
                return Err(Failure::new(Exit::Interrupted, message));
            }
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn wait(
    session: &Session,
    spec: &WorkloadSpec,
    generation: u64,
    deadline: Instant,
    interrupt: &mut Interrupt,
    doing: &Doing,
) -> Outcome<End> {
    let mut reason = "its node has not reported it".to_owned();
    let is_command = spec
        .components
        .iter()
        .any(|entry| entry.kind == ComponentKind::Command);
    let mut runs_since = None;
    loop {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .as_millis();
        if left == 0 {
            return Ok(End::TimedOut(reason));
        }
        let wait_ms = u64::try_from(left).unwrap_or(ASK_MS_MAX).min(ASK_MS_MAX);
        let answer = tokio::select! {
            biased;
            answer = session.client().settled(&spec.name, generation, wait_ms) => answer,
            () = interrupt.received() => return Ok(End::Interrupted),
        };
        let status = match answer {
            Ok(status) => status,
            Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => {
                return Ok(End::Overtaken("was removed by another command".to_owned()));
            }
            Err(error) => return Err(session.failure(error)),
        };
        match judge(spec, generation, &status) {
            Some(End::Runs(status)) if status.state == WorkloadState::Running && is_command => {
                let since = *runs_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= COMMAND_PROVES_ITSELF_WITHIN {
                    return Ok(End::Runs(status));
                }
            }
            Some(end) => return Ok(end),
            None => runs_since = None,
        }
        let activity = activity(&status);
        doing.write(activity.clone());
        reason = activity
            .or_else(|| why(&status))
            .unwrap_or_else(|| format!("it is still {}", status.state));
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN_AFTER) => {}
            () = interrupt.received() => return Ok(End::Interrupted),
        }
    }
}

/// What a status means for somebody who waits for `generation`; none if it is not decided.
fn judge(spec: &WorkloadSpec, generation: u64, status: &WorkloadStatus) -> Option<End> {
    if status.generation > generation {
        return Some(End::Overtaken("was changed by another command".to_owned()));
    }
    let wanted = |status: &WorkloadStatus| -> Vec<u16> {
        status
            .components
            .iter()
            .map(|component| component.replicas_wanted)
            .collect()
    };
    let asked: Vec<u16> = spec
        .components
        .iter()
        .map(|component| component.replicas)
        .collect();
    let nothing_to_run = asked.iter().all(|replicas| *replicas == 0);
    match status.state {
        WorkloadState::Failed => Some(End::Fails(
            why(status).unwrap_or_else(|| "no reason was given".to_owned()),
        )),
        WorkloadState::Stopped if nothing_to_run => Some(End::Runs(Box::new(status.clone()))),
        WorkloadState::Stopped | WorkloadState::Stopping if !nothing_to_run => {
            Some(End::Overtaken("was stopped by another command".to_owned()))
        }
        WorkloadState::Paused | WorkloadState::Pausing => {
            Some(End::Overtaken("was paused by another command".to_owned()))
        }
        WorkloadState::Running | WorkloadState::Completed if wanted(status) == asked => {
            Some(End::Runs(Box::new(status.clone())))
        }
        _ => None,
    }
}

/// Undoes the deployment at `generation`; says what was done.
async fn take_back(
    session: &Session,
    name: &Name,
    generation: u64,
    former: Option<&WorkloadStatus>,
) -> Outcome<String> {
    let Some(former) = former else {
        return match session
            .submit(Operation::Remove {
                workload: name.clone(),
            })
            .await
        {
            Err(failure) if failure.exit() != Exit::NotFound => Err(failure),
            _ => Ok(format!("`{name}` was removed: nothing of it is left.")),
        };
    };
    let spec = former.spec.clone();
    let operation = Operation::Deploy {
        spec,
        replaces: Some(generation),
    };
    let restored = session.submit(operation).await?.height;
    let was = former.generation;
    if matches!(
        former.state,
        WorkloadState::Stopped | WorkloadState::Stopping
    ) {
        session
            .submit(Operation::Stop {
                workload: name.clone(),
            })
            .await?;
        return Ok(format!(
            "`{name}` was put back as it was at generation {was}: stopped."
        ));
    }
    if matches!(former.state, WorkloadState::Paused | WorkloadState::Pausing) {
        session
            .submit(Operation::Pause {
                workload: name.clone(),
            })
            .await?;
        return Ok(format!(
            "`{name}` was put back as it was at generation {was}: paused, to begin anew."
        ));
    }
    let status = observe(session, &former.spec, restored, RESTORE_WITHIN).await;
    Ok(match status {
        Ok(status) => {
            format!(
                "`{name}` was put back as it was at generation {was}: {}.",
                status.state
            )
        }
        Err(problem) => format!(
            "`{name}` was put back as it was at generation {was}, but {}",
            problem.message()
        ),
    })
}

/// The failure, with the last lines that the workload wrote.
async fn with_log(session: &Session, name: &Name, failure: Failure) -> Failure {
    let query = LogQuery {
        component: None,
        tail: Some(LOG_LINES),
        follow: false,
        here: false,
    };
    let fetch = async {
        let mut lines = Vec::new();
        let mut reader = session.client().logs(name, &query).await.ok()?;
        while let Ok(Some(line)) = reader.next().await {
            lines.push(log_line(&line));
        }
        Some(lines)
    };
    let lines = tokio::time::timeout(LOG_WITHIN, fetch)
        .await
        .ok()
        .flatten()
        .unwrap_or_default();
    if lines.is_empty() {
        return failure;
    }
    let heading = format!("Its last {}:", text::count(lines.len(), "log line"));
    lines.iter().fold(failure.hint(heading), |failure, line| {
        failure.hint(format!("  {line}"))
    })
}
