//! Backtraces: names of functions, and lines of the source where a component has DWARF.

use std::num::NonZeroU64;
use std::time::Instant;

use hypermesh_runtime::{CallError, DEBUG_INFO_BYTES_MAX, InvokeError, SourceLocation, WasmFrame};

use types::Millis;

use crate::harness::{PATIENCE, Started, assemble, eventually, runtime, start, try_start};
use crate::http::{collect, streaming};

/// `\xx` for each byte: a string of the text format.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// One unit of DWARF 4 that says of all code: `shop.rs`, line 42.
fn dwarf() -> [(&'static str, Vec<u8>); 3] {
    const CODE_END: u8 = 0x7f;
    // One entry: a unit without children; stmt_list, low_pc and high_pc in fixed forms.
    let abbreviations = vec![1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4];
    unit.extend([1, 0, 0, 0, 0, 1, 0, 0, 0, CODE_END, 0, 0, 0]);
    let mut header = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0];
    header.extend(b"shop.rs\0\0\0\0\0");
    // From address 1, line 1 + 41, to the end of the code.
    let program = [0, 5, 2, 1, 0, 0, 0, 3, 41, 1, 2, CODE_END, 0, 1, 1];
    let mut lines = vec![4, 0];
    lines.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
    lines.extend(header);
    lines.extend(program);
    [
        (".debug_abbrev", abbreviations),
        (".debug_info", with_length(&unit)),
        (".debug_line", with_length(&lines)),
    ]
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&length, content].concat()
}

/// A library that traps two calls deep.
fn trapping(custom: &str) -> Vec<u8> {
    assemble(&format!(
        r#"(component
          (core module $m
            (func $_ZN4shop5total17h0123456789abcdefE unreachable)
            (func $checkout (call $_ZN4shop5total17h0123456789abcdefE))
            (export "buy" (func $checkout))
            {custom})
          (core instance $i (instantiate $m))
          (func (export "buy") (canon lift (core func $i "buy"))))"#
    ))
}

async fn frames(component: Vec<u8>) -> Vec<WasmFrame> {
    let runtime = runtime();
    let guest = try_start(&runtime, component, Vec::new(), |_| {})
        .await
        .unwrap();
    let error = guest.invoke("buy", &[]).await.unwrap_err();
    let InvokeError::Call(CallError::Trap { backtrace, .. }) = error else {
        panic!("{error}")
    };
    backtrace
}

fn customs(sections: &[(&str, Vec<u8>)]) -> String {
    let text =
        |(name, bytes): &(&str, Vec<u8>)| format!("(@custom \"{name}\" \"{}\")", escaped(bytes));
    sections.iter().map(text).collect()
}

#[tokio::test]
async fn a_trap_names_the_functions_innermost_first() {
    let frames = frames(trapping("")).await;
    let names: Vec<_> = frames
        .iter()
        .map(|frame| frame.function.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["shop::total", "checkout"]);
    assert!(frames.iter().all(|frame| frame.source.is_none()));
}

#[tokio::test]
async fn a_trap_names_lines_where_the_component_has_dwarf() {
    let frames = frames(trapping(&customs(&dwarf()))).await;
    let source = SourceLocation {
        file: "shop.rs".to_owned(),
        line: Some(42),
    };
    assert_eq!(frames[0].source, Some(source));
    assert_eq!(frames[0].to_string(), "shop::total (shop.rs:42)");
}

#[tokio::test]
async fn more_debug_information_than_the_bound_costs_the_lines_only() {
    let padding = (".debug_str", vec![b' '; DEBUG_INFO_BYTES_MAX]);
    let sections: Vec<_> = dwarf().into_iter().chain([padding]).collect();
    let frames = frames(trapping(&customs(&sections))).await;
    assert_eq!(frames[0].to_string(), "shop::total");
}

#[tokio::test]
async fn nonsense_in_debug_sections_is_no_harm() {
    for length in [0, 1, 7, 64] {
        let noise = dwarf().map(|(name, bytes)| {
            let noise = bytes.iter().map(|byte| byte.wrapping_mul(181) ^ 0x5a);
            (name, noise.cycle().take(length).collect())
        });
        let frames = frames(trapping(&customs(&noise))).await;
        assert_eq!(frames[0].function.as_deref(), Some("shop::total"));
    }
}

/// A library that computes for ever, two calls deep.
fn endless() -> Vec<u8> {
    assemble(
        r#"(component
          (core module $m
            (func $count (loop $for-ever (br $for-ever)))
            (func $checkout (call $count))
            (export "buy" (func $checkout)))
          (core instance $i (instantiate $m))
          (func (export "buy") (canon lift (core func $i "buy"))))"#,
    )
}

/// Where a call of `buy` was stopped, as its record says.
async fn stopped_at(guest: &Started) -> Vec<String> {
    let error = guest.invoke("buy", &[]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Breach(_))),
        "{error}"
    );
    let record = guest.seen.records().pop().unwrap();
    record.stopped_at.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_call_that_a_limit_stops_names_where_it_computed() {
    let runtime = runtime();
    let fuelled = try_start(&runtime, endless(), Vec::new(), |spec| {
        spec.limits.fuel = NonZeroU64::new(100_000);
    });
    let guest = fuelled.await.unwrap();
    assert_eq!(stopped_at(&guest).await, ["count", "checkout"]);
    let timed = try_start(&runtime, endless(), Vec::new(), |spec| {
        spec.limits.wall_time = Millis::new(20);
    });
    let guest = timed.await.unwrap();
    let begun = Instant::now();
    loop {
        let frames = stopped_at(&guest).await;
        // The time can also end between two slices, when no frame is at hand.
        if !frames.is_empty() {
            assert_eq!(frames, ["count", "checkout"]);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never stopped in a slice");
    }
}

#[tokio::test]
async fn a_call_that_waited_was_stopped_nowhere() {
    let runtime = runtime();
    let limit = Millis::new(20);
    let guest = start(&runtime, "http/echo", |spec| spec.limits.wall_time = limit).await;
    let (_pieces, request) = streaming();
    let response = guest.replica.handle(request).await.unwrap();
    collect(response).await.unwrap_err();
    eventually("the call ends", || guest.replica.in_flight() == 0).await;
    assert!(guest.seen.records().pop().unwrap().stopped_at.is_empty());
}
