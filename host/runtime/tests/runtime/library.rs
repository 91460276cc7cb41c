//! Libraries: typed exports called with WAVE text.

use hypermesh_runtime::{CallError, CallKind, CallOutcome, InvokeError};
use types::ComponentKind;

use crate::harness::{runtime, start};

#[tokio::test]
async fn arguments_and_results_of_every_shape_pass_as_wave() {
    let runtime = runtime();
    let library = start(&runtime, "library", |_| {}).await;
    for (export, args, result) in [
        ("hello", vec!["\"wörld\""], "\"hello, wörld\""),
        ("area", vec!["{width: 6, height: 7}"], "42"),
        ("sum", vec!["[1, 2, 4294967295]"], "4294967298"),
        ("divide", vec!["7", "2"], "ok(3)"),
        ("divide", vec!["7", "0"], "err(\"division by zero\")"),
    ] {
        assert_eq!(
            library.invoke(export, &args).await.unwrap(),
            result,
            "{export}"
        );
    }
    let record = library.seen.records().pop().unwrap();
    assert_eq!(
        record.kind,
        CallKind::Invoke("demo:math/numbers@2.0.0#divide".into())
    );
    assert_eq!(record.outcome, CallOutcome::Completed);
    assert!(record.memory_peak_bytes >= 2 * 65_536);
    assert_eq!(record.fuel_used, None);
}

#[tokio::test]
async fn an_export_is_found_by_any_unambiguous_name() {
    let runtime = runtime();
    let library = start(&runtime, "library", |_| {}).await;
    for export in [
        "demo:greeter/greet@0.1.0#add",
        "demo:greeter/greet#add",
        "greet#add",
    ] {
        assert_eq!(
            library.invoke(export, &["1", "2"]).await.unwrap(),
            "3",
            "{export}"
        );
    }
    let error = library.invoke("add", &["1", "2"]).await.unwrap_err();
    assert!(matches!(&error, InvokeError::AmbiguousExport { exports, .. } if exports.len() == 2));
    let error = library
        .invoke("nothing", &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("demo:greeter/greet@0.1.0#hello: func(name: string) -> string"),
        "{error}"
    );
    assert!(
        error.contains("area: func(of: record { width: u32, height: u32 }) -> u32"),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_arguments_are_answered_with_the_signature() {
    let runtime = runtime();
    let library = start(&runtime, "library", |_| {}).await;
    let error = library.invoke("hello", &[]).await.unwrap_err().to_string();
    assert!(
        error.contains("0 arguments") && error.contains("func(name: string)"),
        "{error}"
    );
    let error = library
        .invoke("hello", &["5"])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("argument 1 `5`") && error.contains("func(name: string)"),
        "{error}"
    );
    let deep = "[".repeat(100_000);
    let error = library
        .invoke("sum", &[&deep])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("nested brackets"), "{error}");
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    let error = library
        .invoke("hello", &[&long])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("are more than 1048576"), "{error}");
    assert!(
        library.seen.records().len() == 1,
        "only the trial made an instance"
    );
}

#[tokio::test]
async fn a_library_answers_neither_http_nor_run() {
    let runtime = runtime();
    let library = start(&runtime, "library", |_| {}).await;
    let needed = ComponentKind::Command;
    let wrong = CallError::WrongKind {
        found: ComponentKind::Library,
        needed,
    };
    assert_eq!(library.replica.run().await, Err(wrong));
}
