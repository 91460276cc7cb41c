    ;; Returns without a response.
    (func (export "handle") (param $request i32) (param $out i32))
