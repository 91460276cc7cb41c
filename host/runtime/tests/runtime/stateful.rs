//! Stateful libraries: what a caller was told is kept, what failed is undone.

use std::sync::{Arc, Mutex};

use hypermesh_runtime::{
    CHECKPOINT_BYTES_MAX, CallError, Checkpoint, CheckpointError, Checkpoints, InvokeError,
    ReplicaState, Runtime, StartReplicaError, StateError,
};
use types::{ByteSize, ComponentSpec, Limits, Millis};

use crate::harness::{Started, guest, runtime, try_start_with_state};

/// Keeps the latest checkpoint in memory, and fails on demand.
#[derive(Default)]
struct Memory {
    latest: Mutex<Option<Checkpoint>>,
    broken: Mutex<bool>,
}

impl Checkpoints for Memory {
    fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(self.latest.lock().unwrap().clone())
    }

    fn store(&self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        if *self.broken.lock().unwrap() {
            let reason = "the disk is full".to_owned();
            return Err(CheckpointError { reason });
        }
        *self.latest.lock().unwrap() = Some(checkpoint.clone());
        Ok(())
    }
}

impl Memory {
    fn sequence(&self) -> u64 {
        self.latest
            .lock()
            .unwrap()
            .as_ref()
            .map_or(0, |latest| latest.sequence)
    }
}

async fn counter(
    runtime: &Runtime,
    state: &Arc<ReplicaState>,
    change: impl FnOnce(&mut ComponentSpec),
) -> Result<Started, StartReplicaError> {
    let state = Some(Arc::clone(state));
    try_start_with_state(runtime, guest("counter"), state, change).await
}

fn kept() -> (Arc<Memory>, Arc<ReplicaState>) {
    let memory = Arc::new(Memory::default());
    let state = ReplicaState::new(Arc::clone(&memory) as Arc<dyn Checkpoints>);
    (memory, Arc::new(state))
}

async fn number(counter: &Started, export: &str) -> u64 {
    counter.invoke(export, &[]).await.unwrap().parse().unwrap()
}

#[tokio::test]
async fn one_instance_counts_on_and_a_successor_continues() {
    let runtime = runtime();
    let (memory, state) = kept();
    let first = counter(&runtime, &state, |_| {}).await.unwrap();
    for wanted in 1..=5 {
        assert_eq!(number(&first, "increment").await, wanted);
    }
    assert_eq!(number(&first, "resident").await, 5);
    assert_eq!(memory.sequence(), 6, "every call is one step");
    assert_eq!(first.replica.checkpoint().unwrap().bytes, 8);
    let second = counter(&runtime, &state, |_| {}).await.unwrap();
    // The one before must not continue what is no longer its own.
    let error = first.invoke("increment", &[]).await.unwrap_err();
    assert_eq!(error, InvokeError::Call(CallError::Stopped));
    assert_eq!(number(&second, "increment").await, 6);
    assert_eq!(number(&second, "resident").await, 1);
    drop((first, second));
    assert_eq!(
        runtime.free_slots(),
        64,
        "a resident instance gives its slots back"
    );
}

#[tokio::test]
async fn a_call_that_fails_is_undone() {
    let runtime = runtime();
    let (memory, state) = kept();
    let limit = Millis::new(300);
    let counter = counter(&runtime, &state, |spec| spec.limits.wall_time = limit)
        .await
        .unwrap();
    assert_eq!(number(&counter, "increment").await, 1);
    let error = counter.invoke("trap", &[]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Trap { .. })),
        "{error}"
    );
    assert_eq!(number(&counter, "increment").await, 2);
    let error = counter.invoke("spin", &[]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Breach(_))),
        "{error}"
    );
    assert_eq!(number(&counter, "increment").await, 3);
    let replica = counter.replica.clone();
    let cancelled = tokio::time::timeout(Millis::new(50).duration(), replica.invoke("spin", &[]));
    assert!(cancelled.await.is_err());
    assert_eq!(number(&counter, "increment").await, 4);
    *memory.broken.lock().unwrap() = true;
    let error = counter
        .invoke("increment", &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the disk is full"), "{error}");
    *memory.broken.lock().unwrap() = false;
    assert_eq!(number(&counter, "value").await, 4);
}

#[tokio::test]
async fn calls_at_once_come_one_after_another() {
    let runtime = runtime();
    let (memory, state) = kept();
    let counter = counter(&runtime, &state, |_| {}).await.unwrap();
    let calls = (0..32).map(|_| number(&counter, "increment"));
    let mut seen = futures::future::join_all(calls).await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=32).collect::<Vec<u64>>());
    assert_eq!(memory.sequence(), 32);
}

#[tokio::test]
async fn a_hostile_checkpoint_fails_its_call_and_no_other() {
    for (how, wanted) in [
        ("1", "`checkpoint` failed: trap"),
        ("2", "`checkpoint` failed: "),
        ("3", "`checkpoint` failed: wall time limit"),
        ("4", "`checkpoint` failed: no checkpoint today"),
        ("5", "`checkpoint` returned 9437184 bytes"),
        ("7", "`checkpoint` failed: "),
    ] {
        let runtime = runtime();
        let (memory, state) = kept();
        let counter = counter(&runtime, &state, |spec| {
            spec.limits = Limits {
                wall_time: Millis::new(300),
                memory: ByteSize::mib(64),
                ..Limits::default()
            };
        })
        .await
        .unwrap();
        assert_eq!(number(&counter, "increment").await, 1);
        let error = counter
            .invoke("misbehave", &[how])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{how}: {error}");
        assert_eq!(memory.sequence(), 1);
        assert_eq!(number(&counter, "increment").await, 2, "{how}");
    }
    assert_eq!(CHECKPOINT_BYTES_MAX, 8 << 20);
}

#[tokio::test]
async fn a_checkpoint_that_restore_refuses_stops_the_start_and_stays() {
    let runtime = runtime();
    let (memory, state) = kept();
    let first = counter(&runtime, &state, |_| {}).await.unwrap();
    assert_eq!(number(&first, "increment").await, 1);
    // The instance that wrote it goes on; one that must read it cannot.
    first.invoke("misbehave", &["6"]).await.unwrap();
    let error = counter(&runtime, &state, |_| {}).await.err().unwrap();
    let refused = StateError::Restore {
        sequence: 2,
        reason: "not a counter".to_owned(),
    };
    assert_eq!(error, StartReplicaError::State(refused));
    assert_eq!(memory.sequence(), 2);
    assert_eq!(number(&first, "value").await, 101, "the one before goes on");
}

#[tokio::test]
async fn the_hosts_own_functions_are_not_for_callers() {
    let runtime = runtime();
    let (_, state) = kept();
    let counter = counter(&runtime, &state, |_| {}).await.unwrap();
    for export in ["restore", "hypermesh:workload/lifecycle@0.1.0#restore"] {
        let error = counter.invoke(export, &["[]"]).await.unwrap_err();
        assert!(
            matches!(error, InvokeError::UnknownExport { .. }),
            "{error}"
        );
    }
    let error = try_start_with_state(&runtime, guest("counter"), None, |_| {}).await;
    assert_eq!(
        error.err(),
        Some(StartReplicaError::State(StateError::NoPlace))
    );
}

#[tokio::test]
async fn a_deterministic_library_is_the_same_with_and_without_a_restart() {
    let runtime = runtime();
    let mut runs = Vec::new();
    for restarted in [false, true] {
        let (_, state) = kept();
        let start = || counter(&runtime, &state, |spec| spec.deterministic_seed = Some(1));
        let mut counter = start().await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            if restarted {
                counter = start().await.unwrap();
            }
            let called = counter.replica.invoke_counted("increment", &[]).await;
            seen.push(called.unwrap());
        }
        assert_eq!(number(&counter, "resident").await, 0);
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0][3].result, "4");
    assert!(runs[0][3].fuel_used.is_some_and(|fuel| fuel > 0));
}
