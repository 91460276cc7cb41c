    (func $inner-function unreachable)
    (func (export "handle") (param $request i32) (param $out i32)
      (call $inner-function))
