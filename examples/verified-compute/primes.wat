;; Counts the primes below a number by dividing: the same everywhere, and long enough to be worth
;; having somebody else do it.
(component
  (core module $main
    (func $divides (param $number i32) (result i32)
      (local $by i32)
      (local.set $by (i32.const 2))
      (loop $next
        (if (i32.gt_u (i32.mul (local.get $by) (local.get $by)) (local.get $number))
          (then (return (i32.const 0))))
        (if (i32.eqz (i32.rem_u (local.get $number) (local.get $by)))
          (then (return (i32.const 1))))
        (local.set $by (i32.add (local.get $by) (i32.const 1)))
        (br $next))
      (unreachable))
    (func (export "primes") (param $below i32) (result i32)
      (local $number i32) (local $count i32)
      (local.set $number (i32.const 2))
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $number) (local.get $below)))
          (if (i32.eqz (call $divides (local.get $number)))
            (then (local.set $count (i32.add (local.get $count) (i32.const 1)))))
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (br $next)))
      (local.get $count)))
  (core instance $main (instantiate $main))
  (func $primes (param "below" u32) (result u32) (canon lift (core func $main "primes")))
  (export "primes" (func $primes)))
