//! Compilations: shared, bounded, tied to the digest.

use std::sync::Arc;

use hypermesh_runtime::{CompileError, Profile, Runtime, RuntimeConfig, StartRuntimeError};
use types::{ByteSize, Digest};

use crate::harness::{assemble, guest, runtime};

#[tokio::test]
async fn concurrent_callers_share_one_compilation() {
    let runtime = runtime();
    let bytes = guest("library");
    let artifact = Digest::of(&bytes);
    let calls = (0..8).map(|_| runtime.compile(artifact, bytes.clone(), Profile::Fast));
    let compiled = futures::future::join_all(calls).await;
    let first = compiled[0].as_ref().unwrap();
    assert!(
        compiled
            .iter()
            .all(|other| Arc::ptr_eq(first, other.as_ref().unwrap()))
    );
    let metered = runtime
        .compile(artifact, bytes, Profile::Metered)
        .await
        .unwrap();
    assert_eq!(
        (first.profile(), metered.profile()),
        (Profile::Fast, Profile::Metered)
    );
}

#[tokio::test]
async fn the_cache_forgets_what_was_least_recently_used() {
    let config = RuntimeConfig {
        instances_max: 4,
        compiled_cache_entries: 1,
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).unwrap();
    let (one, other) = (guest("library"), guest("limits"));
    let compile = |bytes: Vec<u8>| runtime.compile(Digest::of(&bytes), bytes, Profile::Fast);
    let first = compile(one.clone()).await.unwrap();
    assert!(Arc::ptr_eq(&first, &compile(one.clone()).await.unwrap()));
    compile(other).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &compile(one).await.unwrap()));
}

#[tokio::test]
async fn bytes_that_are_not_the_artifact_are_refused_and_not_remembered() {
    let runtime = runtime();
    let bytes = guest("library");
    let artifact = Digest::of(&bytes);
    let error = runtime
        .compile(artifact, b"else".to_vec(), Profile::Fast)
        .await
        .unwrap_err();
    assert!(matches!(error, CompileError::DigestMismatch { wanted, .. } if wanted == artifact));
    runtime
        .compile(artifact, bytes, Profile::Fast)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_compiled_says_why() {
    let runtime = runtime();
    let compile = |bytes: Vec<u8>| runtime.compile(Digest::of(&bytes), bytes, Profile::Fast);
    let error = compile(b"\0asm".to_vec()).await.unwrap_err();
    assert!(matches!(error, CompileError::Inspect(_)), "{error}");
    let instances = "(core instance (instantiate $m))".repeat(5);
    let many = assemble(&format!(
        "(component (core module $m (memory 0) (memory 0) (memory 0) (memory 0)) {instances})"
    ));
    let error = compile(many).await.unwrap_err();
    let reason = error.to_string();
    assert!(reason.contains("20 Wasm linear memories"), "{reason}");
    let large = assemble(
        "(component (core module $m (table 4000000 funcref)) (core instance (instantiate $m)))",
    );
    let error = compile(large).await.unwrap_err().to_string();
    assert!(
        error.contains("4000000 which exceeds the limit of 100000"),
        "{error}"
    );
    let module =
        assemble("(component (import \"m\" (core module $m)) (core instance (instantiate $m)))");
    assert_eq!(
        compile(module).await.unwrap_err(),
        CompileError::ImportsModules
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let start = |instances_max, memory_max| {
        let config = RuntimeConfig {
            instances_max,
            memory_max,
            ..RuntimeConfig::default()
        };
        Runtime::new(config).unwrap_err()
    };
    let memory = ByteSize::mib(64);
    assert!(matches!(
        start(0, memory),
        StartRuntimeError::Instances { instances: 0 }
    ));
    assert!(matches!(
        start(10_001, memory),
        StartRuntimeError::Instances { .. }
    ));
    assert!(matches!(
        start(1, ByteSize::mib(5_000)),
        StartRuntimeError::Memory { .. }
    ));
}
