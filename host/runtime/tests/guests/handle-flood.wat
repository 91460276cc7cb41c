    ;; Writes for ever: only a reader that leaves, or a limit, ends it.
    (func (export "handle") (param $request i32) (param $out i32)
      (local $stream i32)
      (local.set $stream (call $open (call $respond (local.get $out))))
      (loop $more
        (call $put (local.get $stream) (i32.const 1024) (i32.const 4096) (i32.const 64))
        (br $more)))
