//! `wasi:keyvalue` and `wasi:logging` as a guest sees them, and what a greedy guest gets.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use hypermesh_runtime::{
    Breach, ImportRefusal, KeyValueStore, KeysFrom, LogStream, NamePage, Secret, Services,
    StartReplicaError, StoreError,
};
use types::{ByteSize, Capability};

use crate::harness::{Started, guest, runtime, try_start, try_start_with};

pub(crate) const QUOTA: ByteSize = ByteSize::bytes(100);

/// Buckets in memory; each key is in the one bucket that its name says.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Mutex<BTreeMap<(String, String), Vec<u8>>>);

impl Buckets {
    fn used(values: &BTreeMap<(String, String), Vec<u8>>) -> u64 {
        values
            .iter()
            .map(|((_, key), value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

impl KeyValueStore for Buckets {
    fn check_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let refused = StoreError::Refused("no such bucket".to_owned());
        (!bucket.is_empty()).then_some(()).ok_or(refused)
    }

    fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .get(&(bucket.to_owned(), key.to_owned()))
            .cloned())
    }

    fn many(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(bucket, key)).collect()
    }

    fn exists(&self, bucket: &str, key: &str) -> Result<bool, StoreError> {
        Ok(self.get(bucket, key)?.is_some())
    }

    /// Pages of two, by name.
    fn keys(&self, bucket: &str, from: &KeysFrom) -> Result<NamePage, StoreError> {
        let KeysFrom::After(after) = from else {
            return self.keys(bucket, &KeysFrom::After(String::new()));
        };
        let values = self.0.lock().unwrap();
        let found = values.keys().filter(|(held, _)| held == bucket);
        let mut names: Vec<_> = found.map(|(_, key)| key.clone()).collect();
        names.retain(|key| key > after);
        let more = names.len() > 2;
        names.truncate(2);
        Ok(NamePage { names, more })
    }

    fn set(&self, bucket: &str, entries: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        let mut values = self.0.lock().unwrap();
        let mut after = values.clone();
        for (key, value) in entries {
            after.insert((bucket.to_owned(), key), value);
        }
        let asked = ByteSize::bytes(Self::used(&after));
        if asked > QUOTA {
            return Err(StoreError::Quota {
                limit: QUOTA,
                asked,
            });
        }
        *values = after;
        Ok(())
    }

    fn delete(&self, _: &str, _: Vec<String>) -> Result<(), StoreError> {
        Err(StoreError::Removed)
    }

    fn increment(
        &self,
        bucket: &str,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Result<i128, StoreError> {
        let old = self.get(bucket, key)?.unwrap_or_else(|| b"0".to_vec());
        let sum = String::from_utf8(old).unwrap().parse::<i128>().unwrap() + delta;
        if !range.contains(&sum) {
            return Err(StoreError::Refused("out of range".to_owned()));
        }
        self.set(bucket, vec![(key.to_owned(), sum.to_string().into_bytes())])?;
        Ok(sum)
    }

    fn swap(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<bool, StoreError> {
        if self.get(bucket, key)? != expected {
            return Ok(false);
        }
        self.set(bucket, vec![(key.to_owned(), value)])?;
        Ok(true)
    }
}

async fn start(store: &Arc<Buckets>) -> Started {
    let keyvalue: Arc<dyn KeyValueStore> = store.clone();
    let services = Services {
        keyvalue: Some(keyvalue),
        ..Services::default()
    };
    let change = |spec: &mut types::ComponentSpec| {
        spec.capabilities = vec![Capability::Keyvalue { quota: QUOTA }];
    };
    try_start_with(&runtime(), guest("keyvalue"), Vec::new(), services, change)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_keep_what_instances_set() {
    let store = Arc::default();
    let started = start(&store).await;
    assert_eq!(
        started.invoke("get", &["\"b\"", "\"k\""]).await.unwrap(),
        "ok(none)"
    );
    assert_eq!(
        started
            .invoke("set", &["\"b\"", "\"k\"", "[1, 2]"])
            .await
            .unwrap(),
        "ok"
    );
    assert_eq!(
        started.invoke("get", &["\"b\"", "\"k\""]).await.unwrap(),
        "ok(some([1, 2]))"
    );
    assert_eq!(
        started.invoke("get", &["\"c\"", "\"k\""]).await.unwrap(),
        "ok(none)"
    );
    for sum in ["ok(5)", "ok(10)"] {
        assert_eq!(
            started
                .invoke("increment", &["\"b\"", "\"n\"", "5"])
                .await
                .unwrap(),
            sum
        );
    }
    let beyond = started
        .invoke("increment", &["\"b\"", "\"n\"", "18446744073709551615"])
        .await;
    assert!(beyond.unwrap().starts_with("err(other("));
    assert_eq!(
        started.invoke("get", &["\"\"", "\"k\""]).await.unwrap(),
        "err(no-such-store)"
    );
    // Another replica with another store shares nothing.
    let other = start(&Arc::default()).await;
    assert_eq!(
        other.invoke("get", &["\"b\"", "\"k\""]).await.unwrap(),
        "ok(none)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reached_quota_is_an_error_for_the_guest_and_a_breach() {
    let store = Arc::default();
    let started = start(&store).await;
    let refused = started
        .invoke("fill", &["\"b\"", "\"k\"", "100"])
        .await
        .unwrap();
    assert!(refused.contains("quota of 100B"), "{refused}");
    let asked = ByteSize::bytes(101);
    let breach = Breach::Quota {
        store: "keyvalue",
        limit: QUOTA,
        asked,
    };
    assert_eq!(started.seen.breaches(), [breach]);
    assert_eq!(
        started
            .invoke("fill", &["\"b\"", "\"k\"", "99"])
            .await
            .unwrap(),
        "ok"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handles_ends_its_own_instance_only() {
    let started = start(&Arc::default()).await;
    started.invoke("hoard", &["\"b\""]).await.unwrap_err();
    assert_eq!(
        started
            .invoke("set", &["\"b\"", "\"k\"", "[]"])
            .await
            .unwrap(),
        "ok"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_the_import_is_refused_with_the_line_that_gives_it() {
    let refused = try_start(&runtime(), guest("keyvalue"), Vec::new(), |_| {}).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("started without a grant");
    };
    let granted = |refusal: &ImportRefusal| refusal.to_string().contains("capabilities.keyvalue");
    assert!(
        refusals.len() == 2 && refusals.iter().all(granted),
        "{refusals:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_reach_the_log_with_level_and_context() {
    let started = start(&Arc::default()).await;
    started
        .invoke("log", &["\"db\"", "\"slow\""])
        .await
        .unwrap();
    assert_eq!(started.seen.log_text(LogStream::Stderr), "warn db: slow\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_secrets_are_seen_through_each_interface() {
    let secret = Secret::new("from a secret".to_owned());
    let services = Services {
        secrets: BTreeMap::from([("token".to_owned(), secret)]),
        ..Services::default()
    };
    let change = |spec: &mut types::ComponentSpec| {
        spec.config
            .insert("colour".to_owned(), "from the manifest".to_owned());
    };
    let started = try_start_with(&runtime(), guest("config"), Vec::new(), services, change)
        .await
        .unwrap();
    for export in ["get", "get-draft", "get-dated"] {
        for (key, shown) in [
            ("\"token\"", "some(\"from a secret\")"),
            ("\"colour\"", "some(\"from the manifest\")"),
            ("\"absent\"", "none"),
        ] {
            assert_eq!(started.invoke(export, &[key]).await.unwrap(), shown);
        }
    }
}
