    ;; Grows until it is refused, and touches every page that it has, again and again.
    (func (export "run") (result i32)
      (local $at i32)
      (loop $for-ever
        (drop (memory.grow (i32.const 16)))
        (local.set $at (i32.const 131072))
        (loop $touch
          (i32.store (local.get $at) (local.get $at))
          (local.set $at (i32.add (local.get $at) (i32.const 4096)))
          (br_if $touch (i32.lt_u (local.get $at)
            (i32.mul (memory.size) (i32.const 65536)))))
        (br $for-ever))
      (i32.const 0))
