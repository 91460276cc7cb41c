//! Starting: everything that can be found before anything counts as running.

use hypermesh_runtime::{
    Breach, CallError, CallKind, CallOutcome, Preopen, Runtime, RuntimeConfig, StartReplicaError,
};
use types::{ByteSize, ComponentKind, Millis};

use crate::harness::{assemble, guest, runtime, runtime_of, try_start};

async fn refused(
    runtime: &Runtime,
    bytes: Vec<u8>,
    change: impl FnOnce(&mut types::ComponentSpec),
) -> StartReplicaError {
    try_start(runtime, bytes, Vec::new(), change)
        .await
        .err()
        .unwrap()
}

fn with_module(module: &str) -> Vec<u8> {
    assemble(&format!(
        "(component (core module $m {module}) (core instance (instantiate $m)))"
    ))
}

#[tokio::test]
async fn a_trap_in_a_start_function_is_found() {
    let bytes = with_module("(func $begin unreachable) (start $begin)");
    let error = refused(&runtime(), bytes, |_| {}).await;
    let StartReplicaError::Instantiate(CallError::Trap { backtrace, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(backtrace[0].function.as_deref(), Some("begin"));
}

#[tokio::test]
async fn an_endless_start_function_is_stopped() {
    let bytes = with_module("(func $begin (loop $l (br $l))) (start $begin)");
    let limit = Millis::new(50);
    let error = refused(&runtime(), bytes, |spec| spec.limits.wall_time = limit).await;
    let breach = CallError::Breach(Breach::WallTime { limit });
    assert_eq!(error, StartReplicaError::Instantiate(breach));
}

#[tokio::test]
async fn minimum_sizes_above_the_limits_are_found() {
    let runtime = runtime();
    let limit = ByteSize::mib(1);
    let one = with_module("(memory 17)");
    let many = with_module("(memory 8) (memory 8) (memory 1)");
    for bytes in [one, many] {
        let error = refused(&runtime, bytes, |spec| spec.limits.memory = limit).await;
        let asked = ByteSize::kib(17 * 64);
        let breach = CallError::Breach(Breach::Memory { limit, asked });
        assert_eq!(error, StartReplicaError::Instantiate(breach));
    }
    let bytes = with_module("(table 600 funcref) (table 600 funcref)");
    let error = refused(&runtime, bytes, |spec| spec.limits.table_elements = 1_000).await;
    let breach = CallError::Breach(Breach::Tables {
        limit: 1_000,
        asked: 1_200,
    });
    assert_eq!(error, StartReplicaError::Instantiate(breach));
}

#[tokio::test]
async fn what_the_node_cannot_hold_is_refused() {
    let small = RuntimeConfig {
        instances_max: 2,
        memory_max: ByteSize::mib(16),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(small).unwrap();
    let error = refused(&runtime, guest("library"), |_| {}).await;
    assert!(
        matches!(error, StartReplicaError::MemoryAbovePool { .. }),
        "{error}"
    );
    let error = refused(&runtime_of(2), guest("limits"), |_| {}).await;
    assert_eq!(
        error,
        StartReplicaError::PoolTooSmall {
            needed: 3,
            available: 2
        }
    );
}

#[tokio::test]
async fn what_does_not_fit_its_admission_is_refused() {
    let runtime = runtime();
    let error = refused(&runtime, guest("library"), |spec| {
        spec.kind = ComponentKind::Http
    })
    .await;
    let (admitted, found) = (ComponentKind::Http, ComponentKind::Library);
    assert_eq!(error, StartReplicaError::Kind { admitted, found });
    let error = refused(&runtime, guest("library"), |spec| {
        spec.limits.cpu_percent = 0
    })
    .await;
    assert!(matches!(error, StartReplicaError::Limits(_)), "{error}");
    let missing = Preopen {
        host_dir: "/does/not/exist".into(),
        guest_path: "/data".to_owned(),
        writable: false,
    };
    let started = try_start(&runtime, guest("library"), vec![missing], |_| {}).await;
    assert!(matches!(
        started.err(),
        Some(StartReplicaError::Preopen { .. })
    ));
}

#[tokio::test]
async fn a_component_is_tried_once_and_a_command_is_not() {
    let runtime = runtime();
    let library = try_start(&runtime, guest("library"), Vec::new(), |_| {})
        .await
        .unwrap();
    let records = library.seen.records();
    assert_eq!((records.len(), &records[0].kind), (1, &CallKind::Trial));
    assert_eq!(records[0].outcome, CallOutcome::Completed);
    let command = try_start(&runtime, guest("command/ok"), Vec::new(), |_| {})
        .await
        .unwrap();
    assert!(command.seen.records().is_empty());
}
