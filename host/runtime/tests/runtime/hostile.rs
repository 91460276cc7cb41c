//! Neighbours: a well-behaved guest answers while hostile ones do their worst.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hypermesh_runtime::{CallError, InvokeError};
use rustix::time::{ClockId, clock_gettime};
use types::{ByteSize, Millis};

use crate::harness::{Started, eventually, runtime, start};
use crate::http::{get, hello};

/// Calls `export` again and again until the neighbour has been served.
fn pester(guest: &Started, export: &'static str, args: &[&str]) -> tokio::task::JoinHandle<()> {
    let replica = guest.replica.clone();
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    tokio::spawn(async move {
        loop {
            let ended = replica.invoke(export, &args).await;
            if ended == Err(InvokeError::Call(CallError::Stopped)) {
                return;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_neighbour_of_hostile_guests_keeps_answering() {
    let runtime = runtime();
    let hostile = start(&runtime, "limits", |spec| {
        spec.limits.memory = ByteSize::mib(256);
        spec.limits.wall_time = Millis::new(500);
    })
    .await;
    let flood = start(&runtime, "http/flood", |_| {}).await;
    let neighbour = start(&runtime, "http/hello", |_| {}).await;
    let attacks = [
        pester(&hostile, "spin", &[]),
        pester(&hostile, "spin", &[]),
        pester(&hostile, "grow-many", &[]),
        pester(&hostile, "grow-tables", &["4000000000"]),
        pester(&hostile, "recurse", &["0"]),
    ];
    let unread = flood.replica.handle(get()).await.unwrap();
    eventually("the attacks run", || hostile.replica.in_flight() >= 2).await;
    for _ in 0..50 {
        hello(&neighbour).await;
    }
    assert!(
        hostile.replica.in_flight() >= 1,
        "the attacks went on meanwhile"
    );
    hostile.replica.stop();
    flood.replica.stop();
    for attack in attacks {
        attack.await.unwrap();
    }
    drop(unread);
    eventually("every slot is free again", || runtime.free_slots() == 64).await;
    hello(&neighbour).await;
}

#[tokio::test]
async fn one_thread_is_shared_with_spinners() {
    let runtime = runtime();
    let command = start(&runtime, "command/spin", |_| {}).await;
    let spinner = {
        let replica = command.replica.clone();
        tokio::spawn(async move { replica.run().await })
    };
    eventually("the spinner runs", || command.replica.in_flight() == 1).await;
    let neighbour = start(&runtime, "http/hello", |_| {}).await;
    for _ in 0..10 {
        hello(&neighbour).await;
    }
    assert!(!spinner.is_finished());
    command.replica.stop();
    assert_eq!(spinner.await.unwrap(), Err(CallError::Stopped));
}

#[tokio::test]
async fn guests_that_only_wait_cost_no_cpu() {
    let runtime = runtime();
    let guest = start(&runtime, "http/echo", |_| {}).await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let endless = stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>();
        let request = Request::post("http://guest.test/")
            .body(StreamBody::new(endless))
            .unwrap();
        waiting.push(guest.replica.handle(request).await.unwrap());
    }
    assert_eq!(guest.replica.in_flight(), 8);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = process_cpu();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = process_cpu() - before;
    assert!(
        spent < Duration::from_millis(20),
        "{spent:?} in 2 s are more than 1 %"
    );
    assert_eq!(guest.replica.in_flight(), 8);
}

pub(crate) fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}
