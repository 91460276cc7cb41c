    ;; Writes 4 KiB after 4 KiB, without end.
    (func (export "run") (result i32)
      (local $out i32)
      (local.set $out (call $get-stdout))
      (loop $for-ever
        (call $print (local.get $out) (i32.const 1024) (i32.const 4096))
        (br $for-ever))
      (i32.const 0))
