    ;; Answers `other("no thanks")`.
    (func (export "handle") (param $message i32) (result i32)
      (i32.store (i32.const 256) (i32.const 1))
      (i32.store (i32.const 260) (i32.const 3))
      (i32.store (i32.const 264) (i32.const 1032))
      (i32.store (i32.const 268) (i32.const 9))
      (i32.const 256))
