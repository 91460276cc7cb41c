    ;; Writes every piece of the request's body before it reads the next.
    (func (export "handle") (param $request i32) (param $out i32)
      (local $body i32) (local $stream i32) (local $in i32)
      (call $consume (local.get $request) (i32.const 0))
      (call $stream (call $ok) (i32.const 0))
      (local.set $in (call $ok))
      (local.set $body (call $respond (local.get $out)))
      (local.set $stream (call $open (local.get $body)))
      (block $end
        (loop $more
          (global.set $heap (i32.const 65536))
          (call $read (local.get $in) (i64.const 4096) (i32.const 0))
          (br_if $end (i32.load8_u (i32.const 0)))
          (call $put (local.get $stream) (i32.load (i32.const 4)) (i32.load (i32.const 8))
            (i32.const 64))
          (br_if $more (i32.eqz (i32.load8_u (i32.const 64))))))
      (call $drop-in (local.get $in))
      (call $close (local.get $body) (local.get $stream)))
