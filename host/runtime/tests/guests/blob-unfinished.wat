;; Stores objects as before `finish` was in the draft: by dropping the value and its stream.
(component
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $io-error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output (sub resource)))
    (type $failed' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $failed (eq $failed')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8))
        (result (result (error $failed)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:blobstore/types@0.2.0-draft" (instance $types
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (export "outgoing-value" (type $value (sub resource)))
    (export "[static]outgoing-value.new-outgoing-value" (func (result (own $value))))
    (export "[method]outgoing-value.outgoing-value-write-body"
      (func (param "self" (borrow $value)) (result (result (own $output)))))))
  (alias export $types "outgoing-value" (type $value))
  (import "wasi:blobstore/container@0.2.0-draft" (instance $container
    (alias outer 1 $value (type $outer-value))
    (export "outgoing-value" (type $value (eq $outer-value)))
    (export "container" (type $container (sub resource)))
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
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $new (canon lower (func $types "[static]outgoing-value.new-outgoing-value")))
  (core func $body (canon lower
    (func $types "[method]outgoing-value.outgoing-value-write-body") (memory $memory)))
  (core func $name (canon lower
    (func $container "[method]container.write-data") (memory $memory) (realloc $realloc)))
  (core func $has (canon lower
    (func $container "[method]container.has-object") (memory $memory) (realloc $realloc)))
  (core func $create (canon lower
    (func $blobstore "create-container") (memory $memory) (realloc $realloc)))
  (core func $open (canon lower
    (func $blobstore "get-container") (memory $memory) (realloc $realloc)))
  (core func $drop-value (canon resource.drop $value))
  (core func $drop-output (canon resource.drop $output))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "new" (func $new (result i32)))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "name" (func $name (param i32 i32 i32 i32 i32)))
    (import "host" "has" (func $has (param i32 i32 i32 i32)))
    (import "host" "create" (func $create (param i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "drop-value" (func $drop-value (param i32)))
    (import "host" "drop-output" (func $drop-output (param i32)))
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
    ;; Ends by dropping stream and value (0), value and stream (1), by a trap (2), by a trap
    ;; after dropping the value (3) or the stream (4).
    (func (export "put") (param $name i32) (param $bytes i32) (param $ending i32)
      (local $value i32) (local $output i32) (local $container i32)
      (local.set $container (call $container))
      (local.set $value (call $new))
      (call $body (local.get $value) (i32.const 512))
      (local.set $output (call $expect))
      (call $name (local.get $container) (local.get $name) (local.get $bytes)
        (local.get $value) (i32.const 512))
      (drop (call $expect))
      (call $write (local.get $output) (i32.const 1024) (i32.const 1) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (if (i32.eq (local.get $ending) (i32.const 2)) (then unreachable))
      (if (i32.or (i32.eqz (local.get $ending)) (i32.eq (local.get $ending) (i32.const 4)))
        (then
          (call $drop-output (local.get $output))
          (if (local.get $ending) (then unreachable))
          (call $drop-value (local.get $value)))
        (else
          (call $drop-value (local.get $value))
          (if (i32.eq (local.get $ending) (i32.const 3)) (then unreachable))
          (call $drop-output (local.get $output)))))
    (func (export "has") (param $name i32) (param $bytes i32) (result i32)
      (call $has (call $container) (local.get $name) (local.get $bytes) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (i32.load8_u (i32.const 516))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "write" (func $write)) (export "new" (func $new)) (export "body" (func $body))
      (export "name" (func $name)) (export "has" (func $has))
      (export "create" (func $create)) (export "open" (func $open))
      (export "drop-value" (func $drop-value)) (export "drop-output" (func $drop-output))))))
  (func (export "put") (param "name" string) (param "ending" u32)
    (canon lift (core func $main "put") (memory $memory) (realloc $realloc)))
  (func (export "has") (param "name" string) (result bool)
    (canon lift (core func $main "has") (memory $memory) (realloc $realloc))))
