    ;; Half an answer, then a trap.
    (func (export "handle") (param $request i32) (param $out i32)
      (local $stream i32)
      (local.set $stream (call $open (call $respond (local.get $out))))
      (call $put (local.get $stream) (i32.const 1024) (i32.const 6) (i32.const 64))
      unreachable)
