//! Pausing guests of WASI 0.3 and instances that are kept between requests: they stand still, and
//! what they know is there afterwards.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use http_body_util::BodyExt as _;
use hypermesh_runtime::CallError;
use tokio::time::sleep;
use types::Millis;

use crate::harness::{Started, eventually, runtime, start};
use crate::hostile::process_cpu;
use crate::http::{collect, get, streaming};

/// Long enough for a guest that still computes to be noticed.
const WATCHED_FOR: Duration = Duration::from_millis(300);
/// Cpu of this process in that time while nothing computes: far less than a spinner's.
const IDLE_CPU_MAX: Duration = Duration::from_millis(30);
/// What a pause may take.
const PAUSED_WITHIN: Duration = Duration::from_millis(10);

/// What the guest counts, when its call has ended.
async fn count(guest: &Started) -> Bytes {
    let response = guest.replica.handle(get()).await.unwrap();
    let count = collect(response).await.unwrap();
    eventually("the call ends", || guest.replica.in_flight() == 0).await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_0_3_spinner_uses_no_cpu_and_computes_again() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/spin", |_| {}).await;
    let call = {
        let replica = guest.replica.clone();
        tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
    };
    for _ in 0..3 {
        let before = process_cpu();
        eventually("it computes", || {
            process_cpu() - before > Duration::from_millis(40)
        })
        .await;
        assert!(guest.replica.pause());
        sleep(PAUSED_WITHIN).await;
        let before = process_cpu();
        sleep(WATCHED_FOR).await;
        let spent = process_cpu() - before;
        assert!(spent < IDLE_CPU_MAX, "{spent:?} in {WATCHED_FOR:?}");
        assert_eq!(guest.replica.in_flight(), 1);
        assert!(guest.replica.resume());
    }
    guest.replica.stop();
    assert_eq!(call.await.unwrap(), Err(CallError::Stopped));
}

#[tokio::test]
async fn streams_of_0_3_stall_and_go_on() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/echo", |_| {}).await;
    let (mut pieces, request) = streaming();
    let mut body = guest.replica.handle(request).await.unwrap().into_body();
    for round in 0..3 {
        guest.replica.pause();
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
async fn a_kept_instance_keeps_what_it_knows_through_a_pause() {
    let runtime = runtime();
    for name in ["http/count", "http-0.3/count"] {
        let guest = start(&runtime, name, |spec| {
            spec.requests_per_instance = NonZeroU32::new(100).unwrap();
            spec.limits.queue_time = Millis::seconds(60);
        })
        .await;
        for expected in ["1", "2", "3"] {
            assert!(guest.replica.pause());
            let waiting = {
                let replica = guest.replica.clone();
                tokio::spawn(async move { replica.handle(get()).await })
            };
            sleep(Duration::from_millis(50)).await;
            assert!(!waiting.is_finished(), "{name}: it answered while paused");
            assert_eq!(guest.replica.in_flight(), 0, "{name}");
            assert!(guest.replica.resume());
            let response = waiting.await.unwrap().unwrap();
            assert_eq!(collect(response).await.unwrap(), expected, "{name}");
            eventually("the call ends", || guest.replica.in_flight() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_long_pause_outlives_what_an_idle_instance_is_kept_for() {
    let runtime = runtime();
    let guest = start(&runtime, "http/count", |spec| {
        spec.requests_per_instance = NonZeroU32::new(100).unwrap();
    })
    .await;
    assert_eq!(count(&guest).await, "1");
    guest.replica.pause();
    sleep(hypermesh_runtime::KEPT_TIME_MAX + Duration::from_millis(500)).await;
    guest.replica.resume();
    assert_eq!(count(&guest).await, "2");
}
