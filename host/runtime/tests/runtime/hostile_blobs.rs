//! `wasi:blobstore` against guests that fill, hoard and ask for what is not there.

use std::sync::Arc;

use hypermesh_runtime::{Breach, OPEN_CONTENTS_MAX, Runtime, Services};
use types::{ByteSize, Capability};

use crate::blobs_in_memory::Blobs;
use crate::harness::{Started, eventually, guest, runtime, try_start_with};

/// Sixteen pieces of the guest.
const QUOTA: ByteSize = ByteSize::kib(64);

async fn start(runtime: &Runtime, store: &Blobs) -> Started {
    let services = Services {
        blobstore: Some(Arc::new(store.clone())),
        ..Services::default()
    };
    try_start_with(runtime, guest("blobs"), Vec::new(), services, |spec| {
        spec.capabilities = vec![Capability::Blobstore { quota: QUOTA }];
    })
    .await
    .unwrap()
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_reached_in_mid_stream_ends_the_stream_and_leaves_no_half_object() {
    let store = Blobs::new(QUOTA);
    let guest = start(&runtime(), &store).await;
    let answer: i32 = call(&guest, "put", &["\"big\"", "100"])
        .await
        .parse()
        .unwrap();
    let written = -1 - answer;
    assert!((16..100).contains(&written), "{answer}: not finished");
    assert_eq!(call(&guest, "has", &["\"big\""]).await, "false");
    assert_eq!(store.used(), 0);
    let asked = ByteSize::bytes(QUOTA.as_u64() + 4_096);
    let breach = Breach::Quota {
        store: "blobstore",
        limit: QUOTA,
        asked,
    };
    assert_eq!(guest.seen.breaches(), [breach]);
    assert_eq!(call(&guest, "put", &["\"fits\"", "16"]).await, "16");
    assert_eq!(store.used(), 16 * 4_096);
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_are_held_undrained_are_bounded_and_freed_with_their_instance() {
    let runtime = runtime();
    let store = Blobs::new(QUOTA);
    let hostile = start(&runtime, &store).await;
    let neighbour = start(&runtime, &store).await;
    let all = OPEN_CONTENTS_MAX.to_string();
    assert_eq!(call(&hostile, "put", &["\"o\"", "4"]).await, "4");
    let holder = {
        let replica = hostile.replica.clone();
        tokio::spawn(async move { replica.invoke("hold", &["\"o\"".to_owned()]).await })
    };
    // Other instances of the replica find no place, those of other replicas all of theirs.
    eventually("the holder runs", || hostile.replica.in_flight() == 1).await;
    while call(&hostile, "hoard", &["\"o\""]).await != "0" {
        assert!(!holder.is_finished());
    }
    let refused = call(&hostile, "get", &["\"o\"", "0", "1"]).await;
    assert!(refused.contains("64 contents are open"), "{refused}");
    assert_eq!(call(&neighbour, "hoard", &["\"o\""]).await, all);
    holder.abort();
    eventually("the holder is gone", || hostile.replica.in_flight() == 0).await;
    for _ in 0..3 {
        assert_eq!(call(&hostile, "hoard", &["\"o\""]).await, all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_are_begun_and_never_finished_are_bounded_and_leave_nothing() {
    let store = Blobs::new(QUOTA);
    let guest = start(&runtime(), &store).await;
    for _ in 0..3 {
        let begun = call(&guest, "begin", &[]).await;
        assert_eq!(begun, OPEN_CONTENTS_MAX.to_string());
    }
    assert_eq!(store.used(), 0);
    assert_eq!(call(&guest, "put", &["\"o\"", "1"]).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ranges_give_what_is_there_and_no_more() {
    let store = Blobs::new(QUOTA);
    let guest = start(&runtime(), &store).await;
    assert_eq!(call(&guest, "put", &["\"o\"", "1"]).await, "1");
    let end = u64::MAX.to_string();
    for (start, end, bytes) in [
        ("0", "0", 1),
        ("0", end.as_str(), 4_096),
        ("4095", end.as_str(), 1),
        ("4096", end.as_str(), 0),
        (end.as_str(), end.as_str(), 0),
        (end.as_str(), "0", 0),
        ("2", "1", 0),
    ] {
        let answer = call(&guest, "get", &["\"o\"", start, end]).await;
        let found = answer.strip_prefix("ok([").unwrap().trim_end_matches("])");
        let count = found.split_terminator(", ").count();
        assert_eq!(count, bytes, "{start} to {end}: {answer}");
    }
    let absent = call(&guest, "get", &["\"absent\"", "0", "1"]).await;
    assert!(absent.starts_with("err("), "{absent}");
}
