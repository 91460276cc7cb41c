//! Logs against guests that write without end: what reaches the observer is bounded by the rate,
//! whichever way it is written, and neighbours go on.

use hypermesh_runtime::{Breach, CallError, InvokeError, LogStream};
use types::{ByteSize, ComponentSpec, Millis};

use crate::harness::{Started, eventually, runtime, start};
use crate::http::hello;

const RATE: ByteSize = ByteSize::kib(4);
const WALL_TIME: Millis = Millis::new(1_000);

fn limited(spec: &mut ComponentSpec) {
    spec.limits.log_rate = RATE;
    spec.limits.wall_time = WALL_TIME;
}

/// Floods until its wall time ends while a neighbour is served; checks what was logged.
async fn floods(guest_name: &str, export: &str, args: &[&str], stream: LogStream) {
    let runtime = runtime();
    let flood = start(&runtime, guest_name, limited).await;
    let neighbour = start(&runtime, "http/hello", |_| {}).await;
    let call = {
        let (replica, export) = (flood.replica.clone(), export.to_owned());
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        tokio::spawn(async move { replica.invoke(&export, &args).await })
    };
    eventually("the flood runs", || flood.replica.in_flight() == 1).await;
    for _ in 0..10 {
        hello(&neighbour).await;
    }
    let limit = WALL_TIME;
    let breach = CallError::Breach(Breach::WallTime { limit });
    assert_eq!(call.await.unwrap(), Err(InvokeError::Call(breach)));
    checked(&flood, stream);
}

fn checked(flood: &Started, stream: LogStream) {
    let logged = flood.seen.log_text(stream).len() as u64;
    let wall = flood.seen.records().pop().unwrap().wall;
    // One second's worth may have been saved up, and a second begun counts.
    let most = RATE.as_u64() * (wall.as_secs() + 2);
    assert!((1..=most).contains(&logged), "{logged} bytes of {most}");
    let breaches = flood.seen.breaches();
    let cut = |breach: &Breach| matches!(breach, Breach::LogRate { .. });
    assert!(breaches.iter().any(cut), "{breaches:?}");
    assert!(breaches.len() <= 4, "told once a call: {breaches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_messages_is_cut_to_the_rate() {
    floods("logging", "flood", &["16"], LogStream::Stderr).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_large_messages_is_cut_to_the_rate() {
    floods("logging", "flood", &["1000000"], LogStream::Stderr).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_huge_message_is_cut_or_ends_its_call() {
    let guest = start(&runtime(), "logging", limited).await;
    guest.invoke("once", &["9", "1000000"]).await.unwrap();
    checked(&guest, LogStream::Stderr);
    // More than one host call may copy.
    let error = guest.invoke("once", &["1", "20000000"]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Host { .. })),
        "{error}"
    );
    guest.invoke("once", &["1", "1"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_wasi_0_3_are_cut_to_the_same_rate() {
    floods("greedy-0.3", "print", &[], LogStream::Stdout).await;
    floods("greedy-0.3", "complain", &[], LogStream::Stderr).await;
}
