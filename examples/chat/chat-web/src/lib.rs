//! The web side of a chat: POST publishes a line, GET shows the lines that the keeper kept.

use std::fmt::Display;
use std::io::Read as _;

use hypermesh_guest::http::{self, Answer, Method, StatusCode};
use hypermesh_guest::{keyvalue, messaging};

/// Longest line in bytes: enough for a thought, and a reader's screen stays readable.
const LINE_BYTES_MAX: u64 = 1000;

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> http::Response {
    match *request.method() {
        Method::GET => shown().answer(),
        Method::POST => said(request.into_body()),
        _ => StatusCode::METHOD_NOT_ALLOWED.answer(),
    }
}

fn shown() -> Result<String, keyvalue::Error> {
    let kept = keyvalue::Bucket::open("default")?.get_text("lines")?;
    Ok(kept.unwrap_or_default())
}

fn said(body: http::Body) -> http::Response {
    let mut line = String::new();
    let read = body.take(LINE_BYTES_MAX + 1).read_to_string(&mut line);
    let line = line.trim();
    if read.is_err() || line.is_empty() || line.contains('\n') || line.len() as u64 > LINE_BYTES_MAX
    {
        let text = format!("say one line of at most {LINE_BYTES_MAX} bytes\n");
        return (StatusCode::BAD_REQUEST, text).answer();
    }
    match messaging::publish("chat", line) {
        // It is queued; it is shown as soon as the keeper has it.
        Ok(()) => StatusCode::ACCEPTED.answer(),
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &dyn Display) -> http::Response {
    let text = format!("the line was not taken: {error}\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).answer()
}

#[cfg(test)]
mod tests {
    use hypermesh_guest::mock;

    use super::*;

    #[test]
    fn a_line_is_published() {
        assert_eq!(mock::call(handle, mock::post("/", " hello\n")).0, 202);
        let published = mock::published();
        assert_eq!(published.len(), 1);
        assert_eq!(published[0].topic, "chat");
        assert_eq!(published[0].text(), "hello");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let long = "a".repeat(1001);
        for text in ["", "two\nlines", &long] {
            assert_eq!(mock::call(handle, mock::post("/", text)).0, 400, "{text}");
        }
        assert_eq!(mock::published(), []);
    }

    #[test]
    fn what_was_kept_is_shown() {
        let bucket = keyvalue::Bucket::open("default").unwrap();
        bucket.set("lines", "one\ntwo\n").unwrap();
        assert_eq!(
            mock::call(handle, mock::get("/")),
            (200, "one\ntwo\n".to_owned())
        );
    }
}
