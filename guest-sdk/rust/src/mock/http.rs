//! Requests to a handler and answers to what it fetches.

use super::with;
use crate::http::{Answer, Body, FetchError, Request, Response, Uri};

/// A GET of `path`.
///
/// # Panics
/// If `path` is no path.
#[must_use]
pub fn get(path: &str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse::<Uri>().expect("a path, perhaps with a query");
    request
}

/// A POST of `body` to `path`.
///
/// # Panics
/// If `path` is no path.
#[must_use]
pub fn post(path: &str, body: impl Into<Body>) -> Request {
    let mut request = get(path).map(|_| body.into());
    *request.method_mut() = crate::http::Method::POST;
    request
}

/// Status and text of what `handle` answers.
///
/// # Panics
/// If the body breaks off or is not text.
pub fn call<A: Answer>(handle: impl FnOnce(Request) -> A, request: Request) -> (u16, String) {
    let response = handle(request).answer();
    let status = response.status().as_u16();
    let text = response.into_body().text();
    (status, text.expect("a body of text, sent to its end"))
}

/// Answers every [`fetch`](crate::http::fetch()) from now on with `answer`.
pub fn on_fetch<A: Answer>(mut answer: impl FnMut(Request) -> A + 'static) {
    with(|state| state.on_fetch = Some(Box::new(move |request| answer(request).answer())));
}

pub(crate) fn fetch(request: Request) -> Result<Response, FetchError> {
    // Taken out while it runs: it may use the mock itself.
    let Some(mut answer) = with(|state| state.on_fetch.take()) else {
        let problem = "nothing answers: tell the mock what does, with `mock::on_fetch`";
        return Err(FetchError::Host(problem.to_owned()));
    };
    let response = answer(request);
    with(|state| {
        state.on_fetch.get_or_insert(answer);
    });
    Ok(response)
}
