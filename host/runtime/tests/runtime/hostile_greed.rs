//! Clocks, chance, polling and the command line against guests that ask for too much, in both
//! releases of WASI.

use hypermesh_runtime::{Breach, CallError, InvokeError, RANDOM_BYTES_MAX};
use types::{ComponentSpec, Millis};

use crate::harness::{Started, eventually, runtime, start};
use crate::http::hello;

const GREEDY: [&str; 2] = ["greedy", "greedy-0.3"];
const WALL_TIME: Millis = Millis::new(300);

fn limited(spec: &mut ComponentSpec) {
    spec.limits.wall_time = WALL_TIME;
}

async fn failure(guest: &Started, export: &str, args: &[&str]) -> CallError {
    match guest.invoke(export, args).await {
        Err(InvokeError::Call(error)) => error,
        other => panic!("{export}: {other:?}"),
    }
}

fn out_of_time() -> CallError {
    CallError::Breach(Breach::WallTime { limit: WALL_TIME })
}

#[tokio::test]
async fn chance_is_given_up_to_the_bound_of_a_call() {
    let runtime = runtime();
    let most = RANDOM_BYTES_MAX.to_string();
    let (more, all) = ((RANDOM_BYTES_MAX + 1).to_string(), u64::MAX.to_string());
    for name in GREEDY {
        let guest = start(&runtime, name, |_| {}).await;
        for export in ["random", "insecure"] {
            assert_eq!(guest.invoke(export, &[&most]).await.unwrap(), most);
            for asked in [&more, &all] {
                // 0.3 lets the host give less than was asked for, 0.2 does not.
                match guest.invoke(export, &[asked]).await {
                    Ok(given) => assert_eq!((given, name), (most.clone(), "greedy-0.3")),
                    Err(error) => assert_eq!(name, "greedy", "{error}"),
                }
            }
            assert_eq!(guest.invoke(export, &["1"]).await.unwrap(), "1");
        }
        let seed = async || guest.invoke("seed", &[]).await.unwrap();
        assert_ne!(seed().await, seed().await, "{name}: instances differ");
    }
}

#[tokio::test]
async fn the_longest_sleep_ends_with_its_wall_time() {
    let runtime = runtime();
    for name in GREEDY {
        let guest = start(&runtime, name, limited).await;
        for nanoseconds in [u64::MAX, u64::MAX / 2, 3_600_000_000_000] {
            let error = failure(&guest, "sleep", &[&nanoseconds.to_string()]).await;
            assert_eq!(error, out_of_time(), "{name}: {nanoseconds}");
        }
        guest.invoke("sleep", &["0"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_guest_that_only_looks_at_the_clock_leaves_room_for_others() {
    let runtime = runtime();
    for name in GREEDY {
        let guest = start(&runtime, name, limited).await;
        let neighbour = start(&runtime, "http/hello", |_| {}).await;
        let replica = guest.replica.clone();
        let call = tokio::spawn(async move { replica.invoke("watch", &[]).await });
        eventually("it runs", || guest.replica.in_flight() == 1).await;
        hello(&neighbour).await;
        assert_eq!(
            call.await.unwrap(),
            Err(InvokeError::Call(out_of_time())),
            "{name}"
        );
    }
}

#[tokio::test]
async fn timers_and_inputs_that_are_hoarded_end_their_instance_only() {
    let runtime = runtime();
    for (name, export) in [
        ("greedy", "timers"),
        ("greedy", "inputs"),
        ("greedy-0.3", "inputs"),
    ] {
        let guest = start(&runtime, name, |_| {}).await;
        let error = failure(&guest, export, &[]).await;
        assert!(
            matches!(error, CallError::Host { .. } | CallError::Trap { .. }),
            "{name} {export}: {error}"
        );
        assert_eq!(guest.invoke("variables", &[]).await.unwrap(), "0");
    }
}

#[tokio::test]
async fn polls_of_nothing_and_of_one_thing_many_times_end() {
    let guest = start(&runtime(), "greedy", limited).await;
    failure(&guest, "poll-nothing", &[]).await;
    let ready = guest.invoke("poll-one", &["10000"]).await.unwrap();
    assert_eq!(ready, "10000");
}

#[tokio::test]
async fn nobody_types_and_no_terminal_nor_variable_of_the_host_is_there() {
    let runtime = runtime();
    for name in GREEDY {
        let guest = start(&runtime, name, |_| {}).await;
        assert_eq!(guest.invoke("terminals", &[]).await.unwrap(), "0");
        assert_eq!(guest.invoke("variables", &[]).await.unwrap(), "0");
    }
    let guest = start(&runtime, "greedy", |_| {}).await;
    for bytes in [1, u64::MAX] {
        let ended = guest.invoke("input-ends", &[&bytes.to_string()]).await;
        assert_eq!(ended.unwrap(), "true", "{bytes}");
    }
    // No bytes and the end: how a stream says so in one number.
    let guest = start(&runtime, "greedy-0.3", |_| {}).await;
    assert_eq!(guest.invoke("input", &[]).await.unwrap(), "1");
}

#[tokio::test]
async fn an_exit_ends_the_call_and_nothing_else() {
    let guest = start(&runtime(), "greedy-0.3", |_| {}).await;
    for _ in 0..2 {
        let error = failure(&guest, "leave", &[]).await;
        assert!(!matches!(error, CallError::Breach(_)), "{error}");
    }
    assert_eq!(guest.invoke("terminals", &[]).await.unwrap(), "0");
}
