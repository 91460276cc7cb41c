//! Pausing: no cpu while paused, nothing lost, a stop ends it all the same.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt as _;
use http_body_util::BodyExt as _;
use hypermesh_runtime::{Breach, CallError, CallOutcome, ExitStatus};
use tokio::time::sleep;
use types::Millis;

use crate::harness::{PATIENCE, eventually, runtime, start};
use crate::hostile::process_cpu;
use crate::http::{get, hello, streaming};

/// What the issue allows between a pause and the end of all cpu use.
const PAUSED_WITHIN: Duration = Duration::from_millis(10);
/// Long enough for a guest that still computes to be noticed.
const WATCHED_FOR: Duration = Duration::from_millis(300);
/// Cpu of this process over [`WATCHED_FOR`] while nothing computes: far less than a spinner's.
const IDLE_CPU_MAX: Duration = Duration::from_millis(30);

/// Cpu that is used from now on for a while, ten milliseconds from now.
async fn cpu_after_pause() -> Duration {
    sleep(PAUSED_WITHIN).await;
    let before = process_cpu();
    sleep(WATCHED_FOR).await;
    process_cpu() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_spinners_use_no_cpu_and_lose_nothing() {
    let runtime = runtime();
    let counter = start(&runtime, "limits", |_| {}).await;
    let spinner = start(&runtime, "command/spin", |_| {}).await;
    let count = {
        let replica = counter.replica.clone();
        tokio::spawn(async move { replica.invoke("count", &["4000000000".to_owned()]).await })
    };
    let spin = {
        let replica = spinner.replica.clone();
        tokio::spawn(async move { replica.run().await })
    };
    for _ in 0..3 {
        let before = process_cpu();
        eventually("both compute", || {
            process_cpu() - before > Duration::from_millis(60)
        })
        .await;
        assert!(!count.is_finished(), "counted before it could be paused");
        assert!(counter.replica.pause() && !counter.replica.pause());
        assert!(spinner.replica.pause() && spinner.replica.is_paused());
        let spent = cpu_after_pause().await;
        assert!(spent < IDLE_CPU_MAX, "{spent:?} in {WATCHED_FOR:?}");
        assert_eq!(counter.replica.in_flight() + spinner.replica.in_flight(), 2);
        assert!(counter.replica.resume() && !counter.replica.resume());
        assert!(spinner.replica.resume());
    }
    assert_eq!(count.await.unwrap().unwrap(), "4000000000");
    spinner.replica.stop();
    assert_eq!(spin.await.unwrap(), Err(CallError::Stopped));
}

#[tokio::test]
async fn wall_time_stands_still_while_paused() {
    let runtime = runtime();
    let limit = Millis::new(400);
    let spinner = start(&runtime, "command/spin", |spec| {
        spec.limits.wall_time = limit
    })
    .await;
    let waiter = start(&runtime, "http/echo", |spec| spec.limits.wall_time = limit).await;
    let (_pieces, request) = streaming();
    let body = waiter.replica.handle(request).await.unwrap().into_body();
    let collected = tokio::spawn(body.collect());
    let spin = {
        let replica = spinner.replica.clone();
        tokio::spawn(async move { replica.run().await })
    };
    eventually("it spins", || spinner.replica.in_flight() == 1).await;
    spinner.replica.pause();
    waiter.replica.pause();
    sleep(limit.duration() * 3).await;
    assert!(!spin.is_finished() && !collected.is_finished());
    spinner.replica.resume();
    waiter.replica.resume();
    let breach = CallError::Breach(Breach::WallTime { limit });
    assert_eq!(spin.await.unwrap(), Err(breach.clone()));
    assert!(collected.await.unwrap().is_err());
    for seen in [&spinner.seen, &waiter.seen] {
        eventually("the call ends", || {
            seen.last_outcome() == Some(CallOutcome::Failed(breach.clone()))
        })
        .await;
        let wall = seen.records().pop().unwrap().wall;
        assert!(wall >= limit.duration() * 4, "{wall:?}");
    }
}

#[tokio::test]
async fn streams_stall_and_go_on() {
    let runtime = runtime();
    let guest = start(&runtime, "http/echo", |_| {}).await;
    let (mut pieces, request) = streaming();
    let mut body = guest.replica.handle(request).await.unwrap().into_body();
    for round in 0..3 {
        guest.replica.pause();
        // It may be at work on another thread, to the end of its time slice.
        sleep(Duration::from_millis(50)).await;
        let piece = Bytes::from(format!("piece {round}"));
        pieces.send(piece.clone()).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
        assert!(early.is_err(), "a paused guest answered");
        guest.replica.resume();
        let echoed = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(echoed, piece);
    }
    drop(pieces);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn requests_wait_for_the_end_of_a_pause_and_not_for_ever() {
    let runtime = runtime();
    let guest = start(&runtime, "http/hello", |spec| {
        spec.limits.queue_time = Millis::seconds(60)
    })
    .await;
    let hasty = start(&runtime, "http/hello", |spec| {
        spec.limits.queue_time = Millis::new(50)
    })
    .await;
    guest.replica.pause();
    hasty.replica.pause();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let replica = guest.replica.clone();
            tokio::spawn(async move { replica.handle(get()).await.map(|answer| answer.status()) })
        })
        .collect();
    let error = hasty.replica.handle(get()).await.unwrap_err();
    let CallError::Paused { retry_after, .. } = error else {
        panic!("{error}");
    };
    assert!(retry_after >= Duration::from_secs(1));
    assert!(waiting.iter().all(|call| !call.is_finished()));
    assert_eq!(guest.replica.in_flight(), 0, "they wait before they begin");
    guest.replica.resume();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap(), 200);
    }
    hasty.replica.resume();
    hello(&hasty).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_paused_guest_frees_it() {
    let runtime = runtime();
    let guest = start(&runtime, "http/spin", |_| {}).await;
    let call = {
        let replica = guest.replica.clone();
        tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
    };
    eventually("the guest runs", || guest.replica.in_flight() == 1).await;
    guest.replica.pause();
    sleep(PAUSED_WITHIN).await;
    call.abort();
    eventually("it is gone", || guest.replica.in_flight() == 0).await;
    assert_eq!(runtime.free_slots(), 64);
    assert!(guest.replica.is_paused());
}

#[tokio::test]
async fn a_command_that_is_paused_from_the_start_does_not_begin() {
    let runtime = runtime();
    let command = start(&runtime, "command/ok", |spec| {
        spec.limits.queue_time = Millis::new(20)
    })
    .await;
    command.replica.pause();
    let run = {
        let replica = command.replica.clone();
        tokio::spawn(async move { replica.run().await })
    };
    sleep(Duration::from_millis(100)).await;
    assert!(!run.is_finished() && command.replica.in_flight() == 0);
    command.replica.resume();
    assert_eq!(run.await.unwrap(), Ok(ExitStatus(0)));
    let stopped = start(&runtime, "command/ok", |_| {}).await;
    stopped.replica.pause();
    let run = {
        let replica = stopped.replica.clone();
        tokio::spawn(async move { replica.run().await })
    };
    stopped.replica.stop();
    assert_eq!(run.await.unwrap(), Err(CallError::Stopped));
}

#[tokio::test]
async fn a_stop_ends_whatever_a_guest_does() {
    let runtime = runtime();
    let grace = Duration::from_millis(100);
    let spinner = start(&runtime, "http/spin", |_| {}).await;
    let spin = {
        let replica = spinner.replica.clone();
        tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
    };
    // One waits in a host call for a body that never comes, one for a client that never reads.
    let waiter = start(&runtime, "http/echo", |_| {}).await;
    let (_pieces, request) = streaming();
    let _unsent = waiter.replica.handle(request).await.unwrap();
    let writer = start(&runtime, "http/flood", |_| {}).await;
    let _unread = writer.replica.handle(get()).await.unwrap();
    eventually("the spinner spins", || spinner.replica.in_flight() == 1).await;
    for guest in [&spinner, &waiter, &writer] {
        assert_eq!(guest.replica.in_flight(), 1);
        let begun = Instant::now();
        let report = guest.replica.drain(grace).await;
        assert_eq!((report.finished, report.aborted), (0, 1));
        assert_eq!(guest.replica.in_flight(), 0, "gone when the drain is");
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(spin.await.unwrap(), Err(CallError::Stopped));
    assert_eq!(runtime.free_slots(), 64);
}

#[tokio::test]
async fn a_paused_replica_is_stopped_without_grace() {
    let runtime = runtime();
    let spinner = start(&runtime, "http/spin", |_| {}).await;
    let call = || {
        let replica = spinner.replica.clone();
        tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
    };
    let running = call();
    eventually("it spins", || spinner.replica.in_flight() == 1).await;
    spinner.replica.pause();
    let queued = call();
    sleep(PAUSED_WITHIN).await;
    let begun = Instant::now();
    let report = spinner.replica.drain(PATIENCE).await;
    assert!(begun.elapsed() < PATIENCE / 2, "the grace was waited for");
    assert_eq!((report.finished, report.aborted), (0, 1));
    assert_eq!(running.await.unwrap(), Err(CallError::Stopped));
    assert_eq!(queued.await.unwrap(), Err(CallError::Stopped));
    assert_eq!((spinner.replica.in_flight(), runtime.free_slots()), (0, 64));
}
