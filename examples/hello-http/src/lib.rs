//! An HTTP service: plain answers, a streamed echo, a slow answer, the request's own headers.
//!
//! It exports `wasi:http/incoming-handler` and keeps no state, so any instance may answer.

use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    StatusCode,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// Longest sleep that `/slow` grants: a typing error must not hold a connection for days.
const SLEEP_MS_MAX: u64 = 60_000;

/// Bytes that one step of the echo moves; more arrive in further steps.
const ECHO_STEP_BYTES: u64 = 64 * 1024;

/// Bytes that one write call takes, by the contract of `blocking-write-and-flush`.
const WRITE_BYTES_MAX: usize = 4096;

wasip2::http::proxy::export!(HelloHttp);

struct HelloHttp;

impl Guest for HelloHttp {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/" => answer(response, 200, "hello from a component\n"),
            "/echo" => echo(&request, response),
            "/headers" => answer(response, 200, &header_lines(&request)),
            "/slow" => match sleep_ms(query) {
                Ok(ms) => {
                    monotonic_clock::subscribe_duration(ms * 1_000_000).block();
                    answer(response, 200, &format!("slept {ms} ms\n"));
                }
                Err(problem) => answer(response, 400, &problem),
            },
            _ => answer(
                response,
                404,
                "there are /, /echo, /headers and /slow?ms=N\n",
            ),
        }
    }
}

/// Sends the request's body back while it still arrives.
fn echo(request: &IncomingRequest, response: ResponseOutparam) {
    let Ok(incoming) = request.consume() else {
        return answer(response, 500, "the request has no body to read\n");
    };
    let kind = request.headers().get("content-type").into_iter().next();
    let kind = kind.unwrap_or_else(|| b"application/octet-stream".to_vec());
    let outgoing = begin(response, 200, &[("content-type", &kind)]);
    if let (Ok(input), Ok(output)) = (incoming.stream(), outgoing.write()) {
        // A reader that went away ends the copy; there is nobody left to tell.
        if copy(&input, &output).is_err() {
            return;
        }
    }
    drop(IncomingBody::finish(incoming));
    let _ = OutgoingBody::finish(outgoing, None);
}

/// Moves everything from `input` to `output`, waiting for either.
fn copy(input: &InputStream, output: &OutputStream) -> Result<(), StreamError> {
    loop {
        match output.blocking_splice(input, ECHO_STEP_BYTES) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(error) => return Err(error),
        }
    }
    output.blocking_flush()
}

/// One line for each header of the request, as it came.
fn header_lines(request: &IncomingRequest) -> String {
    let mut text = String::new();
    for (name, value) in request.headers().entries() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
    }
    text
}

/// The `ms` parameter of a query.
fn sleep_ms(query: &str) -> Result<u64, String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("ms="));
    match value.map(str::parse) {
        Some(Ok(ms)) if ms <= SLEEP_MS_MAX => Ok(ms),
        _ => Err(format!(
            "say how long: /slow?ms=N with N from 0 to {SLEEP_MS_MAX}\n"
        )),
    }
}

fn answer(response: ResponseOutparam, status: StatusCode, text: &str) {
    let length = text.len().to_string();
    let headers: [(&str, &[u8]); 2] = [
        ("content-type", b"text/plain; charset=utf-8"),
        ("content-length", length.as_bytes()),
    ];
    let body = begin(response, status, &headers);
    if let Ok(output) = body.write() {
        for part in text.as_bytes().chunks(WRITE_BYTES_MAX) {
            if output.blocking_write_and_flush(part).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

/// Sends status and headers; the body follows through what this returns.
fn begin(
    response: ResponseOutparam,
    status: StatusCode,
    headers: &[(&str, &[u8])],
) -> OutgoingBody {
    let fields = Fields::new();
    for (name, value) in headers {
        // Refused only if a client's content type has forbidden bytes; then it goes without one.
        let _ = fields.append(name, value);
    }
    let outgoing = OutgoingResponse::new(fields);
    outgoing
        .set_status_code(status)
        .expect("each status above is a valid one");
    let body = outgoing
        .body()
        .expect("the body of a new response is taken once");
    ResponseOutparam::set(response, Ok(outgoing));
    body
}
