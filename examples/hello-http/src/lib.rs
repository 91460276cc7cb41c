//! An HTTP service: plain answers, a streamed echo, a slow answer, the request's own headers. It
//! keeps no state, so any instance may answer.

use std::thread;
use std::time::Duration;

use hypermesh_guest::http::{self, Answer, StatusCode, header};

/// Longest sleep that `/slow` grants: a typing error must not hold a connection for days.
const SLEEP_MS_MAX: u64 = 60_000;

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> http::Response {
    match request.uri().path() {
        "/" => "hello from a component\n".answer(),
        "/echo" => echo(request),
        "/headers" => header_lines(request.headers()).answer(),
        "/slow" => slow(request.uri().query().unwrap_or_default()),
        _ => {
            let text = "there are /, /echo, /headers and /slow?ms=N\n";
            (StatusCode::NOT_FOUND, text).answer()
        }
    }
}

/// Sends the request's body back while it still arrives.
fn echo(mut request: http::Request) -> http::Response {
    let kind = request.headers_mut().remove(header::CONTENT_TYPE);
    let mut response = request.into_body().answer();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// One line for each header of the request, as it came.
fn header_lines(headers: &http::HeaderMap) -> String {
    let line = |(name, value): (_, &http::HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

fn slow(query: &str) -> http::Response {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("ms="));
    match value.map(str::parse) {
        Some(Ok(ms)) if ms <= SLEEP_MS_MAX => {
            thread::sleep(Duration::from_millis(ms));
            format!("slept {ms} ms\n").answer()
        }
        _ => {
            let text = format!("say how long: /slow?ms=N with N from 0 to {SLEEP_MS_MAX}\n");
            (StatusCode::BAD_REQUEST, text).answer()
        }
    }
}

#[cfg(test)]
mod tests {
    use hypermesh_guest::mock;

    use super::*;

    #[test]
    fn a_body_and_its_kind_come_back() {
        let mut request = mock::post("/echo", "ping");
        let kind = http::HeaderValue::from_static("text/x-ping");
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.clone());
        let response = handle(request);
        assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
        assert_eq!(response.into_body().text().unwrap(), "ping");
    }

    #[test]
    fn only_a_bounded_sleep_is_granted() {
        assert_eq!(
            mock::call(handle, mock::get("/slow?ms=1")).1,
            "slept 1 ms\n"
        );
        for query in ["", "?ms=", "?ms=60001", "?ms=-1"] {
            let path = format!("/slow{query}");
            assert_eq!(mock::call(handle, mock::get(&path)).0, 400, "{path}");
        }
    }
}
