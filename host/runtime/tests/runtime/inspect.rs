//! What an inspection finds, and everything that it must refuse without harm.

use hypermesh_runtime::{COMPONENT_BYTES_MAX, ImportName, InspectError, Runtime, assemble_text};
use proptest::prelude::*;
use types::ComponentKind;

use crate::harness::{assemble, guest, runtime};

fn refused(runtime: &Runtime, bytes: &[u8]) -> InspectError {
    runtime.inspect(bytes).unwrap_err()
}

#[test]
fn kinds_imports_and_exports_are_listed() {
    let runtime = runtime();
    let library = runtime.inspect(&guest("library")).unwrap();
    assert_eq!(
        (library.kind, library.imports.len()),
        (ComponentKind::Library, 0)
    );
    let exports: Vec<String> = library.exports.iter().map(ToString::to_string).collect();
    assert_eq!(
        exports,
        [
            "area: func(of: record { width: u32, height: u32 }) -> u32",
            "demo:greeter/greet@0.1.0#hello: func(name: string) -> string",
            "demo:greeter/greet@0.1.0#add: func(a: u32, b: u32) -> u32",
            "demo:math/numbers@2.0.0#sum: func(values: list<u32>) -> u64",
            "demo:math/numbers@2.0.0#divide: func(a: u32, b: u32) -> result<u32, string>",
            "demo:math/numbers@2.0.0#add: func(a: u32, b: u32) -> u32",
        ]
    );
    let http = runtime.inspect(&guest("http/hello")).unwrap();
    assert_eq!(http.kind, ComponentKind::Http);
    let imports: Vec<&str> = http.imports.iter().map(ImportName::as_str).collect();
    let expected = [
        "wasi:io/error@0.2.12",
        "wasi:io/streams@0.2.12",
        "wasi:http/types@0.2.12",
    ];
    assert_eq!(imports, expected);
    assert_eq!(http.imports[2].interface(), "wasi:http/types");
    assert_eq!(http.imports[2].version(), Some("0.2.12"));
    assert_eq!(
        runtime.inspect(&guest("command/ok")).unwrap().kind,
        ComponentKind::Command
    );
}

#[test]
fn what_is_no_component_is_refused_with_the_reason() {
    let runtime = runtime();
    assert_eq!(
        refused(&runtime, b""),
        InspectError::NotWasm { found: "nothing" }
    );
    assert!(matches!(
        refused(&runtime, b"#!/bin/sh"),
        InspectError::NotWasm { .. }
    ));
    let text = refused(&runtime, b"  (component)").to_string();
    assert!(text.contains("component text"), "{text}");
    let module = assemble("(module (func (export \"run\")))");
    assert_eq!(refused(&runtime, &module), InspectError::CoreModule);
    assert!(matches!(
        refused(&runtime, b"\0asm"),
        InspectError::Invalid { .. }
    ));
    assert!(matches!(
        refused(&runtime, b"\0asm\x0d\0\x02\0"),
        InspectError::Invalid { .. }
    ));
}

#[test]
fn a_component_cut_anywhere_is_invalid() {
    let runtime = runtime();
    let whole = guest("library");
    for end in (8..whole.len()).step_by(7) {
        // A cut between sections can leave a smaller component that is valid by itself.
        if let Err(error) = runtime.inspect(&whole[..end]) {
            assert!(
                matches!(error, InspectError::Invalid { .. }),
                "{end}: {error}"
            );
        }
    }
    assert!(runtime.inspect(&whole[..whole.len() - 1]).is_err());
}

#[test]
fn text_is_assembled_or_refused_with_its_place() {
    let bytes = assemble_text(b"(component)").unwrap();
    assert!(runtime().inspect(&bytes).is_ok());
    assert_eq!(assemble_text(&bytes).unwrap(), bytes);
    let error = assemble_text(b"(component\n  (oops))")
        .unwrap_err()
        .to_string();
    assert!(error.contains(":2:"), "{error}");
    assert!(assemble_text(&[0xff, 0xfe]).is_err());
}

/// A valid component and `bytes` of custom sections of 1 MiB each.
fn padded(bytes: usize) -> Vec<u8> {
    let mut component = assemble("(component)");
    let section = {
        let content = 1 << 20;
        let mut section = vec![0];
        let mut length: u32 = content + 4;
        while length >= 0x80 {
            section.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        section.push(u8::try_from(length).unwrap());
        section.extend(b"\x03pad");
        section.extend(vec![0xaa; content as usize]);
        section
    };
    while component.len() < bytes {
        component.extend(&section);
    }
    component
}

#[test]
fn a_hundred_megabytes_of_custom_sections_are_skipped() {
    let runtime = runtime();
    let component = padded(100 << 20);
    assert!(component.len() > 100 << 20);
    assert_eq!(
        runtime.inspect(&component).unwrap().kind,
        ComponentKind::Library
    );
    let too_large = padded(COMPONENT_BYTES_MAX + 1);
    assert!(matches!(
        refused(&runtime, &too_large),
        InspectError::TooLarge { .. }
    ));
}

#[test]
fn a_signature_that_expands_without_end_is_cut() {
    let mut text = String::from("(component (type $t0 (tuple u64 u64))\n");
    for level in 1..12 {
        let below = level - 1;
        text.push_str(&format!("(type $t{level} (tuple $t{below} $t{below}))\n"));
    }
    text.push_str(
        "(core module $m (memory (export \"m\") 1)
           (func (export \"f\") (result i32) i32.const 0))
         (core instance $i (instantiate $m))
         (func (export \"f\") (result $t11) (canon lift (core func $i \"f\")
           (memory (core memory $i \"m\")))))",
    );
    let text = text.replace("(memory (core memory $i \"m\"))", "(memory $i \"m\")");
    let inspection = runtime().inspect(&assemble(&text)).unwrap();
    let signature = &inspection.exports[0].signature;
    assert!(
        signature.len() < 5_000 && signature.contains('…'),
        "{}",
        signature.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let runtime = shared();
        prop_assert!(runtime.inspect(&bytes).is_err());
        let mut dressed = b"\0asm\x0d\0\x01\0".to_vec();
        dressed.extend(&bytes);
        let _ = runtime.inspect(&dressed);
    }

    #[test]
    fn a_damaged_component_never_panics(at in 8_usize..2_000, byte in any::<u8>()) {
        let mut bytes = guest("library");
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = shared().inspect(&bytes);
    }
}

fn shared() -> &'static Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(runtime)
}
