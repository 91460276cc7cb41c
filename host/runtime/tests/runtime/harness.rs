//! What every test needs: guests from their text, a runtime, a replica, a recorder. Tests nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hypermesh_runtime::{
    Breach, CallOutcome, CallRecord, Denial, LogStream, Observer, Preopen, Profile, Replica,
    ReplicaConfig, ReplicaId, ReplicaState, Runtime, RuntimeConfig, Services, StartReplicaError,
    assemble_text,
};
use types::{ComponentKind, ComponentSpec, Digest, Name, RestartPolicy};

/// Longest wait for what must come: generous, for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps everything that an observer is told.
#[derive(Default)]
pub(crate) struct Recorder {
    logs: Mutex<BTreeMap<String, Vec<u8>>>,
    breaches: Mutex<Vec<Breach>>,
    records: Mutex<Vec<CallRecord>>,
    denials: Mutex<Vec<Denial>>,
}

impl Observer for Recorder {
    fn log(&self, stream: LogStream, bytes: &[u8]) {
        self.logs
            .lock()
            .unwrap()
            .entry(stream.to_string())
            .or_default()
            .extend(bytes);
    }

    fn breach(&self, breach: Breach) {
        self.breaches.lock().unwrap().push(breach);
    }

    fn call(&self, record: CallRecord) {
        self.records.lock().unwrap().push(record);
    }

    fn denied(&self, what: Denial) {
        self.denials.lock().unwrap().push(what);
    }
}

impl Recorder {
    pub(crate) fn log_text(&self, stream: LogStream) -> String {
        let logs = self.logs.lock().unwrap();
        let bytes = logs.get(&stream.to_string()).cloned().unwrap_or_default();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn breaches(&self) -> Vec<Breach> {
        self.breaches.lock().unwrap().clone()
    }

    pub(crate) fn denials(&self) -> Vec<Denial> {
        self.denials.lock().unwrap().clone()
    }

    pub(crate) fn records(&self) -> Vec<CallRecord> {
        self.records.lock().unwrap().clone()
    }

    pub(crate) fn last_outcome(&self) -> Option<CallOutcome> {
        self.records().last().map(|record| record.outcome.clone())
    }
}

/// Waits for `reached` without assuming how long it takes.
pub(crate) async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn part(name: &str) -> String {
    let path = format!("{}/tests/guests/{name}.wat", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a guest, with its shared parts and `main` put in.
fn text(frame: &str, slot: &str, main: &str) -> String {
    let mut text = part(frame).replace(&format!(";;{{{slot}}}"), main);
    for shared in ["streams", "error-code", "libc"] {
        let mark = format!(";;{{{shared}}}");
        if text.contains(&mark) {
            text = text.replace(&mark, &part(shared));
        }
    }
    text
}

/// A component by name: `library`, `http/hello`, `http-0.3/hello`, `command/report`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let text = match name.split_once('/') {
        Some(("http", handle)) => text("http", "handle", &part(&format!("handle-{handle}"))),
        Some(("worker", handle)) => text("worker", "handle", &part(&format!("worker-{handle}"))),
        Some(("http-0.3", handle)) => {
            text("http-0.3", "handle", &part(&format!("handle3-{handle}")))
        }
        Some(("command", run)) => text("command", "run", &part(&format!("run-{run}"))),
        _ => text(name, "none", ""),
    };
    assemble(&text)
}

pub(crate) fn assemble(text: &str) -> Vec<u8> {
    assemble_text(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A specification that grants and limits nothing beyond the defaults.
pub(crate) fn spec(kind: ComponentKind, artifact: Digest) -> ComponentSpec {
    ComponentSpec {
        restart: RestartPolicy::Never,
        ..ComponentSpec::new(name("guest"), kind, artifact)
    }
}

pub(crate) fn runtime() -> Runtime {
    runtime_of(64)
}

pub(crate) fn runtime_of(instances_max: u32) -> Runtime {
    Runtime::new(RuntimeConfig {
        instances_max,
        ..RuntimeConfig::default()
    })
    .unwrap()
}

/// A replica and who watches it.
pub(crate) struct Started {
    pub(crate) replica: Replica,
    pub(crate) seen: Arc<Recorder>,
}

/// Starts `bytes` with what `change` makes of the default specification.
pub(crate) async fn try_start(
    runtime: &Runtime,
    bytes: Vec<u8>,
    preopens: Vec<Preopen>,
    change: impl FnOnce(&mut ComponentSpec),
) -> Result<Started, StartReplicaError> {
    try_start_with(runtime, bytes, preopens, Services::default(), change).await
}

/// As [`try_start`], with a place for checkpoints.
pub(crate) async fn try_start_with_state(
    runtime: &Runtime,
    bytes: Vec<u8>,
    state: Option<Arc<ReplicaState>>,
    change: impl FnOnce(&mut ComponentSpec),
) -> Result<Started, StartReplicaError> {
    let services = Services {
        state,
        ..Services::default()
    };
    try_start_with(runtime, bytes, Vec::new(), services, change).await
}

/// As [`try_start`], with services.
pub(crate) async fn try_start_with(
    runtime: &Runtime,
    bytes: Vec<u8>,
    preopens: Vec<Preopen>,
    services: Services,
    change: impl FnOnce(&mut ComponentSpec),
) -> Result<Started, StartReplicaError> {
    let artifact = Digest::of(&bytes);
    let inspection = runtime.inspect(&bytes).unwrap();
    let mut spec = spec(inspection.kind, artifact);
    change(&mut spec);
    let compiled = runtime
        .compile(artifact, bytes, Profile::of(&spec, &inspection))
        .await
        .unwrap();
    let seen = Arc::new(Recorder::default());
    let observer: Arc<dyn Observer> = seen.clone();
    let id = ReplicaId {
        workload: name("test"),
        component: name("guest"),
        index: 0,
    };
    let config = ReplicaConfig {
        id,
        spec,
        compiled,
        preopens,
        services,
        observer,
    };
    let replica = runtime.replica(config).await?;
    Ok(Started { replica, seen })
}

pub(crate) async fn start(
    runtime: &Runtime,
    guest_name: &str,
    change: impl FnOnce(&mut ComponentSpec),
) -> Started {
    try_start(runtime, guest(guest_name), Vec::new(), change)
        .await
        .unwrap()
}

impl Started {
    pub(crate) async fn invoke(
        &self,
        export: &str,
        args: &[&str],
    ) -> Result<String, hypermesh_runtime::InvokeError> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        self.replica.invoke(export, &args).await
    }
}
