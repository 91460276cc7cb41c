//! HTTP, by `wasi:http`: serving, fetching, bodies. The types are those of the crate `http`.

mod answer;
mod body;
mod fetch;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

pub use answer::Answer;
pub use body::Body;
pub use fetch::{FetchError, fetch, get};

/// A request, arriving or to be sent.
pub type Request = ::http::Request<Body>;

/// A response, to be sent or arriving.
pub type Response = ::http::Response<Body>;

/// Begins a request: `http::request().method("PUT").uri(url).body("text".into())`.
#[must_use]
pub fn request() -> ::http::request::Builder {
    ::http::request::Builder::new()
}

/// Begins a response: `http::response().status(404).body("not here".into())`.
#[must_use]
pub fn response() -> ::http::response::Builder {
    ::http::response::Builder::new()
}
