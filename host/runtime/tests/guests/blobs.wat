;; Uses containers as they are not meant to be used: holds what it opens, reads odd ranges.
(component
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $io-error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (type $failed' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $failed (eq $failed')))
    (export "[method]input-stream.blocking-read"
      (func (param "self" (borrow $input)) (param "len" u64)
        (result (result (list u8) (error $failed)))))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8))
        (result (result (error $failed)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:blobstore/types@0.2.0-draft" (instance $types
    (alias outer 1 $input (type $outer-input))
    (export "input-stream" (type $input (eq $outer-input)))
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (export "incoming-value" (type $incoming (sub resource)))
    (export "outgoing-value" (type $value (sub resource)))
    (export "[static]incoming-value.incoming-value-consume-sync"
      (func (param "this" (own $incoming)) (result (result (list u8) (error string)))))
    (export "[static]incoming-value.incoming-value-consume-async"
      (func (param "this" (own $incoming)) (result (result (own $input) (error string)))))
    (export "[static]outgoing-value.new-outgoing-value" (func (result (own $value))))
    (export "[static]outgoing-value.finish"
      (func (param "this" (own $value)) (result (result (error string)))))
    (export "[method]outgoing-value.outgoing-value-write-body"
      (func (param "self" (borrow $value)) (result (result (own $output)))))))
  (alias export $types "incoming-value" (type $incoming))
  (alias export $types "outgoing-value" (type $value))
  (import "wasi:blobstore/container@0.2.0-draft" (instance $container
    (alias outer 1 $incoming (type $outer-incoming))
    (export "incoming-value" (type $incoming (eq $outer-incoming)))
    (alias outer 1 $value (type $outer-value))
    (export "outgoing-value" (type $value (eq $outer-value)))
    (export "container" (type $container (sub resource)))
    (export "[method]container.get-data"
      (func (param "self" (borrow $container)) (param "name" string) (param "start" u64)
        (param "end" u64) (result (result (own $incoming) (error string)))))
    (export "[method]container.write-data"
      (func (param "self" (borrow $container)) (param "name" string)
        (param "data" (borrow $value)) (result (result (error string)))))
    (export "[method]container.has-object"
      (func (param "self" (borrow $container)) (param "name" string)
        (result (result bool (error string)))))))
  (alias export $container "container" (type $container'))
  (import "wasi:blobstore/blobstore@0.2.0-draft" (instance $blobstore
    (alias outer 1 $container' (type $outer-container))
    (export "container" (type $container (eq $outer-container)))
    (export "create-container"
      (func (param "name" string) (result (result (own $container) (error string)))))
    (export "get-container"
      (func (param "name" string) (result (result (own $container) (error string)))))))
;;{libc}
  (core func $read (canon lower
    (func $streams "[method]input-stream.blocking-read") (memory $memory) (realloc $realloc)))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $whole (canon lower
    (func $types "[static]incoming-value.incoming-value-consume-sync")
    (memory $memory) (realloc $realloc)))
  (core func $stream (canon lower
    (func $types "[static]incoming-value.incoming-value-consume-async")
    (memory $memory) (realloc $realloc)))
  (core func $new (canon lower (func $types "[static]outgoing-value.new-outgoing-value")))
  (core func $finish (canon lower
    (func $types "[static]outgoing-value.finish") (memory $memory) (realloc $realloc)))
  (core func $body (canon lower
    (func $types "[method]outgoing-value.outgoing-value-write-body") (memory $memory)))
  (core func $data (canon lower
    (func $container "[method]container.get-data") (memory $memory) (realloc $realloc)))
  (core func $name (canon lower
    (func $container "[method]container.write-data") (memory $memory) (realloc $realloc)))
  (core func $has (canon lower
    (func $container "[method]container.has-object") (memory $memory) (realloc $realloc)))
  (core func $create (canon lower
    (func $blobstore "create-container") (memory $memory) (realloc $realloc)))
  (core func $open (canon lower
    (func $blobstore "get-container") (memory $memory) (realloc $realloc)))
  (core func $drop-output (canon resource.drop $output))
  (core func $drop-container (canon resource.drop $container'))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "whole" (func $whole (param i32 i32)))
    (import "host" "stream" (func $stream (param i32 i32)))
    (import "host" "new" (func $new (result i32)))
    (import "host" "finish" (func $finish (param i32 i32)))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "data" (func $data (param i32 i32 i32 i64 i64 i32)))
    (import "host" "name" (func $name (param i32 i32 i32 i32 i32)))
    (import "host" "has" (func $has (param i32 i32 i32 i32)))
    (import "host" "create" (func $create (param i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "drop-output" (func $drop-output (param i32)))
    (import "host" "drop-container" (func $drop-container (param i32)))
    (data (i32.const 1024) "c")
    ;; What a call left at 512, if it succeeded.
    (func $expect (result i32)
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (i32.load (i32.const 516)))
    (func $container (result i32)
      (call $open (i32.const 1024) (i32.const 1) (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then (call $create (i32.const 1024) (i32.const 1) (i32.const 512))))
      (call $expect))
    ;; Writes pieces of 4 KiB until one is refused, then finishes the value all the same. How many
    ;; were written; minus that and minus one if it could not be finished.
    (func (export "put") (param $name i32) (param $bytes i32) (param $pieces i32) (result i32)
      (local $value i32) (local $output i32) (local $written i32)
      (local.set $value (call $new))
      (call $name (call $container) (local.get $name) (local.get $bytes) (local.get $value)
        (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (call $body (local.get $value) (i32.const 512))
      (local.set $output (call $expect))
      (block $refused
        (loop $more
          (br_if $refused (i32.eq (local.get $written) (local.get $pieces)))
          (call $write (local.get $output) (i32.const 2048) (i32.const 4096) (i32.const 512))
          (br_if $refused (i32.load8_u (i32.const 512)))
          (local.set $written (i32.add (local.get $written) (i32.const 1)))
          (br $more)))
      (call $drop-output (local.get $output))
      (call $finish (local.get $value) (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then (return (i32.sub (i32.const -1) (local.get $written)))))
      (local.get $written))
    ;; Opens the object for reading until that is refused, as streams of which one byte is read.
    (func $hoard (export "hoard") (param $name i32) (param $bytes i32) (result i32)
      (local $container i32) (local $held i32)
      (local.set $container (call $container))
      (block $refused
        (loop $more
          (call $data (local.get $container) (local.get $name) (local.get $bytes)
            (i64.const 0) (i64.const -1) (i32.const 512))
          (br_if $refused (i32.load8_u (i32.const 512)))
          (call $stream (i32.load (i32.const 516)) (i32.const 512))
          (call $read (call $expect) (i64.const 1) (i32.const 512))
          (drop (call $expect))
          (local.set $held (i32.add (local.get $held) (i32.const 1)))
          (br $more)))
      (call $drop-container (local.get $container))
      (local.get $held))
    ;; The same again and again, for as long as it may run: takes what others give back.
    (func (export "hold") (param $name i32) (param $bytes i32)
      (loop $for-ever
        (drop (call $hoard (local.get $name) (local.get $bytes)))
        (br $for-ever)))
    ;; Begins contents until that is refused, and finishes none.
    (func (export "begin") (result i32)
      (local $held i32)
      (loop $more
        (call $body (call $new) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (local.get $held))))
        (local.set $held (i32.add (local.get $held) (i32.const 1)))
        (br $more))
      unreachable)
    (func (export "get") (param $name i32) (param $bytes i32) (param $start i64) (param $end i64)
      (result i32)
      (call $data (call $container) (local.get $name) (local.get $bytes) (local.get $start)
        (local.get $end) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then (return (i32.const 512))))
      (call $whole (i32.load (i32.const 516)) (i32.const 512))
      (i32.const 512))
    (func (export "has") (param $name i32) (param $bytes i32) (result i32)
      (call $has (call $container) (local.get $name) (local.get $bytes) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (i32.load8_u (i32.const 516)))
    ;; The answer to `create-container`, without the container.
    (func (export "make") (param $name i32) (param $bytes i32) (result i32)
      (call $create (local.get $name) (local.get $bytes) (i32.const 512))
      (if (i32.eqz (i32.load8_u (i32.const 512)))
        (then (call $drop-container (i32.load (i32.const 516)))))
      (i32.const 512)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "read" (func $read)) (export "write" (func $write))
      (export "whole" (func $whole)) (export "stream" (func $stream)) (export "new" (func $new))
      (export "finish" (func $finish)) (export "body" (func $body))
      (export "data" (func $data)) (export "name" (func $name)) (export "has" (func $has))
      (export "create" (func $create)) (export "open" (func $open))
      (export "drop-output" (func $drop-output))
      (export "drop-container" (func $drop-container))))))
  (func (export "put") (param "name" string) (param "pieces" u32) (result s32)
    (canon lift (core func $main "put") (memory $memory) (realloc $realloc)))
  (func (export "hoard") (param "name" string) (result u32)
    (canon lift (core func $main "hoard") (memory $memory) (realloc $realloc)))
  (func (export "hold") (param "name" string)
    (canon lift (core func $main "hold") (memory $memory) (realloc $realloc)))
  (func (export "begin") (result u32)
    (canon lift (core func $main "begin") (memory $memory) (realloc $realloc)))
  (func (export "get") (param "name" string) (param "start" u64) (param "end" u64)
    (result (result (list u8) (error string)))
    (canon lift (core func $main "get") (memory $memory) (realloc $realloc)))
  (func (export "has") (param "name" string) (result bool)
    (canon lift (core func $main "has") (memory $memory) (realloc $realloc)))
  (func (export "make") (param "container" string) (result (result (error string)))
    (canon lift (core func $main "make") (memory $memory) (realloc $realloc))))
