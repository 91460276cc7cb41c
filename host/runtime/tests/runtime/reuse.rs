//! Instances that answer more than one request: state stays within one instance's life, failures
//! end it, and what is kept gives way.

use std::num::NonZeroU32;

use bytes::Bytes;
use futures::SinkExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hypermesh_runtime::{Breach, CallError, CallOutcome};
use types::{ByteSize, ComponentSpec, Millis};

use crate::harness::{Started, eventually, runtime, runtime_of, start};
use crate::http::{collect, get, hello, streaming};

fn reused(times: u32) -> impl Fn(&mut ComponentSpec) {
    move |spec| spec.requests_per_instance = NonZeroU32::new(times).unwrap()
}

/// What the guest counts, when its call has ended.
async fn count(guest: &Started) -> Bytes {
    let response = guest.replica.handle(get()).await.unwrap();
    let count = collect(response).await.unwrap();
    eventually("the call ends", || guest.replica.in_flight() == 0).await;
    count
}

/// The same, of a guest in this mood.
async fn in_mood(guest: &Started, mood: &'static str) -> Result<Bytes, CallError> {
    let body = Full::new(Bytes::from_static(mood.as_bytes()));
    let request = Request::post("http://guest.test/").body(body).unwrap();
    let response = guest.replica.handle(request).await?;
    let count = collect(response).await.unwrap_or_default();
    eventually("the call ends", || guest.replica.in_flight() == 0).await;
    Ok(count)
}

#[tokio::test]
async fn an_instance_answers_as_often_as_the_component_allows() {
    let runtime = runtime();
    for name in ["http/count", "http-0.3/count"] {
        let guest = start(&runtime, name, reused(3)).await;
        let mut counts = Vec::new();
        for _ in 0..7 {
            counts.push(count(&guest).await);
        }
        assert_eq!(counts, ["1", "2", "3", "1", "2", "3", "1"], "{name}");
        let records = guest.seen.records();
        assert_eq!(records.len(), 8, "{name}");
        assert!(
            records.iter().all(|record| {
                record.outcome == CallOutcome::Completed && record.memory_peak_bytes == 2 << 16
            }),
            "{name}: {records:?}"
        );
        let guest = start(&runtime, name, |_| {}).await;
        assert_eq!(count(&guest).await, "1");
        assert_eq!(count(&guest).await, "1", "not reused by default: {name}");
    }
}

#[tokio::test]
async fn a_kept_instance_holds_a_slot_until_it_expires_or_its_replica_stops() {
    let runtime = runtime();
    let guest = start(&runtime, "http/count", reused(100)).await;
    assert_eq!(count(&guest).await, "1");
    assert_eq!(runtime.free_slots(), 63);
    eventually("it expires", || runtime.free_slots() == 64).await;
    assert_eq!(count(&guest).await, "1");
    assert_eq!(runtime.free_slots(), 63);
    guest.replica.stop();
    assert_eq!(runtime.free_slots(), 64);
    assert_eq!(guest.replica.in_flight(), 0);
}

#[tokio::test]
async fn a_failed_call_ends_its_instance() {
    let runtime = runtime();
    let limit = Millis::new(200);
    let guest = start(&runtime, "http/moody", |spec| {
        reused(100)(spec);
        spec.limits.wall_time = limit;
        spec.limits.memory = ByteSize::mib(4);
    })
    .await;
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "2");
    let error = in_mood(&guest, "t").await.unwrap_err();
    assert!(matches!(error, CallError::Trap { .. }), "{error}");
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "2");
    let error = in_mood(&guest, "s").await.unwrap_err();
    assert_eq!(error, CallError::Breach(Breach::WallTime { limit }));
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
    // Only the end of the instance ends this body.
    assert_eq!(in_mood(&guest, "o").await.unwrap(), "2");
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_instance() {
    let runtime = runtime();
    let guest = start(&runtime, "http/moody", reused(100)).await;
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
    let (_pieces, request) = streaming();
    let call = {
        let replica = guest.replica.clone();
        tokio::spawn(async move { replica.handle(request).await.map(|_| ()) })
    };
    eventually("the guest runs", || guest.replica.in_flight() == 1).await;
    call.abort();
    eventually("the guest is stopped", || guest.replica.in_flight() == 0).await;
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
}

#[tokio::test]
async fn the_memory_limit_is_of_the_instance_and_records_are_of_the_request() {
    let runtime = runtime();
    let limit = ByteSize::mib(4);
    let guest = start(&runtime, "http/moody", |spec| {
        reused(100)(spec);
        spec.limits.memory = limit;
        spec.limits.fuel = std::num::NonZeroU64::new(1_000_000);
    })
    .await;
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "1");
    assert_eq!(in_mood(&guest, "g").await.unwrap(), "2");
    assert_eq!(guest.seen.breaches().len(), 1);
    assert_eq!(in_mood(&guest, "-").await.unwrap(), "3");
    assert_eq!(in_mood(&guest, "g").await.unwrap(), "4");
    let breaches = guest.seen.breaches();
    assert_eq!(breaches.len(), 2, "told once per call: {breaches:?}");
    let records = guest.seen.records();
    let memory: Vec<u64> = records.iter().map(|r| r.memory_peak_bytes).collect();
    let (small, full) = (2 << 16, (4 << 20) - (14 << 16));
    assert_eq!(memory[1], small);
    assert!(memory[2] >= full && memory[3] == memory[2], "{memory:?}");
    let fuel: Vec<u64> = records.iter().filter_map(|r| r.fuel_used).collect();
    // The third request does what the first did, which paid for the instantiation as well.
    let [instantiation, first, _, third, _] = fuel[..] else {
        panic!("{fuel:?}")
    };
    assert_eq!(first, instantiation + third, "{fuel:?}");
}

#[tokio::test]
async fn requests_at_the_same_time_never_share_an_instance() {
    let runtime = runtime();
    for name in ["http/echo", "http-0.3/echo"] {
        let guest = start(&runtime, name, reused(100)).await;
        for _ in 0..3 {
            let (mut first, request) = streaming();
            let mut one = guest.replica.handle(request).await.unwrap().into_body();
            let (mut second, request) = streaming();
            let mut two = guest.replica.handle(request).await.unwrap().into_body();
            assert_eq!(guest.replica.in_flight(), 2);
            first.send(Bytes::from_static(b"one")).await.unwrap();
            second.send(Bytes::from_static(b"two")).await.unwrap();
            let frame = two.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "two");
            let frame = one.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "one");
            drop((first, second));
            assert!(one.frame().await.is_none() && two.frame().await.is_none());
            eventually("both end", || guest.replica.in_flight() == 0).await;
        }
    }
    let guest = start(&runtime, "http/count", reused(100)).await;
    let both = futures::future::join(count(&guest), count(&guest)).await;
    let third = count(&guest).await;
    assert!(third == "2" || third == "3", "{both:?}, {third:?}");
}

#[tokio::test]
async fn a_neighbour_gets_the_slots_of_kept_instances() {
    let runtime = runtime_of(2);
    let keeper = start(&runtime, "http/count", reused(100)).await;
    let other = start(&runtime, "http-0.3/count", reused(100)).await;
    let neighbour = start(&runtime, "http/hello", |_| {}).await;
    for _ in 0..20 {
        assert_eq!(count(&keeper).await, "1");
        assert_eq!(count(&other).await, "1");
        assert_eq!(runtime.free_slots(), 0, "both are kept");
        hello(&neighbour).await;
        eventually("it ends", || neighbour.replica.in_flight() == 0).await;
        // One of both had to go; a second request for the neighbour needs no other slot.
        assert_eq!(runtime.free_slots(), 2);
    }
}
