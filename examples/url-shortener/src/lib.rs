//! Short names for long URLs. Names and URLs are in a key-value bucket.

use hypermesh_guest::http::{self, Answer, HeaderValue, Method, StatusCode, header};
use hypermesh_guest::keyvalue::{Bucket, Error};

/// Longest URL that is stored: what browsers accept, roughly.
const URL_BYTES_MAX: usize = 2048;
/// The number of the last short name. Short names are digits, so no name meets it.
const LAST: &str = "last";

hypermesh_guest::http_service!(handle);

/// POST of a URL answers with its short path; GET of that path leads to the URL.
fn handle(request: http::Request) -> Result<http::Response, Error> {
    let urls = Bucket::open("default")?;
    match *request.method() {
        Method::POST => shorten(&urls, request.into_body()),
        Method::GET => lead(&urls, request.uri().path()),
        _ => Ok(StatusCode::METHOD_NOT_ALLOWED.answer()),
    }
}

fn shorten(urls: &Bucket, body: http::Body) -> Result<http::Response, Error> {
    let url = read(body).filter(|url| is_url(url));
    let Some(url) = url else {
        let text = format!("send an http or https URL of at most {URL_BYTES_MAX} bytes\n");
        return Ok((StatusCode::BAD_REQUEST, text).answer());
    };
    // Counting is atomic: two requests at once never get the same name.
    let name = urls.increment(LAST, 1)?.to_string();
    urls.set(&name, url)?;
    Ok((StatusCode::CREATED, format!("/{name}\n")).answer())
}

fn lead(urls: &Bucket, path: &str) -> Result<http::Response, Error> {
    let name = path.trim_start_matches('/');
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let url = if is_name { urls.get(name)? } else { None };
    let Some(target) = url.and_then(|url| HeaderValue::from_bytes(&url).ok()) else {
        return Ok((StatusCode::NOT_FOUND, "there is no such name\n").answer());
    };
    let mut response = StatusCode::FOUND.answer();
    response.headers_mut().insert(header::LOCATION, target);
    Ok(response)
}

/// The body as text, if it is not longer than a URL may be.
fn read(body: http::Body) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let limit = URL_BYTES_MAX as u64 + 1;
    body.take(limit).read_to_string(&mut text).ok()?;
    (text.len() <= URL_BYTES_MAX).then(|| text.trim().to_owned())
}

fn is_url(text: &str) -> bool {
    let uri = text.parse::<http::Uri>().ok();
    uri.is_some_and(|uri| {
        uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    #[test]
    fn a_short_name_leads_to_its_url() {
        let post = mock::post("/", "https://example.com/a?b=c");
        assert_eq!(mock::call(handle, post), (201, "/1\n".to_owned()));
        let response = handle(mock::get("/1")).answer();
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(response.headers()["location"], "https://example.com/a?b=c");
    }

    #[test]
    fn names_that_nobody_made_lead_nowhere() {
        mock::call(handle, mock::post("/", "https://example.com"));
        for path in ["/2", "/", "/last", "/a"] {
            assert_eq!(mock::call(handle, mock::get(path)).0, 404, "{path}");
        }
    }

    #[test]
    fn only_urls_are_stored() {
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        for text in ["", "example.com", "javascript:alert(1)", &long] {
            assert_eq!(mock::call(handle, mock::post("/", text)).0, 400, "{text}");
        }
    }
}
