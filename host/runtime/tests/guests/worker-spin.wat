    (func (export "handle") (param $message i32) (result i32) (loop $more (br $more)) unreachable)
