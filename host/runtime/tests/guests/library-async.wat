;; A library with one async function.
(component
  (core func $return (canon task.return (result u32)))
  (core module $main
    (import "host" "return" (func $return (param i32)))
    (func (export "double") (param i32) (result i32)
      (call $return (i32.mul (local.get 0) (i32.const 2)))
      (i32.const 0))
    (func (export "event") (param i32 i32 i32) (result i32) unreachable))
  (core instance $main (instantiate $main
    (with "host" (instance (export "return" (func $return))))))
  (func $double async (param "n" u32) (result u32)
    (canon lift (core func $main "double") async (callback (core func $main "event"))))
  (export "double" (func $double)))
