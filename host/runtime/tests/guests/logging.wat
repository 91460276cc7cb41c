;; Logs without end.
(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level' (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
;;{libc}
  (core func $log (canon lower (func $logging "log") (memory $memory)))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    ;; Zeroes are text, too.
    (func $grown (param $bytes i32)
      (drop (memory.grow (i32.div_u (local.get $bytes) (i32.const 65536)))))
    (func (export "once") (param $context i32) (param $message i32)
      (call $grown (i32.add (local.get $context) (local.get $message)))
      (call $log (i32.const 2) (i32.const 1024) (local.get $context)
        (i32.const 1024) (local.get $message)))
    (func (export "flood") (param $bytes i32)
      (call $grown (local.get $bytes))
      (loop $for-ever
        (call $log (i32.const 5) (i32.const 1024) (i32.const 4)
          (i32.const 1024) (local.get $bytes))
        (br $for-ever))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "log" (func $log))))))
  (func (export "once") (param "context" u32) (param "message" u32)
    (canon lift (core func $main "once")))
  (func (export "flood") (param "bytes" u32) (canon lift (core func $main "flood"))))
