//! The deterministic profile: the same component, input and seed give the same bytes and fuel.

use std::time::{Duration, Instant};

use hypermesh_runtime::{
    Breach, CallError, ImportRefusal, Invocation, InvokeError, Profile, StartReplicaError,
};
use types::Millis;

use crate::harness::{PATIENCE, Started, runtime, start};

const CALLS: [(&str, &[&str]); 5] = [
    ("run", &["20000"]),
    ("chance", &[]),
    ("time", &[]),
    ("nan", &["18444492273895866489"]),
    ("busy", &["1000000"]),
];

async fn all(guest: &Started) -> Vec<Invocation> {
    let mut seen = Vec::new();
    for (export, args) in CALLS {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        seen.push(guest.replica.invoke_counted(export, &args).await.unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_and_fuel_are_those_of_any_other_run() {
    let seed = |seed| move |spec: &mut types::ComponentSpec| spec.deterministic_seed = Some(seed);
    let first = start(&runtime(), "deterministic", seed(7)).await;
    let expected = all(&first).await;
    assert!(
        expected
            .iter()
            .all(|seen| seen.fuel_used.is_some_and(|fuel| fuel > 0))
    );
    assert_eq!(all(&first).await, expected, "the same replica again");
    // Another engine, another pace.
    let runtime = runtime();
    let second = start(&runtime, "deterministic", |spec| {
        spec.deterministic_seed = Some(7);
        spec.limits.cpu_percent = 20;
    })
    .await;
    assert_eq!(
        all(&second).await,
        expected,
        "a slow replica of another runtime"
    );
    let other = all(&start(&runtime, "deterministic", seed(8)).await).await;
    assert_ne!(
        other[1].result, expected[1].result,
        "another seed, other chance"
    );
    assert_eq!(
        other[0], expected[0],
        "what takes no chance does not change"
    );
    let fast = start(&runtime, "deterministic", |_| {}).await;
    let ordinary = fast.invoke("chance", &[]).await.unwrap();
    assert_ne!(ordinary, expected[1].result, "the machine's own chance");
    assert_ne!(fast.invoke("chance", &[]).await.unwrap(), ordinary);
}

#[tokio::test]
async fn a_nan_has_one_form() {
    let runtime = runtime();
    let bits = "18444492273895866489";
    let fast = start(&runtime, "deterministic", |_| {}).await;
    let fixed = start(&runtime, "deterministic", |spec| {
        spec.deterministic_seed = Some(1)
    })
    .await;
    let canonical = 0x7ff8_0000_0000_0000_u64.to_string();
    assert_eq!(fixed.invoke("nan", &[bits]).await.unwrap(), canonical);
    assert_ne!(fast.invoke("nan", &[bits]).await.unwrap(), canonical);
}

#[tokio::test]
async fn time_is_the_guests_own() {
    let runtime = runtime();
    let guest = start(&runtime, "deterministic", |spec| {
        spec.deterministic_seed = Some(1)
    })
    .await;
    let begun = Instant::now();
    let hour = guest.invoke("time", &[]).await.unwrap();
    assert!(begun.elapsed() < PATIENCE.min(Duration::from_secs(3_000)));
    let day = 24 * 3_600 * 1_000_000_000_u64;
    let hour: u64 = hour.parse().unwrap();
    assert!(
        hour > day + day / 24 && hour < day + day / 24 + 1_000_000,
        "{hour}"
    );
}

#[tokio::test]
async fn wall_time_still_ends_a_call() {
    let runtime = runtime();
    let limit = Millis::new(100);
    let guest = start(&runtime, "deterministic", |spec| {
        spec.deterministic_seed = Some(1);
        spec.limits.wall_time = limit;
    })
    .await;
    let error = guest
        .invoke("busy", &["18000000000000000000"])
        .await
        .unwrap_err();
    let breach = Breach::WallTime { limit };
    assert_eq!(error, InvokeError::Call(CallError::Breach(breach)));
}

#[tokio::test]
async fn what_reaches_beyond_the_component_is_refused() {
    let runtime = runtime();
    let bytes = crate::harness::assemble(
        r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#,
    );
    let inspection = runtime.inspect(&bytes).unwrap();
    let started = crate::harness::try_start(&runtime, bytes, Vec::new(), |spec| {
        spec.deterministic_seed = Some(1);
        assert_eq!(Profile::of(spec, &inspection), Profile::Deterministic);
    })
    .await;
    let Some(StartReplicaError::Imports(refusals)) = started.err() else {
        panic!("not refused for its imports")
    };
    assert!(matches!(refusals[0], ImportRefusal::NotRepeatable { .. }));
    let bytes = crate::harness::guest("http/hello");
    let started = crate::harness::try_start(&runtime, bytes, Vec::new(), |spec| {
        spec.deterministic_seed = Some(1);
    })
    .await;
    let refused = StartReplicaError::Imports(vec![ImportRefusal::HttpNotRepeatable]);
    assert_eq!(started.err(), Some(refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_form_however_it_is_typed() {
    let seed = |spec: &mut types::ComponentSpec| spec.deterministic_seed = Some(7);
    let guest = start(&runtime(), "deterministic", seed).await;
    let typed = |text: &str| vec![text.to_owned()];
    let canonical = guest.replica.canonical("run", &typed(" 5000 "));
    assert_eq!(canonical, Ok(("run".to_owned(), typed("5000"))));
    let mut seen = Vec::new();
    for text in [" 5000 ", "5000"] {
        let invoked = guest.replica.invoke_counted("run", &typed(text)).await;
        seen.push(invoked.unwrap());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].arguments, typed("5000"));
    assert_eq!(seen[0].memory_peak_bytes, 0, "this guest has no memory");
    let refused = guest.replica.canonical("run", &typed("many"));
    assert!(matches!(refused, Err(InvokeError::Argument { .. })));
}
