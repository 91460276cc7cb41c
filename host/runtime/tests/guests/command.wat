;; A command: the frame for the functions of a test's core module.
(component
;;{streams}
  (import "wasi:cli/environment@0.2.12" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.2.12" (instance $exit
    (export "exit-with-code" (func (param "status-code" u8)))))
  (import "wasi:cli/stdout@0.2.12" (instance $stdout
    (alias outer 1 $output-stream (type $output-stream))
    (export "output-stream" (type $out (eq $output-stream)))
    (export "get-stdout" (func (result (own $out))))))
  (import "wasi:cli/stderr@0.2.12" (instance $stderr
    (alias outer 1 $output-stream (type $output-stream))
    (export "output-stream" (type $out (eq $output-stream)))
    (export "get-stderr" (func (result (own $out))))))
  (import "wasi:cli/stdin@0.2.12" (instance $stdin
    (alias outer 1 $input-stream (type $input-stream))
    (export "input-stream" (type $in (eq $input-stream)))
    (export "get-stdin" (func (result (own $in))))))
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string)
      (result (result (option string) (error $error)))))))
;;{libc}
  (core func $get-environment (canon lower (func $environment "get-environment")
    (memory $memory) (realloc $realloc)))
  (core func $get-arguments (canon lower (func $environment "get-arguments")
    (memory $memory) (realloc $realloc)))
  (core func $exit (canon lower (func $exit "exit-with-code")))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $get-stderr (canon lower (func $stderr "get-stderr")))
  (core func $get-stdin (canon lower (func $stdin "get-stdin")))
  (core func $config (canon lower (func $config "get") (memory $memory) (realloc $realloc)))
  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory $memory) (realloc $realloc)))
  (core func $put (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $memory) (realloc $realloc)))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "host" "get-environment" (func $get-environment (param i32)))
    (import "host" "get-arguments" (func $get-arguments (param i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "get-stderr" (func $get-stderr (result i32)))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "config" (func $config (param i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "put" (func $put (param i32 i32 i32 i32)))
    (data (i32.const 1024) "\n=greeting!")
    (func $print (param $stream i32) (param $at i32) (param $bytes i32)
      (call $put (local.get $stream) (local.get $at) (local.get $bytes) (i32.const 64)))
    (func $line (param $stream i32)
      (call $print (local.get $stream) (i32.const 1024) (i32.const 1)))
;;{run}
  )
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-environment" (func $get-environment))
      (export "get-arguments" (func $get-arguments)) (export "exit" (func $exit))
      (export "get-stdout" (func $get-stdout)) (export "get-stderr" (func $get-stderr))
      (export "get-stdin" (func $get-stdin)) (export "config" (func $config))
      (export "read" (func $read)) (export "put" (func $put))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.12" (instance $command)))
