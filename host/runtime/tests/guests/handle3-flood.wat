    ;; Writes without end.
    (func (export "handle") (param $request i32) (result i32)
      (local $body i64)
      (local.set $body (call $bytes))
      (call $respond (call $readable (local.get $body)) (call $readable (call $trailers)))
      (loop $more (br_if $more
        (call $put (call $writable (local.get $body)) (i32.const 65536) (i32.const 4096))))
      unreachable)
