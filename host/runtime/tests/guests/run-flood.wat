    ;; 64 times 4 KiB of output.
    (func (export "run") (result i32)
      (local $left i32) (local $out i32)
      (local.set $out (call $get-stdout))
      (local.set $left (i32.const 64))
      (loop $more
        (call $print (local.get $out) (i32.const 1024) (i32.const 4096))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (local.get $left)))
      (i32.const 0))
