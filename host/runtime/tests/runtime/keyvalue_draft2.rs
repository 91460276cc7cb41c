//! `wasi:keyvalue@0.2.0-draft2`: what differs from the draft before it, and what a greedy guest gets.

use std::sync::Arc;

use hypermesh_runtime::{CallError, ImportRefusal, InvokeError, Services, StartReplicaError};
use types::{Capability, ComponentSpec};

use crate::harness::{Started, guest, runtime, try_start, try_start_with};
use crate::keyvalue::{Buckets, QUOTA};

fn granted(spec: &mut ComponentSpec) {
    spec.capabilities = vec![Capability::Keyvalue { quota: QUOTA }];
}

async fn start(guest_name: &str, store: &Arc<Buckets>) -> Started {
    let services = Services {
        keyvalue: Some(store.clone()),
        ..Services::default()
    };
    try_start_with(&runtime(), guest(guest_name), Vec::new(), services, granted)
        .await
        .unwrap()
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_drafts_see_the_same_buckets() {
    let store = Arc::default();
    let (new, old) = (
        start("keyvalue-draft2", &store).await,
        start("keyvalue", &store).await,
    );
    assert_eq!(call(&new, "set", &["\"k\"", "[1, 2]"]).await, "ok");
    let found = call(&old, "get", &["\"b\"", "\"k\""]).await;
    assert_eq!(found, "ok(some([1, 2]))");
    assert_eq!(call(&new, "get", &["\"k\""]).await, "ok(some([1, 2]))");
    assert_eq!(call(&new, "get", &["\"absent\""]).await, "ok(none)");
    assert_eq!(
        call(&new, "many", &["[\"k\", \"absent\"]"]).await,
        "ok([(\"k\", some([1, 2])), (\"absent\", none)])"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_have_a_sign_and_an_end() {
    let guest = start("keyvalue-draft2", &Arc::default()).await;
    let add = async |delta: &str| call(&guest, "increment", &["\"n\"", delta]).await;
    assert_eq!(add("5").await, "ok(5)");
    assert_eq!(add("-8").await, "ok(-3)");
    let least = i64::MIN.to_string();
    assert!(add(&least).await.starts_with("err(other("));
    assert_eq!(add("0").await, "ok(-3)", "a refused sum changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_after_the_last_key_of_the_page_before() {
    let guest = start("keyvalue-draft2", &Arc::default()).await;
    for key in ["\"a\"", "\"b\"", "\"c\""] {
        assert_eq!(call(&guest, "set", &[key, "[]"]).await, "ok");
    }
    for (cursor, page) in [
        ("none", "ok({keys: [\"a\", \"b\"], cursor: some(\"b\")})"),
        ("some(\"b\")", "ok({keys: [\"c\"]})"),
        ("some(\"z\")", "ok({keys: []})"),
        (
            "some(\"\")",
            "ok({keys: [\"a\", \"b\"], cursor: some(\"b\")})",
        ),
    ] {
        assert_eq!(call(&guest, "list", &[cursor]).await, page, "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_is_made_only_of_the_value_that_was_seen() {
    let guest = start("keyvalue-draft2", &Arc::default()).await;
    let swap = async |between: &str, value: &str, look: &str| {
        call(&guest, "swap", &["\"k\"", between, value, look]).await
    };
    assert_eq!(swap("[]", "[1]", "false").await, "1", "nothing, then one");
    assert_eq!(call(&guest, "get", &["\"k\""]).await, "ok(some([1]))");
    assert_eq!(swap("[]", "[2]", "false").await, "1");
    // Changed in between: refused once, and the handle that comes back has seen the change.
    assert_eq!(swap("[9]", "[3]", "false").await, "2");
    assert_eq!(call(&guest, "get", &["\"k\""]).await, "ok(some([3]))");
    // Changed in between and looked at.
    assert_eq!(swap("[9]", "[4]", "true").await, "1");
    assert_eq!(call(&guest, "get", &["\"k\""]).await, "ok(some([4]))");
    let large = format!("[{}0]", "0, ".repeat(200));
    assert_eq!(swap("[]", &large, "false").await, "-1", "above the quota");
    assert_eq!(call(&guest, "get", &["\"k\""]).await, "ok(some([4]))");
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_that_are_prepared_and_hoarded_end_their_instance_only() {
    let guest = start("keyvalue-draft2", &Arc::default()).await;
    let error = guest.invoke("hoard", &["1024"]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Host { .. })),
        "{error}"
    );
    for bytes in ["1025", "1000000"] {
        assert_eq!(call(&guest, "hoard", &[bytes]).await, "0", "{bytes}");
    }
    assert_eq!(call(&guest, "set", &["\"k\"", "[1]"]).await, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_each_import_is_refused() {
    let refused = try_start(&runtime(), guest("keyvalue-draft2"), Vec::new(), |_| {}).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("started without a grant");
    };
    let named = |refusal: &ImportRefusal| refusal.to_string().contains("0.2.0-draft2");
    assert!(
        refusals.len() == 3 && refusals.iter().all(named),
        "{refusals:?}"
    );
}
