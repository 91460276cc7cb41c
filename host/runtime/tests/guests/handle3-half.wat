    ;; Traps in the middle of its body.
    (func (export "handle") (param $request i32) (result i32)
      (local $body i64)
      (local.set $body (call $bytes))
      (call $respond (call $readable (local.get $body)) (call $readable (call $trailers)))
      (drop (call $put (call $writable (local.get $body)) (i32.const 1024) (i32.const 6)))
      unreachable)
