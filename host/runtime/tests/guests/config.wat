;; Shows its settings through the interface as it was last proposed and through two drafts of it.
(component
  (import "wasi:config/store@0.2.0-rc.1" (instance $store
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (import "wasi:config/runtime@0.2.0-draft" (instance $runtime
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "config-error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (import "wasi:config/store@0.2.0-draft-2024-09-27" (instance $dated
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
;;{libc}
  (core func $get (canon lower (func $store "get") (memory $memory) (realloc $realloc)))
  (core func $get-dated (canon lower (func $dated "get") (memory $memory) (realloc $realloc)))
  (core func $get-draft (canon lower (func $runtime "get") (memory $memory) (realloc $realloc)))
  (core module $main
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "get-draft" (func $get-draft (param i32 i32 i32)))
    (import "host" "get-dated" (func $get-dated (param i32 i32 i32)))
    (import "libc" "memory" (memory 2))
    ;; The option inside a result that is not an error.
    (func $shown (result i32)
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (i32.const 516))
    (func (export "get") (param i32 i32) (result i32)
      (call $get (local.get 0) (local.get 1) (i32.const 512))
      (call $shown))
    ;; Whether a key of so many bytes is set, by two of the interfaces.
    (func (export "has-long") (param $bytes i32) (result i32)
      (drop (memory.grow (i32.div_u (local.get $bytes) (i32.const 65536))))
      (call $get (i32.const 1024) (local.get $bytes) (i32.const 512))
      (call $get-draft (i32.const 1024) (local.get $bytes) (i32.const 528))
      (i32.or
        (i32.or (i32.load8_u (i32.const 512)) (i32.load8_u (i32.const 516)))
        (i32.or (i32.load8_u (i32.const 528)) (i32.load8_u (i32.const 532)))))
    (func (export "get-dated") (param i32 i32) (result i32)
      (call $get-dated (local.get 0) (local.get 1) (i32.const 512))
      (call $shown))
    (func (export "get-draft") (param i32 i32) (result i32)
      (call $get-draft (local.get 0) (local.get 1) (i32.const 512))
      (call $shown)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get" (func $get)) (export "get-draft" (func $get-draft))
      (export "get-dated" (func $get-dated))))))
  (func (export "get") (param "key" string) (result (option string))
    (canon lift (core func $main "get") (memory $memory) (realloc $realloc)))
  (func (export "get-dated") (param "key" string) (result (option string))
    (canon lift (core func $main "get-dated") (memory $memory) (realloc $realloc)))
  (func (export "get-draft") (param "key" string) (result (option string))
    (canon lift (core func $main "get-draft") (memory $memory) (realloc $realloc)))
  (func (export "has-long") (param "bytes" u32) (result bool)
    (canon lift (core func $main "has-long"))))
