    (func (export "handle") (param $request i32) (param $out i32)
      (loop $for-ever (br $for-ever)))
