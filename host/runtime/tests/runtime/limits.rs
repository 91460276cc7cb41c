//! Limits: each one reached, typed, reported, and gone with its call.

use std::num::NonZeroU64;

use hypermesh_runtime::{Breach, CallError, CallKind, CallOutcome, InvokeError};
use types::{ByteSize, Limits, Millis};

use crate::harness::{Started, eventually, runtime, runtime_of, start};
use crate::http::{get, hello};

fn breach(error: InvokeError) -> Breach {
    match error {
        InvokeError::Call(CallError::Breach(breach)) => breach,
        other => panic!("{other}"),
    }
}

async fn spin(guest: &Started) -> Breach {
    breach(guest.invoke("spin", &[]).await.unwrap_err())
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_wall_time() {
    let runtime = runtime();
    let limit = Millis::new(50);
    let guest = start(&runtime, "limits", |spec| spec.limits.wall_time = limit).await;
    assert_eq!(spin(&guest).await, Breach::WallTime { limit });
    assert_eq!(guest.seen.breaches(), [Breach::WallTime { limit }]);
    let record = guest.seen.records().pop().unwrap();
    assert!(
        record.wall >= limit.duration() && record.cpu <= record.wall,
        "{record:?}"
    );
}

#[tokio::test]
async fn memory_is_summed_over_all_memories() {
    let runtime = runtime();
    let limit = ByteSize::mib(8);
    let guest = start(&runtime, "limits", |spec| spec.limits.memory = limit).await;
    assert_eq!(guest.invoke("grow", &["16"]).await.unwrap(), "1");
    assert_eq!(guest.seen.breaches(), []);
    assert_eq!(guest.invoke("grow", &["65000"]).await.unwrap(), "-1");
    assert_eq!(guest.seen.breaches().len(), 1);
    // 128 pages are 8 MiB, three of them were there from the beginning.
    assert_eq!(guest.invoke("grow-many", &[]).await.unwrap(), "112");
    let peak = guest.seen.records().pop().unwrap().memory_peak_bytes;
    assert_eq!(peak, (112 + 3) * 65_536);
    let error = guest.invoke("grow-or-die", &["1000"]).await.unwrap_err();
    assert!(matches!(breach(error), Breach::Memory { limit: seen, .. } if seen == limit));
}

#[tokio::test]
async fn table_elements_are_summed_over_all_tables() {
    let runtime = runtime();
    let guest = start(&runtime, "limits", |spec| {
        spec.limits.table_elements = 1_000
    })
    .await;
    assert_eq!(guest.invoke("grow-tables", &["499"]).await.unwrap(), "1");
    assert_eq!(guest.invoke("grow-tables", &["500"]).await.unwrap(), "-1");
    assert_eq!(
        guest.invoke("grow-tables", &["4000000000"]).await.unwrap(),
        "-1"
    );
    assert!(matches!(
        guest.seen.breaches()[0],
        Breach::Tables {
            limit: 1_000,
            asked: 1_002
        }
    ));
}

#[tokio::test]
async fn recursion_ends_with_the_stack_limit() {
    let runtime = runtime();
    let guest = start(&runtime, "limits", |_| {}).await;
    let error = guest.invoke("recurse", &["0"]).await.unwrap_err();
    assert!(matches!(breach(error), Breach::StackOverflow { .. }));
    assert_eq!(guest.invoke("count", &["10"]).await.unwrap(), "10");
}

#[tokio::test]
async fn a_result_that_would_swell_in_the_host_is_refused() {
    let runtime = runtime();
    let guest = start(&runtime, "limits", |spec| {
        spec.limits.memory = ByteSize::mib(256)
    })
    .await;
    let small = guest.invoke("bytes", &["1"]).await.unwrap();
    assert_eq!(small.matches(',').count(), 65_535);
    let error = guest.invoke("bytes", &["3000"]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Host { .. })),
        "{error}"
    );
    assert_eq!(guest.invoke("count", &["10"]).await.unwrap(), "10");
}

#[tokio::test]
async fn fuel_is_counted_and_ends_the_call() {
    let runtime = runtime();
    let fuel = NonZeroU64::new(100_000).unwrap();
    let guest = start(&runtime, "limits", |spec| spec.limits.fuel = Some(fuel)).await;
    assert_eq!(guest.invoke("count", &["1000"]).await.unwrap(), "1000");
    let used = guest.seen.records().pop().unwrap().fuel_used.unwrap();
    assert!((1_000..100_000).contains(&used), "{used}");
    let error = guest.invoke("count", &["1000000"]).await.unwrap_err();
    assert_eq!(breach(error), Breach::Fuel { limit: fuel.get() });
    let used = guest.seen.records().pop().unwrap().fuel_used.unwrap();
    assert!(used >= fuel.get(), "{used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cpu_share_is_a_share() {
    let runtime = runtime();
    let limits = |percent| Limits {
        cpu_percent: percent,
        wall_time: Millis::new(1_500),
        ..Limits::default()
    };
    let slowest = start(&runtime, "limits", |spec| spec.limits = limits(1)).await;
    let slow = start(&runtime, "limits", |spec| spec.limits = limits(10)).await;
    let fast = start(&runtime, "limits", |spec| spec.limits = limits(100)).await;
    tokio::join!(spin(&slowest), spin(&slow), spin(&fast));
    let cpu = |guest: &Started| guest.seen.records().pop().unwrap().cpu;
    // On a busy machine the fast one gets what is left, the others still no more than their share.
    assert!(
        cpu(&slow) < Millis::new(250).duration(),
        "{:?} of 150 ms",
        cpu(&slow)
    );
    assert!(
        cpu(&slowest) < Millis::new(100).duration(),
        "{:?} of 15 ms",
        cpu(&slowest)
    );
    assert!(
        cpu(&slowest) * 2 < cpu(&fast),
        "{:?} beside {:?}",
        cpu(&slowest),
        cpu(&fast)
    );
}

#[tokio::test]
async fn calls_beyond_the_places_wait_and_beyond_the_queue_are_refused() {
    let runtime = runtime();
    let guest = start(&runtime, "http/spin", |spec| {
        spec.limits.requests_in_flight = 1;
        spec.limits.requests_queued = 1;
        spec.limits.queue_time = Millis::new(200);
    })
    .await;
    let call = || {
        let replica = guest.replica.clone();
        tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
    };
    let running = call();
    eventually("the first runs", || guest.replica.in_flight() == 1).await;
    let (one, other) = tokio::join!(call(), call());
    let mut ends = [one.unwrap().unwrap_err(), other.unwrap().unwrap_err()];
    ends.sort_by_key(|end| matches!(end, CallError::QueueTimeout { .. }));
    let [full, timeout] = ends;
    assert!(
        matches!(full, CallError::QueueFull { queued: 1, .. }),
        "{full}"
    );
    assert!(
        matches!(timeout, CallError::QueueTimeout { .. }),
        "{timeout}"
    );
    running.abort();
    eventually("the first is stopped", || guest.replica.in_flight() == 0).await;
}

#[tokio::test]
async fn a_full_pool_makes_calls_wait_not_fail() {
    let runtime = runtime_of(4);
    let busy = start(&runtime, "http/spin", |_| {}).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let replica = busy.replica.clone();
            tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
        })
        .collect();
    // Half of the pool is the most that one replica gets: a neighbour finds room.
    eventually("half the pool is taken", || busy.replica.in_flight() == 2).await;
    let neighbour = start(&runtime, "http/hello", |_| {}).await;
    let requests = (0..8).map(|_| hello(&neighbour));
    futures::future::join_all(requests).await;
    assert!(busy.replica.in_flight() <= 2);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("all slots are free again", || runtime.free_slots() == 4).await;
}

#[tokio::test]
async fn more_calls_than_slots_over_two_replicas_all_get_their_turn() {
    let runtime = runtime_of(4);
    let first = start(&runtime, "http/hello", |_| {}).await;
    let second = start(&runtime, "http/hello", |_| {}).await;
    let requests = (0..64).map(|number| hello(if number % 2 == 0 { &first } else { &second }));
    futures::future::join_all(requests).await;
    let outcomes = [&first, &second].map(|guest| {
        let records = guest.seen.records();
        let calls = records
            .iter()
            .filter(|record| record.kind == CallKind::Http);
        let done = calls.filter(|record| record.outcome == CallOutcome::Completed);
        done.count()
    });
    assert_eq!(outcomes, [32, 32]);
    eventually("all slots are free again", || runtime.free_slots() == 4).await;
}

#[tokio::test]
async fn stop_ends_a_spinner_and_refuses_what_comes() {
    let runtime = runtime();
    let guest = start(&runtime, "http/spin", |_| {}).await;
    let replica = guest.replica.clone();
    let call = tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) });
    eventually("the guest runs", || guest.replica.in_flight() == 1).await;
    guest.replica.stop();
    assert_eq!(call.await.unwrap(), Err(CallError::Stopped));
    let outcome = CallOutcome::Failed(CallError::Stopped);
    assert_eq!(guest.seen.last_outcome(), Some(outcome));
    let error = guest.replica.handle(get()).await.unwrap_err();
    assert_eq!(error, CallError::Stopped);
}

#[tokio::test]
async fn drain_lets_calls_end_and_stops_those_that_do_not() {
    let runtime = runtime();
    let guest = start(&runtime, "limits", |_| {}).await;
    let call = |export: &'static str, args: Vec<String>| {
        let replica = guest.replica.clone();
        tokio::spawn(async move { replica.invoke(export, &args).await })
    };
    let short = call("count", vec!["1000000".to_owned()]);
    let endless = call("spin", Vec::new());
    eventually("both run", || {
        guest.replica.in_flight() == 2 || short.is_finished()
    })
    .await;
    eventually("the spinner runs", || guest.replica.in_flight() >= 1).await;
    let report = guest.replica.drain(Millis::new(300).duration()).await;
    assert_eq!(report.aborted, 1);
    assert_eq!(short.await.unwrap().unwrap(), "1000000");
    assert_eq!(
        endless.await.unwrap(),
        Err(InvokeError::Call(CallError::Stopped))
    );
    assert_eq!(guest.replica.in_flight(), 0);
}
