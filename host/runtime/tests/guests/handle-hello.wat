    ;; Never looks at the request's body.
    (func (export "handle") (param $request i32) (param $out i32)
      (local $body i32) (local $stream i32)
      (call $drop-request (local.get $request))
      (local.set $body (call $respond (local.get $out)))
      (local.set $stream (call $open (local.get $body)))
      (call $put (local.get $stream) (i32.const 1024) (i32.const 13) (i32.const 64))
      (call $close (local.get $body) (local.get $stream)))
