//! The code cache: what was compiled once is mapped again, and nothing else ever is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hypermesh_runtime::{
    CodeCache, CodeStore, CompileError, CompilePhase, CompileStats, Profile, Runtime, RuntimeConfig,
};
use types::{ComponentKind, Digest};

use crate::harness::{assemble, eventually, guest, spec, try_start};

const SECRET: [u8; 32] = [7; 32];

/// A store that tests can look into and damage.
#[derive(Default)]
struct Shelf {
    entries: Mutex<BTreeMap<String, Vec<u8>>>,
    /// While set, loads wait.
    stuck: AtomicBool,
}

impl CodeStore for Shelf {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        while self.stuck.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.entries.lock().unwrap().get(name).cloned()
    }

    fn store(&self, name: &str, parts: &[&[u8]]) {
        let mut entries = self.entries.lock().unwrap();
        entries.insert(name.to_owned(), parts.concat());
    }

    fn remove(&self, name: &str) {
        self.entries.lock().unwrap().remove(name);
    }
}

impl Shelf {
    fn runtime(self: &Arc<Self>, secret: &[u8; 32]) -> Runtime {
        let config = RuntimeConfig {
            instances_max: 4,
            ..RuntimeConfig::default()
        };
        let code = CodeCache::new(Arc::clone(self) as Arc<dyn CodeStore>, secret);
        Runtime::with_code_cache(config, code).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.entries.lock().unwrap().keys().cloned().collect()
    }

    fn entry(&self, name: &str) -> Option<Vec<u8>> {
        self.entries.lock().unwrap().get(name).cloned()
    }

    fn put(&self, name: &str, content: Vec<u8>) {
        self.entries
            .lock()
            .unwrap()
            .insert(name.to_owned(), content);
    }
}

/// Compiles or loads the library guest in a fresh runtime and calls it.
async fn used(shelf: &Arc<Shelf>, secret: &[u8; 32]) -> CompileStats {
    let runtime = shelf.runtime(secret);
    let started = try_start(&runtime, guest("library"), Vec::new(), |_| {})
        .await
        .unwrap();
    assert_eq!(
        started
            .invoke("demo:math/numbers@2.0.0#add", &["2", "3"])
            .await
            .unwrap(),
        "5"
    );
    runtime.compile_stats()
}

/// A shelf with the sealed code of the library guest, and the entry's name.
async fn filled() -> (Arc<Shelf>, String, Vec<u8>) {
    let shelf = Arc::new(Shelf::default());
    let stats = used(&shelf, &SECRET).await;
    assert_eq!((stats.cache_misses, stats.compiled), (1, 1));
    eventually("the code is kept", || shelf.names().len() == 1).await;
    let name = shelf.names().remove(0);
    let entry = shelf.entry(&name).unwrap();
    (shelf, name, entry)
}

#[tokio::test]
async fn a_second_runtime_compiles_nothing() {
    let (shelf, _, entry) = filled().await;
    let stats = used(&shelf, &SECRET).await;
    assert_eq!((stats.cache_hits, stats.compiled), (1, 0));
    assert_eq!((stats.cache_misses, stats.cache_rejected), (0, 0));
    assert_eq!(stats.cache_bytes_loaded, entry.len() as u64 - 32);
    let inspect = |runtime: Runtime| async move {
        let bytes = guest("library");
        let compiled = runtime.compile(Digest::of(&bytes), bytes, Profile::Fast);
        compiled.await.unwrap().inspection().clone()
    };
    let cached = inspect(shelf.runtime(&SECRET)).await;
    assert_eq!(cached, inspect(crate::harness::runtime()).await);
}

#[tokio::test]
async fn damage_anywhere_is_refused_and_made_good() {
    let (shelf, name, good) = filled().await;
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    let last = good.len() - 1;
    // The ELF header, the code, its end, the seal's first and last byte.
    for at in [0, 17, last / 3, last / 2, last - 32, last - 31, last] {
        let mut entry = good.clone();
        entry[at] ^= 0x10;
        bad.push((format!("byte {at} of {last}"), entry));
    }
    for length in [0, 31, 32, last / 2, last] {
        bad.push((format!("cut to {length}"), good[..length].to_vec()));
    }
    bad.push(("one more byte".to_owned(), [good.clone(), vec![0]].concat()));
    for (what, entry) in bad {
        shelf.put(&name, entry.clone());
        let stats = used(&shelf, &SECRET).await;
        let counts = (stats.cache_hits, stats.cache_rejected, stats.compiled);
        assert_eq!(counts, (0, 1, 1), "{what}");
        eventually("the entry is replaced", || {
            shelf.entry(&name).is_some_and(|found| found != entry)
        })
        .await;
        assert_eq!(used(&shelf, &SECRET).await.cache_hits, 1, "{what}");
    }
}

#[tokio::test]
async fn code_of_another_node_component_or_engine_is_refused() {
    let (shelf, name, good) = filled().await;
    // Another node: the same component on the same engine, sealed with another secret.
    let stats = used(&shelf, &[8; 32]).await;
    assert_eq!((stats.cache_rejected, stats.compiled), (1, 1));
    eventually("the entry is replaced", || {
        shelf.entry(&name).is_some_and(|entry| entry != good)
    })
    .await;

    // Another engine has another name, and what lies under that name must be its own.
    let shelf = Arc::new(Shelf::default());
    let runtime = shelf.runtime(&SECRET);
    let bytes = guest("library");
    let compiled = runtime.compile(Digest::of(&bytes), bytes, Profile::Metered);
    compiled.await.unwrap();
    eventually("the code is kept", || shelf.names().len() == 1).await;
    let metered = shelf.names().remove(0);
    assert_ne!(metered, name);
    shelf.put(&name, shelf.entry(&metered).unwrap());
    assert_eq!(used(&shelf, &SECRET).await.cache_rejected, 1);

    // Another component of the same engine.
    let (shelf, name, _) = filled().await;
    let runtime = shelf.runtime(&SECRET);
    let bytes = guest("limits");
    let compiled = runtime.compile(Digest::of(&bytes), bytes, Profile::Fast);
    compiled.await.unwrap();
    eventually("the code is kept", || shelf.names().len() == 2).await;
    let other = shelf.names().into_iter().find(|found| *found != name);
    shelf.put(&name, shelf.entry(&other.unwrap()).unwrap());
    assert_eq!(used(&shelf, &SECRET).await.cache_rejected, 1);
}

#[tokio::test]
async fn progress_is_seen_while_others_wait() {
    let (shelf, _, _) = filled().await;
    shelf.stuck.store(true, Ordering::SeqCst);
    let runtime = shelf.runtime(&SECRET);
    let bytes = guest("library");
    let artifact = Digest::of(&bytes);
    let phase = |runtime: &Runtime| {
        let progress = runtime.compile_progress(artifact);
        progress.map(|progress| progress.phase)
    };
    assert_eq!(phase(&runtime), None);
    let work = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.compile(artifact, bytes, Profile::Fast).await }
    });
    eventually("the cache is asked", || {
        phase(&runtime) == Some(CompilePhase::Loading)
    })
    .await;
    shelf.stuck.store(false, Ordering::SeqCst);
    work.await.unwrap().unwrap();
    assert_eq!(phase(&runtime), None);
}

#[tokio::test]
async fn a_profile_is_picked_by_types_and_functions_are_judged_before_they_are_compiled() {
    // Its only function has the wrong type; all else is in order.
    let bytes = assemble(
        "(component (core module (func (result i32) (i64.const 0))) (core module (func)))",
    );
    let shelf = Arc::new(Shelf::default());
    let runtime = shelf.runtime(&SECRET);
    let artifact = Digest::of(&bytes);
    let library = spec(ComponentKind::Library, artifact);
    assert_eq!(runtime.profile(&bytes, &library).unwrap(), Profile::Fast);
    let inspected = runtime.inspect(&bytes).unwrap_err();
    let refused = runtime.compile(artifact, bytes, Profile::Fast).await;
    assert_eq!(refused.unwrap_err(), CompileError::Inspect(inspected));
    assert!(shelf.names().is_empty());
    let concurrent = guest("http-0.3/hello");
    let http = spec(ComponentKind::Http, Digest::of(&concurrent));
    let picked = runtime.profile(&concurrent, &http).unwrap();
    assert_eq!(picked, Profile::Async);
}
