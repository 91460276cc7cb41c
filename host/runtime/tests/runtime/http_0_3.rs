//! Guests of WASI 0.3: the same answers, limits and failures as those of 0.2.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{SinkExt as _, stream};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hypermesh_runtime::{
    Breach, CallError, CallOutcome, ExitStatus, LogStream, Profile, ResponseBodyError,
};
use types::{ByteSize, ComponentKind, Millis};

use crate::harness::{Started, eventually, guest, runtime, start};
use crate::http::{collect, get, hello, streaming};

#[test]
fn inspection_says_which_engine_a_component_needs() {
    let runtime = runtime();
    for (name, kind, profile) in [
        ("http-0.3/hello", ComponentKind::Http, Profile::Async),
        ("command-0.3", ComponentKind::Command, Profile::Async),
        ("library-async", ComponentKind::Library, Profile::Async),
        ("http/hello", ComponentKind::Http, Profile::Fast),
        ("command/ok", ComponentKind::Command, Profile::Fast),
        ("library", ComponentKind::Library, Profile::Fast),
    ] {
        let inspection = runtime.inspect(&guest(name)).unwrap();
        let spec = crate::harness::spec(inspection.kind, types::Digest::of(b""));
        let found = (inspection.kind, Profile::of(&spec, &inspection));
        assert_eq!(found, (kind, profile), "{name}");
    }
}

#[tokio::test]
async fn requests_are_answered_by_fresh_instances_beside_those_of_0_2() {
    let runtime = runtime();
    let old = start(&runtime, "http/hello", |_| {}).await;
    let new = start(&runtime, "http-0.3/hello", |_| {}).await;
    for _ in 0..3 {
        hello(&old).await;
        hello(&new).await;
    }
    let counter = start(&runtime, "http-0.3/count", |_| {}).await;
    for _ in 0..3 {
        let response = counter.replica.handle(get()).await.unwrap();
        assert_eq!(collect(response).await.unwrap(), "1");
    }
    eventually("all calls end", || new.replica.in_flight() == 0).await;
    let records = new.seen.records();
    assert_eq!(records.len(), 4);
    for record in records {
        assert_eq!(record.outcome, CallOutcome::Completed);
        assert_eq!(record.memory_peak_bytes, 2 << 16);
    }
    eventually("every slot is free", || runtime.free_slots() == 64).await;
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/echo", |_| {}).await;
    let (mut pieces, request) = streaming();
    let mut body = guest.replica.handle(request).await.unwrap().into_body();
    for round in 0..5 {
        let piece = Bytes::from(format!("piece {round}"));
        pieces.send(piece.clone()).await.unwrap();
        let echoed = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(echoed, piece);
        assert_eq!(guest.replica.in_flight(), 1);
    }
    drop(pieces);
    assert!(body.frame().await.is_none());
    eventually("the call ends", || guest.replica.in_flight() == 0).await;
    assert_eq!(guest.seen.last_outcome(), Some(CallOutcome::Completed));
}

#[tokio::test]
async fn a_large_body_and_its_trailers_come_back_whole() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/echo", |_| {}).await;
    let content: Bytes = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("17"));
    let frames = [
        Ok::<_, Infallible>(Frame::data(content.clone())),
        Ok(Frame::trailers(trailers.clone())),
    ];
    let request = Request::post("http://guest.test/")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    let response = guest.replica.handle(request).await.unwrap();
    let echoed = response.into_body().collect().await.unwrap();
    assert_eq!(echoed.trailers(), Some(&trailers));
    assert_eq!(echoed.to_bytes(), content);
}

#[tokio::test]
async fn a_body_that_is_never_read_holds_nothing_up() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/hello", |_| {}).await;
    let request = Request::post("http://guest.test/")
        .body(Full::new(Bytes::from(vec![0; 8 << 20])))
        .unwrap();
    let response = guest.replica.handle(request).await.unwrap();
    assert_eq!(collect(response).await.unwrap(), "hello, world\n");
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_guest() {
    let runtime = runtime();
    for name in ["http-0.3/spin", "http-0.3/silent"] {
        let guest = start(&runtime, name, |_| {}).await;
        let call = {
            let replica = guest.replica.clone();
            tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
        };
        eventually("the guest runs", || guest.replica.in_flight() == 1).await;
        call.abort();
        eventually("the guest is stopped", || guest.replica.in_flight() == 0).await;
        assert_eq!(guest.seen.last_outcome(), Some(CallOutcome::Cancelled));
    }
    let guest = start(&runtime, "http-0.3/flood", |_| {}).await;
    let mut body = guest.replica.handle(get()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    eventually("the writer is stopped", || guest.replica.in_flight() == 0).await;
    assert_eq!(guest.seen.last_outcome(), Some(CallOutcome::Cancelled));
    eventually("every slot is free", || runtime.free_slots() == 64).await;
}

async fn failure(guest: &Started) -> CallError {
    guest.replica.handle(get()).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn limits_hold() {
    let runtime = runtime();
    let limit = Millis::new(100);
    let breach = CallError::Breach(Breach::WallTime { limit });
    for name in ["http-0.3/spin", "http-0.3/silent"] {
        let guest = start(&runtime, name, |spec| spec.limits.wall_time = limit).await;
        assert_eq!(failure(&guest).await, breach, "{name}");
        assert_eq!(
            guest.seen.last_outcome(),
            Some(CallOutcome::Failed(breach.clone()))
        );
    }
    // A reader that never reads, and a body that is never ended.
    for name in ["http-0.3/flood", "http-0.3/open"] {
        let guest = start(&runtime, name, |spec| spec.limits.wall_time = limit).await;
        let body = guest.replica.handle(get()).await.unwrap().into_body();
        eventually("the guest is stopped", || guest.replica.in_flight() == 0).await;
        let outcome = CallOutcome::Failed(breach.clone());
        assert_eq!(guest.seen.last_outcome(), Some(outcome), "{name}");
        drop(body);
    }
    let memory = ByteSize::mib(8);
    let guest = start(&runtime, "http-0.3/grow", |spec| {
        spec.limits.memory = memory;
    })
    .await;
    let error = failure(&guest).await;
    assert!(
        matches!(error, CallError::Breach(Breach::Memory { limit, .. }) if limit == memory),
        "{error}"
    );
    let guest = start(&runtime, "http-0.3/streams", |_| {}).await;
    let error = failure(&guest).await;
    assert!(
        matches!(error, CallError::Host { .. } | CallError::Trap { .. }),
        "{error}"
    );
    let guest = start(&runtime, "http-0.3/spin", |spec| {
        spec.limits.fuel = std::num::NonZeroU64::new(1_000_000);
    })
    .await;
    let error = failure(&guest).await;
    let limit = 1_000_000;
    assert_eq!(error, CallError::Breach(Breach::Fuel { limit }));
    eventually("every slot is free", || runtime.free_slots() == 64).await;
}

#[tokio::test]
async fn a_response_that_breaks_off_ends_with_an_error() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/half", |_| {}).await;
    let mut body = guest.replica.handle(get()).await.unwrap().into_body();
    let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(piece, "hello,");
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(
        matches!(error, ResponseBodyError::Call(CallError::Trap { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_request_that_names_its_host_in_a_header_is_answered() {
    let runtime = runtime();
    let guest = start(&runtime, "http-0.3/hello", |_| {}).await;
    for host in ["guest.test:8080", "no authority"] {
        let request = Request::get("/").header("host", host);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = guest.replica.handle(request).await.unwrap();
        assert_eq!(collect(response).await.unwrap(), "hello, world\n");
    }
}

#[tokio::test]
async fn a_command_runs_and_its_output_is_logged() {
    let runtime = runtime();
    let command = start(&runtime, "command-0.3", |_| {}).await;
    for _ in 0..2 {
        assert_eq!(command.replica.run().await, Ok(ExitStatus(0)));
    }
    assert_eq!(
        command.seen.log_text(LogStream::Stdout),
        "hello, 0.3\nhello, 0.3\n"
    );
    assert_eq!(command.seen.last_outcome(), Some(CallOutcome::Exited(0)));
}

#[tokio::test]
async fn an_async_function_of_a_library_is_called() {
    let runtime = runtime();
    let library = start(&runtime, "library-async", |_| {}).await;
    assert_eq!(library.invoke("double", &["21"]).await.unwrap(), "42");
}
