;; Opens paths below its first preopened directory.
(component
;;{streams}
  (import "wasi:filesystem/types@0.2.12" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $path-flags' (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $path-flags')))
    (type $open-flags' (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $open-flags')))
    (type $descriptor-flags' (flags "read" "write" "file-integrity-sync" "data-integrity-sync"
      "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $descriptor-flags')))
    (type $error-code' (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock"
      "quota" "exist" "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted"
      "invalid" "io" "is-directory" "loop" "too-many-links" "message-size" "name-too-long"
      "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
      "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
      "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy"
      "cross-device"))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "[method]descriptor.open-at" (func
      (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags)
      (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error-code)))))
    (export "[method]descriptor.read" (func
      (param "self" (borrow $descriptor)) (param "length" u64) (param "offset" u64)
      (result (result (tuple (list u8) bool) (error $error-code)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.12" (instance $preopens
    (alias outer 1 $descriptor (type $descriptor))
    (export "descriptor" (type $own (eq $descriptor)))
    (export "get-directories" (func (result (list (tuple (own $own) string)))))))
;;{libc}
  (core func $open-at (canon lower (func $types "[method]descriptor.open-at")
    (memory $memory) (realloc $realloc)))
  (core func $read (canon lower (func $types "[method]descriptor.read")
    (memory $memory) (realloc $realloc)))
  (core func $get-directories (canon lower (func $preopens "get-directories")
    (memory $memory) (realloc $realloc)))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "host" "open-at" (func $open-at (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i64 i32)))
    (import "host" "get-directories" (func $get-directories (param i32)))
    (data (i32.const 1024) "no directory")
    ;; Opens the path following symbolic links; gives back result<string, u8> at 128.
    (func $open (param $path i32) (param $bytes i32) (param $open-flags i32) (param $flags i32)
      (result i32)
      (call $get-directories (i32.const 0))
      (if (i32.eqz (i32.load (i32.const 4)))
        (then
          (i32.store8 (i32.const 128) (i32.const 1))
          (i32.store8 (i32.const 132) (i32.const 255))
          (return (i32.const 128))))
      (call $open-at (i32.load (i32.load (i32.const 0))) (i32.const 1) (local.get $path)
        (local.get $bytes) (local.get $open-flags) (local.get $flags) (i32.const 16))
      (if (i32.load8_u (i32.const 16))
        (then
          (i32.store8 (i32.const 128) (i32.const 1))
          (i32.store8 (i32.const 132) (i32.load8_u (i32.const 20)))
          (return (i32.const 128))))
      (call $read (i32.load (i32.const 20)) (i64.const 1024) (i64.const 0) (i32.const 32))
      (if (i32.load8_u (i32.const 32))
        (then
          (i32.store8 (i32.const 128) (i32.const 1))
          (i32.store8 (i32.const 132) (i32.load8_u (i32.const 36)))
          (return (i32.const 128))))
      (i32.store8 (i32.const 128) (i32.const 0))
      (i32.store (i32.const 132) (i32.load (i32.const 36)))
      (i32.store (i32.const 136) (i32.load (i32.const 40)))
      (i32.const 128))
    (func (export "read") (param i32 i32) (result i32)
      (call $open (local.get 0) (local.get 1) (i32.const 0) (i32.const 1)))
    (func (export "create") (param i32 i32) (result i32)
      (call $open (local.get 0) (local.get 1) (i32.const 1) (i32.const 3))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "open-at" (func $open-at)) (export "read" (func $read))
      (export "get-directories" (func $get-directories))))))
  (func $read (param "path" string) (result (result string (error u8)))
    (canon lift (core func $main "read") (memory $memory) (realloc $realloc)))
  (func $create (param "path" string) (result (result string (error u8)))
    (canon lift (core func $main "create") (memory $memory) (realloc $realloc)))
  (export "read" (func $read))
  (export "create" (func $create)))
