//! Outgoing requests. Which hosts may be asked stands in the manifest, as `http_outgoing`.

use super::{Body, Request, Response};
use crate::host;

/// Why a request was not answered. A response of any status is an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL lacks its scheme or host, or is none.
    #[error("`{url}` is not an absolute http or https URL: {problem}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The manifest does not grant the host.
    #[error("the request is denied; grant the host with `http_outgoing` in the manifest")]
    Denied,
    /// The other side answered too late.
    #[error("no answer in time")]
    TimedOut,
    /// Everything else, in the host's words: the name is unknown, the connection was refused, the
    /// certificate is wrong.
    #[error("{0}")]
    Host(String),
}

/// Sends `request` and waits until status and headers of the answer are there; the body follows
/// while it is read.
///
/// ```
/// use hypermesh_guest::{http, mock};
///
/// mock::reset();
/// mock::on_fetch(|request| format!("you sent {}", request.into_body().text().unwrap()));
/// let request = http::request().method("POST").uri("https://api.example.com/orders");
/// let request = request.body("3 pears".into()).unwrap();
/// let response = http::fetch(request)?;
/// assert_eq!(response.into_body().text().unwrap(), "you sent 3 pears");
/// # Ok::<(), http::FetchError>(())
/// ```
///
/// # Errors
/// [`FetchError`].
pub fn fetch(request: Request) -> Result<Response, FetchError> {
    let uri = request.uri();
    if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(FetchError::Url {
            url: uri.to_string(),
            problem: "scheme or host is missing".to_owned(),
        });
    }
    host::http::fetch(request)
}

/// [`fetch`] with a GET of `url` and nothing else.
///
/// # Errors
/// [`FetchError`].
pub fn get(url: &str) -> Result<Response, FetchError> {
    let request = super::request().uri(url).body(Body::empty());
    fetch(request.map_err(|error| FetchError::Url {
        url: url.to_owned(),
        problem: error.to_string(),
    })?)
}
