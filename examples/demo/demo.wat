;; The demo: an HTTP service in the text form of WebAssembly, so that it needs no guest toolchain.
;;
;; It answers `/` with a page, `/hello` with a line, `/echo…` with the request's method and target,
;; and anything else with 404. It writes one line per request to standard output, and exports
;; `greet`, which can be invoked. Every request gets a fresh instance, so memory is never given back.

(component
  ;; Imports: of each interface only what is used.

  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/streams@0.2.0" (instance $io-streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $stream-error-cases (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error-cases)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $io-streams "output-stream" (type $output-stream))

  (import "wasi:cli/stdout@0.2.0" (instance $cli-stdout
    (alias outer 1 $output-stream (type $outer-stream))
    (export "output-stream" (type $stream (eq $outer-stream)))
    (export "get-stdout" (func (result (own $stream))))))

  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $output-stream (type $outer-stream))
    (export "output-stream" (type $output-stream (eq $outer-stream)))
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $incoming-request (sub resource)))
    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))

    (type $method-cases (variant
      (case "get") (case "head") (case "post") (case "put") (case "delete") (case "connect")
      (case "options") (case "trace") (case "patch") (case "other" string)))
    (export "method" (type $method (eq $method-cases)))
    (type $header-error-cases (variant
      (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error-cases)))

    (type $dns-fields (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns-error (eq $dns-fields)))
    (type $tls-fields (record
      (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls-alert (eq $tls-fields)))
    (type $size-fields (record
      (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field-size (eq $size-fields)))
    (type $error-code-cases (variant
      (case "DNS-timeout")
      (case "DNS-error" $dns-error)
      (case "destination-not-found")
      (case "destination-unavailable")
      (case "destination-IP-prohibited")
      (case "destination-IP-unroutable")
      (case "connection-refused")
      (case "connection-terminated")
      (case "connection-timeout")
      (case "connection-read-timeout")
      (case "connection-write-timeout")
      (case "connection-limit-reached")
      (case "TLS-protocol-error")
      (case "TLS-certificate-error")
      (case "TLS-alert-received" $tls-alert)
      (case "HTTP-request-denied")
      (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $field-size))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $field-size)
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $field-size)
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $field-size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed")
      (case "HTTP-protocol-error")
      (case "loop-detected")
      (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-code-cases)))

    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func
      (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
      (result (result (error $header-error)))))
    (export "[method]incoming-request.method" (func
      (param "self" (borrow $incoming-request)) (result $method)))
    (export "[method]incoming-request.path-with-query" (func
      (param "self" (borrow $incoming-request)) (result (option string))))
    (export "[constructor]outgoing-response" (func
      (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.set-status-code" (func
      (param "self" (borrow $outgoing-response)) (param "status-code" u16) (result (result))))
    (export "[method]outgoing-response.body" (func
      (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[method]outgoing-body.write" (func
      (param "self" (borrow $outgoing-body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish" (func
      (param "this" (own $outgoing-body)) (param "trailers" (option (own $fields)))
      (result (result (error $error-code)))))
    (export "[static]response-outparam.set" (func
      (param "param" (own $response-outparam))
      (param "response" (result (own $outgoing-response) (error $error-code)))))))
  (alias export $http "incoming-request" (type $incoming-request))
  (alias export $http "response-outparam" (type $response-outparam))

  ;; Memory, apart from the code: the lowered imports below need it before the code exists.
  ;; 0..256 answers of imports, 256..512 line under construction, 512..4096 texts, above: heap.

  (core module $memory-module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 8192))
    ;; Bump allocator. A caller may grow an old block by copying it into a new one.
    (func (export "realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      ;; Beyond both pages: stop rather than answer with memory that is not there.
      (if (i32.gt_u (local.get $size) (i32.const 65536)) (then unreachable))
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.const 131072)) (then unreachable))
      (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $memory))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $fields-new (canon lower (func $http "[constructor]fields")))
  (core func $fields-append
    (canon lower (func $http "[method]fields.append") (memory $memory)))
  (core func $request-method
    (canon lower (func $http "[method]incoming-request.method")
      (memory $memory) (realloc $realloc)))
  (core func $request-target
    (canon lower (func $http "[method]incoming-request.path-with-query")
      (memory $memory) (realloc $realloc)))
  (core func $request-drop (canon resource.drop $incoming-request))
  (core func $response-new (canon lower (func $http "[constructor]outgoing-response")))
  (core func $response-status
    (canon lower (func $http "[method]outgoing-response.set-status-code")))
  (core func $response-body
    (canon lower (func $http "[method]outgoing-response.body") (memory $memory)))
  (core func $body-write
    (canon lower (func $http "[method]outgoing-body.write") (memory $memory)))
  (core func $body-finish
    (canon lower (func $http "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
  (core func $outparam-set
    (canon lower (func $http "[static]response-outparam.set") (memory $memory)))
  (core func $stdout (canon lower (func $cli-stdout "get-stdout")))
  (core func $stream-write
    (canon lower (func $io-streams "[method]output-stream.blocking-write-and-flush")
      (memory $memory)))
  (core func $stream-drop (canon resource.drop $output-stream))

  (core module $code-module
    (import "host" "memory" (memory 2))
    (import "host" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "fields-new" (func $fields-new (result i32)))
    (import "host" "fields-append" (func $fields-append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "request-method" (func $request-method (param i32 i32)))
    (import "host" "request-target" (func $request-target (param i32 i32)))
    (import "host" "request-drop" (func $request-drop (param i32)))
    (import "host" "response-new" (func $response-new (param i32) (result i32)))
    (import "host" "response-status" (func $response-status (param i32 i32) (result i32)))
    (import "host" "response-body" (func $response-body (param i32 i32)))
    (import "host" "body-write" (func $body-write (param i32 i32)))
    (import "host" "body-finish" (func $body-finish (param i32 i32 i32 i32)))
    (import "host" "outparam-set"
      (func $outparam-set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "stream-write" (func $stream-write (param i32 i32 i32 i32)))
    (import "host" "stream-drop" (func $stream-drop (param i32)))

    ;; Names of methods, 8 bytes each, in the order of the cases of `method`.
    (data (i32.const 512)
      "GET     HEAD    POST    PUT     DELETE  CONNECT OPTIONS TRACE   PATCH   ")
    (data (i32.const 592) "content-type")
    (data (i32.const 608) "text/html; charset=utf-8")
    (data (i32.const 640) "text/plain; charset=utf-8")
    (data (i32.const 672) "Hello, ")
    (data (i32.const 688) "Hello from a WebAssembly component.\n")
    (data (i32.const 736) "/hello")
    (data (i32.const 744) "/echo")
    (data (i32.const 752) "Nothing here. There are /, /hello and /echo.\n")
    (data (i32.const 1024)
      "<!doctype html>\n"
      "<html lang=\"en\">\n"
      "<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n"
      "<title>HyperMesh</title>\n"
      "<style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:4rem auto;"
      "padding:0 1rem}</style>\n"
      "<h1>It runs.</h1>\n"
      "<p>A WebAssembly component made this page. A block of this fabric's ledger admitted it,\n"
      "and it keeps to the memory and time that the block grants it.</p>\n"
      "<p>It also answers <a href=\"/hello\">/hello</a> and <a href=\"/echo?a=b\">/echo</a>.</p>\n"
      "</html>\n")
    ;; Length of the page above.
    (global $page-length i32 (i32.const 505))

    ;; Whether the text at $a begins with the $length bytes at $b.
    (func $begins (param $a i32) (param $a-length i32) (param $b i32) (param $length i32)
      (result i32)
      (local $i i32)
      (if (i32.lt_u (local.get $a-length) (local.get $length)) (then (return (i32.const 0))))
      (loop $next
        (if (i32.ge_u (local.get $i) (local.get $length)) (then (return (i32.const 1))))
        (if (i32.ne
              (i32.load8_u (i32.add (local.get $a) (local.get $i)))
              (i32.load8_u (i32.add (local.get $b) (local.get $i))))
          (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next))
      (unreachable))

    ;; Writes a text to a stream, 4096 bytes at a time, as the contract wants. A reader that went
    ;; away ends it.
    (func $write (param $stream i32) (param $text i32) (param $length i32)
      (local $part i32)
      (loop $next
        (if (i32.eqz (local.get $length)) (then (return)))
        (local.set $part (select (i32.const 4096) (local.get $length)
          (i32.gt_u (local.get $length) (i32.const 4096))))
        (call $stream-write (local.get $stream) (local.get $text) (local.get $part) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (return)))
        (local.set $text (i32.add (local.get $text) (local.get $part)))
        (local.set $length (i32.sub (local.get $length) (local.get $part)))
        (br $next)))

    ;; Sends one whole response.
    (func $answer (param $out i32) (param $status i32) (param $kind i32) (param $kind-length i32)
      (param $text i32) (param $length i32)
      (local $headers i32) (local $response i32) (local $body i32) (local $stream i32)
      (local.set $headers (call $fields-new))
      (call $fields-append (local.get $headers)
        (i32.const 592) (i32.const 12) (local.get $kind) (local.get $kind-length) (i32.const 0))
      (local.set $response (call $response-new (local.get $headers)))
      (drop (call $response-status (local.get $response) (local.get $status)))
      (call $response-body (local.get $response) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (local.set $body (i32.load (i32.const 4)))
      (call $outparam-set (local.get $out) (i32.const 0) (local.get $response) (i32.const 0)
        (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body-write (local.get $body) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (local.set $stream (i32.load (i32.const 4)))
      (call $write (local.get $stream) (local.get $text) (local.get $length))
      (call $stream-drop (local.get $stream))
      (call $body-finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0)))

    ;; `METHOD target\n` on the heap: the line of the log, and the answer of /echo.
    (func $line (param $method i32) (param $method-length i32) (param $target i32)
      (param $target-length i32) (result i32)
      (local $line i32)
      (local.set $line (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (i32.add (local.get $method-length) (local.get $target-length)) (i32.const 2))))
      (memory.copy (local.get $line) (local.get $method) (local.get $method-length))
      (i32.store8 (i32.add (local.get $line) (local.get $method-length)) (i32.const 32))
      (memory.copy
        (i32.add (i32.add (local.get $line) (local.get $method-length)) (i32.const 1))
        (local.get $target) (local.get $target-length))
      (i32.store8
        (i32.add (local.get $line)
          (i32.add (i32.add (local.get $method-length) (local.get $target-length)) (i32.const 1)))
        (i32.const 10))
      (local.get $line))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $method i32) (local $method-length i32) (local $target i32) (local $target-length i32)
      (local $line i32) (local $line-length i32) (local $stdout i32)
      ;; The method: a known case names a text of the table, `other` brings its own.
      (call $request-method (local.get $request) (i32.const 0))
      (if (i32.lt_u (i32.load8_u (i32.const 0)) (i32.const 9))
        (then
          (local.set $method (i32.add (i32.const 512)
            (i32.mul (i32.load8_u (i32.const 0)) (i32.const 8))))
          (loop $next
            (local.set $method-length (i32.add (local.get $method-length) (i32.const 1)))
            (br_if $next (i32.ne (i32.const 32)
              (i32.load8_u (i32.add (local.get $method) (local.get $method-length)))))))
        (else
          (local.set $method (i32.load (i32.const 4)))
          (local.set $method-length (i32.load (i32.const 8)))))
      ;; The target: none counts as empty, which is no page.
      (call $request-target (local.get $request) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then
          (local.set $target (i32.load (i32.const 4)))
          (local.set $target-length (i32.load (i32.const 8)))))
      (call $request-drop (local.get $request))
      (local.set $line (call $line (local.get $method) (local.get $method-length)
        (local.get $target) (local.get $target-length)))
      (local.set $line-length
        (i32.add (i32.add (local.get $method-length) (local.get $target-length)) (i32.const 2)))
      (local.set $stdout (call $stdout))
      (call $write (local.get $stdout) (local.get $line) (local.get $line-length))
      (call $stream-drop (local.get $stdout))
      (if (i32.and (i32.eq (local.get $target-length) (i32.const 1))
            (i32.eq (i32.load8_u (local.get $target)) (i32.const 47)))
        (then
          (call $answer (local.get $out) (i32.const 200) (i32.const 608) (i32.const 24)
            (i32.const 1024) (global.get $page-length))
          (return)))
      (if (call $begins (local.get $target) (local.get $target-length)
            (i32.const 736) (i32.const 6))
        (then
          (call $answer (local.get $out) (i32.const 200) (i32.const 640) (i32.const 25)
            (i32.const 688) (i32.const 36))
          (return)))
      (if (call $begins (local.get $target) (local.get $target-length)
            (i32.const 744) (i32.const 5))
        (then
          (call $answer (local.get $out) (i32.const 200) (i32.const 640) (i32.const 25)
            (local.get $line) (local.get $line-length))
          (return)))
      (call $answer (local.get $out) (i32.const 404) (i32.const 640) (i32.const 25)
        (i32.const 752) (i32.const 45)))

    ;; `Hello, NAME!`; the answer is a pointer to a pointer and a length.
    (func (export "greet") (param $name i32) (param $length i32) (result i32)
      (local $text i32)
      (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (local.get $length) (i32.const 8))))
      (memory.copy (local.get $text) (i32.const 672) (i32.const 7))
      (memory.copy (i32.add (local.get $text) (i32.const 7))
        (local.get $name) (local.get $length))
      (i32.store8 (i32.add (local.get $text) (i32.add (local.get $length) (i32.const 7)))
        (i32.const 33))
      (i32.store (i32.const 0) (local.get $text))
      (i32.store (i32.const 4) (i32.add (local.get $length) (i32.const 8)))
      (i32.const 0)))

  (core instance $code (instantiate $code-module
    (with "host" (instance
      (export "memory" (memory $memory))
      (export "realloc" (func $realloc))
      (export "fields-new" (func $fields-new))
      (export "fields-append" (func $fields-append))
      (export "request-method" (func $request-method))
      (export "request-target" (func $request-target))
      (export "request-drop" (func $request-drop))
      (export "response-new" (func $response-new))
      (export "response-status" (func $response-status))
      (export "response-body" (func $response-body))
      (export "body-write" (func $body-write))
      (export "body-finish" (func $body-finish))
      (export "outparam-set" (func $outparam-set))
      (export "stdout" (func $stdout))
      (export "stream-write" (func $stream-write))
      (export "stream-drop" (func $stream-drop))))))

  (func $handle
    (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $code "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))

  (func (export "greet") (param "name" string) (result string)
    (canon lift (core func $code "greet") (memory $memory) (realloc $realloc))))
