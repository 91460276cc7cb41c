//! Buckets: against a `BTreeMap`, at their bounds, apart from each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use hypermesh_storage::{
    BATCH_KEYS_MAX, BUCKETS_MAX, KEY_BYTES_MAX, KeyPosition, KeyValueError, KeyValues,
    PAGE_NAMES_MAX, STORE_NAME_BYTES_MAX, Stores, VALUE_BYTES_MAX,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::stores;

const QUOTA: u64 = 120;
const EVERYTHING: u64 = u64::MAX;

/// Workload, bucket, key to value.
type Model = BTreeMap<(u8, u8, u8), Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8, Vec<(u8, Vec<u8>)>),
    Delete(u8, u8, Vec<u8>),
    Increment(u8, u8, u8, i8),
    Swap(u8, u8, u8, Option<Vec<u8>>, Vec<u8>),
    Remove(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let few = || 0..3_u8;
    let value = || vec(any::<u8>(), 0..40);
    prop_oneof![
        8 => (few(), few(), vec((few(), value()), 0..4)).prop_map(|(w, b, e)| Step::Set(w, b, e)),
        3 => (few(), few(), vec(few(), 0..3)).prop_map(|(w, b, k)| Step::Delete(w, b, k)),
        3 => (few(), few(), few(), any::<i8>()).prop_map(|(w, b, k, d)| Step::Increment(w, b, k, d)),
        2 => (few(), few(), few(), proptest::option::of(value()), value())
            .prop_map(|(w, b, k, old, new)| Step::Swap(w, b, k, old, new)),
        1 => few().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

fn key(key: u8) -> String {
    "k".repeat(usize::from(key) + 1)
}

fn used(model: &Model, workload: u8) -> u64 {
    let own = model.iter().filter(|((w, _, _), _)| *w == workload);
    own.map(|((_, _, k), value)| (key(*k).len() + value.len()) as u64)
        .sum()
}

/// What the model becomes, if its quota lets it.
fn admitted(model: &mut Model, workload: u8, after: Model) -> bool {
    let (before, asked) = (used(model, workload), used(&after, workload));
    let fits = asked <= QUOTA || asked <= before;
    if fits {
        *model = after;
    }
    fits
}

fn take(store: &KeyValues, model: &mut Model, step: Step) {
    let refused = |result: &Result<(), KeyValueError>| {
        matches!(result, Err(KeyValueError::Quota { limit: QUOTA, .. }))
    };
    match step {
        Step::Set(w, b, entries) => {
            let mut after = model.clone();
            after.extend(entries.iter().map(|(k, value)| ((w, b, *k), value.clone())));
            let fits = admitted(model, w, after);
            let entries = entries
                .into_iter()
                .map(|(k, value)| (key(k), value))
                .collect();
            let result = store.set_many(&w.to_string(), &b.to_string(), entries, QUOTA);
            assert!(
                if fits {
                    result.is_ok()
                } else {
                    refused(&result)
                },
                "{result:?}"
            );
        }
        Step::Delete(w, b, keys) => {
            for k in &keys {
                model.remove(&(w, b, *k));
            }
            let keys = keys.into_iter().map(key).collect();
            store.delete(&w.to_string(), &b.to_string(), keys).unwrap();
        }
        Step::Increment(w, b, k, delta) => {
            let old = model.get(&(w, b, k));
            let old = old.map_or(Some(0), |old| std::str::from_utf8(old).ok()?.parse().ok());
            let sum: Option<i128> = old.map(|old: i128| old + i128::from(delta));
            let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
            let change = (i128::from(delta), range);
            let result = store.increment(&w.to_string(), &b.to_string(), &key(k), change, QUOTA);
            let Some(sum) = sum else {
                assert!(
                    matches!(result, Err(KeyValueError::NotNumber)),
                    "{result:?}"
                );
                return;
            };
            let mut after = model.clone();
            after.insert((w, b, k), sum.to_string().into_bytes());
            if admitted(model, w, after) {
                assert_eq!(result.unwrap(), sum);
            } else {
                assert!(refused(&result.map(|_| ())));
            }
        }
        Step::Swap(w, b, k, expected, value) => {
            let same = model.get(&(w, b, k)) == expected.as_ref();
            let mut after = model.clone();
            if same {
                after.insert((w, b, k), value.clone());
            }
            let change = (expected, value);
            let result =
                store.compare_and_swap(&w.to_string(), &b.to_string(), &key(k), change, QUOTA);
            if !same || admitted(model, w, after) {
                assert_eq!(result.unwrap(), same);
            } else {
                assert!(refused(&result.map(|_| ())));
            }
        }
        Step::Remove(_) | Step::Reopen => {}
    }
}

fn compare(store: &KeyValues, model: &Model) {
    for w in 0..3 {
        let workload = w.to_string();
        assert_eq!(store.used_bytes(&workload).unwrap(), used(model, w));
        for b in 0..3 {
            let bucket = b.to_string();
            let expected: Vec<String> = (0..3)
                .filter(|k| model.contains_key(&(w, b, *k)))
                .map(key)
                .collect();
            let page = store.keys(&workload, &bucket, &KeyPosition::Start).unwrap();
            assert_eq!((page.keys, page.more), (expected, false));
            let keys: Vec<String> = (0..3).map(key).collect();
            let values: Vec<_> = (0..3).map(|k| model.get(&(w, b, k)).cloned()).collect();
            assert_eq!(store.many(&workload, &bucket, &keys).unwrap(), values);
            for (key, value) in keys.iter().zip(&values) {
                assert_eq!(&store.get(&workload, &bucket, key).unwrap(), value);
                assert_eq!(
                    store.exists(&workload, &bucket, key).unwrap(),
                    value.is_some()
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn buckets_are_what_a_map_is_with_a_quota(steps in vec(step(), 1..40)) {
        let (folder, mut stores) = stores();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Remove(workload) => {
                    model.retain(|(w, _, _), _| *w != workload);
                    stores.remove(&workload.to_string()).unwrap();
                }
                Step::Reopen => {
                    drop(stores);
                    stores = Stores::open(folder.path()).unwrap();
                }
                step => take(stores.keyvalues(), &mut model, step),
            }
            let with_data: Vec<String> =
                (0..3).filter(|w| model.keys().any(|(of, _, _)| of == w)).map(|w| w.to_string()).collect();
            prop_assert_eq!(stores.workloads().unwrap().into_iter().collect::<Vec<_>>(), with_data);
        }
        drop(stores);
        compare(Stores::open(folder.path()).unwrap().keyvalues(), &model);
    }
}

#[test]
fn names_keys_values_and_batches_have_bounds() {
    let (_folder, stores) = stores();
    let store = stores.keyvalues();
    for name in ["", "a\0b", "a\nb", &"x".repeat(STORE_NAME_BYTES_MAX + 1)] {
        assert!(matches!(
            store.set("w", name, "k", vec![], EVERYTHING),
            Err(KeyValueError::BucketName { .. })
        ));
    }
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let large = vec![0; VALUE_BYTES_MAX + 1];
    for refused in [
        store.set("w", "b", &long, vec![], EVERYTHING),
        store.set("w", "b", "k", large.clone(), EVERYTHING),
        store
            .compare_and_swap("w", "b", "k", (None, large), EVERYTHING)
            .map(|_| ()),
    ] {
        assert!(
            matches!(refused, Err(KeyValueError::TooLarge { .. })),
            "{refused:?}"
        );
    }
    let many: Vec<_> = (0..=BATCH_KEYS_MAX)
        .map(|n| (n.to_string(), vec![]))
        .collect();
    let keys: Vec<_> = many.iter().map(|(key, _)| key.clone()).collect();
    for refused in [
        store.set_many("w", "b", many, EVERYTHING),
        store.delete("w", "b", keys.clone()),
        store.many("w", "b", &keys).map(|_| ()),
    ] {
        assert!(
            matches!(refused, Err(KeyValueError::TooMany { .. })),
            "{refused:?}"
        );
    }
    assert!(stores.workloads().unwrap().is_empty());
    store
        .set(
            "w",
            &"ä".repeat(STORE_NAME_BYTES_MAX / 2),
            "",
            vec![],
            EVERYTHING,
        )
        .unwrap();
}

#[test]
fn values_that_do_not_fit_into_one_batch_are_refused_before_they_are_all_read() {
    let (_folder, stores) = stores();
    let store = stores.keyvalues();
    store
        .set("w", "b", "k", vec![0; VALUE_BYTES_MAX], EVERYTHING)
        .unwrap();
    let keys = vec!["k".to_owned(); BATCH_KEYS_MAX];
    let refused = store.many("w", "b", &keys);
    assert!(matches!(
        refused,
        Err(KeyValueError::TooLarge {
            what: "a batch",
            ..
        })
    ));
}

#[test]
fn a_workload_has_so_many_buckets_and_no_more() {
    let (_folder, stores) = stores();
    let store = stores.keyvalues();
    // Several at once, so that they share flushes.
    std::thread::scope(|scope| {
        for part in 0..8 {
            scope.spawn(move || {
                for number in (part..BUCKETS_MAX).step_by(8) {
                    store
                        .set("w", &number.to_string(), "k", vec![], EVERYTHING)
                        .unwrap();
                }
            });
        }
    });
    let refused = store.set("w", "one more", "k", vec![], EVERYTHING);
    assert!(matches!(
        refused,
        Err(KeyValueError::TooMany {
            what: "buckets",
            ..
        })
    ));
    store
        .set("other", "one more", "k", vec![], EVERYTHING)
        .unwrap();
    store.delete("w", "0", vec!["k".to_owned()]).unwrap();
    store.set("w", "one more", "k", vec![], EVERYTHING).unwrap();
}

#[test]
fn listings_come_in_pages_by_count_and_by_key() {
    let (_folder, stores) = stores();
    let store = stores.keyvalues();
    let all: Vec<String> = (0..PAGE_NAMES_MAX * 2 + 5)
        .map(|n| format!("{n:05}"))
        .collect();
    for part in all.chunks(BATCH_KEYS_MAX) {
        let entries = part.iter().map(|key| (key.clone(), vec![])).collect();
        store.set_many("w", "b", entries, EVERYTHING).unwrap();
    }
    store
        .set("w", "b\u{1f}", "not mine", vec![], EVERYTHING)
        .unwrap_err();
    store
        .set("w", "bb", "not mine", vec![], EVERYTHING)
        .unwrap();
    for by_count in [true, false] {
        let (mut found, mut from) = (Vec::new(), KeyPosition::Start);
        loop {
            let page = store.keys("w", "b", &from).unwrap();
            found.extend(page.keys);
            if !page.more {
                break;
            }
            from = if by_count {
                KeyPosition::Skip(found.len() as u64)
            } else {
                KeyPosition::After(found.last().unwrap().clone())
            };
        }
        assert_eq!(found, all);
    }
}

#[test]
fn a_lowered_quota_lets_a_workload_shrink() {
    let (_folder, stores) = stores();
    let store = stores.keyvalues();
    store.set("w", "b", "k", vec![0; 100], 101).unwrap();
    assert!(store.set("w", "b", "k", vec![0; 101], 10).is_err());
    store.set("w", "b", "k", vec![0; 50], 10).unwrap();
    assert!(matches!(
        store.set("w", "b", "l", vec![], 10),
        Err(KeyValueError::Quota {
            limit: 10,
            asked: 52
        })
    ));
    store.delete("w", "b", vec!["k".to_owned()]).unwrap();
    assert_eq!(store.used_bytes("w").unwrap(), 0);
}

#[test]
fn increments_of_many_threads_add_up() {
    let (_folder, stores) = stores();
    let stores = Arc::new(stores);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let store = stores.keyvalues();
            scope.spawn(move || {
                for _ in 0..25 {
                    store
                        .increment("w", "b", "n", (1, 0..=i128::from(u64::MAX)), 100)
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(
        stores.keyvalues().get("w", "b", "n").unwrap().unwrap(),
        b"200"
    );
    let store = stores.keyvalues();
    let beyond = store.increment("w", "b", "n", (56, 0..=255), 100);
    assert!(matches!(beyond, Err(KeyValueError::Range)));
    store.set("w", "b", "t", b"text".to_vec(), 100).unwrap();
    let text = store.increment("w", "b", "t", (1, 0..=255), 100);
    assert!(matches!(text, Err(KeyValueError::NotNumber)));
}
