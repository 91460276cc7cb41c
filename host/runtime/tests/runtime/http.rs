//! HTTP components: responses, streaming, what happens when either side stops.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use http::uri::Scheme;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hypermesh_runtime::{
    Breach, CallError, CallKind, CallOutcome, ResponseBody, ResponseBodyError,
};
use types::{ComponentKind, Millis};

use crate::harness::{Started, eventually, runtime, start};

pub(crate) fn get() -> Request<Empty<Bytes>> {
    Request::get("http://guest.test/")
        .body(Empty::new())
        .unwrap()
}

pub(crate) async fn collect(response: Response<ResponseBody>) -> Result<Bytes, ResponseBodyError> {
    response
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
}

pub(crate) async fn hello(started: &Started) {
    let response = started.replica.handle(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(collect(response).await.unwrap(), "hello, world\n");
}

#[tokio::test]
async fn a_guest_is_told_the_scheme_of_the_server_and_not_that_of_the_client() {
    let runtime = runtime();
    let guest = start(&runtime, "http/scheme", |_| {}).await;
    let told = async |request| {
        let response = guest.replica.handle(request).await.unwrap();
        collect(response).await.unwrap()
    };
    assert_eq!(told(get()).await, "0", "HTTP");
    let mut lies = get();
    *lies.uri_mut() = "https://guest.test/".parse().unwrap();
    assert_eq!(told(lies).await, "0", "HTTP, whatever the target says");
    let mut secure = get();
    secure.extensions_mut().insert(Scheme::HTTPS);
    assert_eq!(told(secure).await, "1", "HTTPS");
}

/// A request whose body the test writes piece by piece.
pub(crate) fn streaming() -> (
    mpsc::Sender<Bytes>,
    Request<impl Body<Data = Bytes, Error = Infallible>>,
) {
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let frames = body.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    (
        pieces,
        Request::post("http://guest.test/")
            .body(StreamBody::new(frames))
            .unwrap(),
    )
}

#[tokio::test]
async fn a_request_is_answered_by_a_fresh_instance() {
    let runtime = runtime();
    let guest = start(&runtime, "http/hello", |_| {}).await;
    for _ in 0..3 {
        hello(&guest).await;
    }
    eventually("all calls end", || guest.replica.in_flight() == 0).await;
    let records = guest.seen.records();
    assert_eq!(records.len(), 4);
    assert!(
        records
            .iter()
            .all(|record| record.outcome == CallOutcome::Completed)
    );
    assert_eq!(
        records
            .iter()
            .filter(|record| record.kind == CallKind::Http)
            .count(),
        3
    );
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let runtime = runtime();
    let guest = start(&runtime, "http/echo", |_| {}).await;
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
async fn a_large_body_comes_back_whole() {
    let runtime = runtime();
    let guest = start(&runtime, "http/echo", |_| {}).await;
    let content: Bytes = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let request = Request::post("http://guest.test/")
        .body(Full::new(content.clone()))
        .unwrap();
    let response = guest.replica.handle(request).await.unwrap();
    assert_eq!(collect(response).await.unwrap(), content);
}

#[tokio::test]
async fn a_body_that_is_never_read_holds_nothing_up() {
    let runtime = runtime();
    let guest = start(&runtime, "http/hello", |_| {}).await;
    let content = Bytes::from(vec![0; 8 << 20]);
    let request = Request::post("http://guest.test/")
        .body(Full::new(content))
        .unwrap();
    let response = guest.replica.handle(request).await.unwrap();
    assert_eq!(collect(response).await.unwrap(), "hello, world\n");
    let (_pieces, endless) = streaming();
    let response = guest.replica.handle(endless).await.unwrap();
    assert_eq!(collect(response).await.unwrap(), "hello, world\n");
}

#[tokio::test]
async fn a_request_without_a_host_is_refused_before_it_takes_a_place() {
    let runtime = runtime();
    let guest = start(&runtime, "http/hello", |_| {}).await;
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let error = guest.replica.handle(request).await.unwrap_err();
    assert!(matches!(error, CallError::BadRequest { .. }), "{error}");
    assert_eq!(guest.seen.records().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_guest() {
    let runtime = runtime();
    let guest = start(&runtime, "http/spin", |_| {}).await;
    let call = {
        let replica = guest.replica.clone();
        tokio::spawn(async move { replica.handle(get()).await.map(|_| ()) })
    };
    eventually("the guest runs", || guest.replica.in_flight() == 1).await;
    call.abort();
    eventually("the guest is stopped", || guest.replica.in_flight() == 0).await;
    assert_eq!(guest.seen.last_outcome(), Some(CallOutcome::Cancelled));

    let guest = start(&runtime, "http/flood", |_| {}).await;
    let mut body = guest.replica.handle(get()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(guest.replica.in_flight(), 1);
    drop(body);
    eventually("the writer is stopped", || guest.replica.in_flight() == 0).await;
    assert_eq!(guest.seen.last_outcome(), Some(CallOutcome::Cancelled));
}

#[tokio::test]
async fn a_guest_without_an_answer_is_told_apart_from_one_that_failed() {
    let runtime = runtime();
    let silent = start(&runtime, "http/silent", |_| {}).await;
    let error = silent.replica.handle(get()).await.unwrap_err();
    assert_eq!(error, CallError::NoResponse);
    let trapping = start(&runtime, "http/trap", |_| {}).await;
    let error = trapping.replica.handle(get()).await.unwrap_err();
    let CallError::Trap { name, backtrace } = &error else {
        panic!("{error}")
    };
    assert!(name.contains("unreachable"), "{name}");
    assert_eq!(
        backtrace[0].function.as_deref(),
        Some("inner-function"),
        "{backtrace:?}"
    );
    assert_eq!(
        trapping.seen.last_outcome(),
        Some(CallOutcome::Failed(error))
    );
}

#[tokio::test]
async fn a_response_that_breaks_off_ends_with_an_error() {
    let runtime = runtime();
    let guest = start(&runtime, "http/half", |_| {}).await;
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
async fn wall_time_covers_waiting_and_streaming() {
    let runtime = runtime();
    let limit = Millis::new(100);
    let guest = start(&runtime, "http/echo", |spec| spec.limits.wall_time = limit).await;
    // Blocked in the host: the body never comes.
    let (_pieces, request) = streaming();
    let mut body = guest.replica.handle(request).await.unwrap().into_body();
    let error = body.frame().await.unwrap().unwrap_err();
    let breach = Breach::WallTime { limit };
    assert_eq!(
        error,
        ResponseBodyError::Call(CallError::Breach(breach.clone()))
    );
    assert_eq!(guest.seen.breaches(), std::slice::from_ref(&breach));

    // Streaming to a reader that never reads.
    let guest = start(&runtime, "http/flood", |spec| spec.limits.wall_time = limit).await;
    let body = guest.replica.handle(get()).await.unwrap().into_body();
    tokio::time::sleep(Duration::from_millis(10)).await;
    eventually("the writer is stopped", || guest.replica.in_flight() == 0).await;
    let outcome = CallOutcome::Failed(CallError::Breach(breach));
    assert_eq!(guest.seen.last_outcome(), Some(outcome));
    drop(body);
}

#[tokio::test]
async fn an_http_component_is_not_run() {
    let runtime = runtime();
    let guest = start(&runtime, "http/hello", |_| {}).await;
    let needed = ComponentKind::Command;
    let error = guest.replica.run().await.unwrap_err();
    assert_eq!(
        error,
        CallError::WrongKind {
            found: ComponentKind::Http,
            needed
        }
    );
}
