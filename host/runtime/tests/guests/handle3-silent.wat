    ;; Waits for what never comes.
    (func (export "handle") (param $request i32) (result i32)
      (drop (call $wait (call $new-set) (i32.const 32)))
      (i32.const 0))
