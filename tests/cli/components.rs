//! Components in text form, small enough to be read whole.

/// An HTTP service: the demo. `/hello` answers with a line that contains `word`.
pub(crate) fn service(word: &str) -> String {
    const TEXT: &str = include_str!("../../examples/demo/demo.wat");
    const LINE: &str = "Hello from a WebAssembly component.";
    assert!(TEXT.contains(LINE) && word.len() <= LINE.len());
    // The length stands in the code: a shorter line is filled up.
    TEXT.replace(LINE, &format!("{word:<width$}", width = LINE.len()))
}

/// A command that writes `text` and a line end, then does what `end` says: `(i32.const 0)` to end
/// well, `(i32.const 1)` to end badly, `(unreachable)` to trap.
pub(crate) fn command(text: &str, end: &str) -> String {
    let length = text.len() + 1;
    format!(
        r#"(component
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $cases (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $cases)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/stdout@0.2.0" (instance $cli-stdout
    (alias outer 1 $output-stream (type $outer-stream))
    (export "output-stream" (type $stream (eq $outer-stream)))
    (export "get-stdout" (func (result (own $stream))))))
  (core module $memory-module (memory (export "memory") 1) (data (i32.const 64) "{text}\n"))
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $memory))
  (core func $stdout (canon lower (func $cli-stdout "get-stdout")))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core module $code
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $write (call $stdout) (i32.const 64) (i32.const {length}) (i32.const 0))
      {end}))
  (core instance $instance (instantiate $code (with "host" (instance
    (export "stdout" (func $stdout)) (export "write" (func $write))))))
  (func $run (result (result)) (canon lift (core func $instance "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))"#
    )
}

/// Typed exports: `add` of two numbers, `mirror` of a point, `trap`.
pub(crate) const LIBRARY: &str = r#"(component
  (core module $code
    (memory (export "memory") 1)
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "mirror") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 1))
      (i32.store (i32.const 4) (local.get 0))
      (i32.const 0))
    (func (export "trap") unreachable))
  (core instance $instance (instantiate $code))
  (type $point-fields (record (field "x" s32) (field "y" s32)))
  (export $point "point" (type $point-fields))
  (func (export "add") (param "a" s32) (param "b" s32) (result s32)
    (canon lift (core func $instance "add")))
  (func (export "mirror") (param "of" $point) (result $point)
    (canon lift (core func $instance "mirror") (memory $instance "memory")))
  (func (export "trap") (canon lift (core func $instance "trap"))))"#;

/// Wants to call out over HTTP, which nobody granted.
pub(crate) const WANTS_MORE: &str = r#"(component
  (import "wasi:http/outgoing-handler@0.2.0" (instance))
  (core module $code (func (export "run") (result i32) (i32.const 0)))
  (core instance $instance (instantiate $code))
  (func $run (result (result)) (canon lift (core func $instance "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
