//! `wasi:http`: requests that arrive and requests that go out.

use std::io::{self, Read};

use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use wasip2::http::outgoing_handler;
use wasip2::http::types as wasi;
use wasip2::io::streams::InputStream;

use crate::http::{Answer, Body, FetchError, Request, Response, StatusCode};

/// Answers one request with `handle`.
pub fn serve<A: Answer>(
    handle: impl FnOnce(Request) -> A,
    request: wasi::IncomingRequest,
    response: wasi::ResponseOutparam,
) {
    let answer = match arrived(&request) {
        Ok(request) => handle(request).answer(),
        Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem}\n")).answer(),
    };
    send(answer, response);
}

fn arrived(request: &wasi::IncomingRequest) -> Result<Request, String> {
    let method = method_in(request.method())?;
    let mut uri =
        Uri::builder().path_and_query(request.path_with_query().unwrap_or_else(|| "/".to_owned()));
    if let Some(authority) = request.authority() {
        let scheme = match request.scheme() {
            Some(wasi::Scheme::Https) => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        uri = uri.scheme(scheme).authority(authority);
    }
    let body = request.consume();
    let body = body.map_err(|()| "the request has no body to read".to_owned())?;
    let mut arrived = Request::new(incoming(body)?);
    *arrived.method_mut() = method;
    *arrived.uri_mut() = uri.build().map_err(|error| error.to_string())?;
    *arrived.headers_mut() = headers_in(&request.headers());
    Ok(arrived)
}

/// Sends status and headers, then the body while it is made.
fn send(response: Response, out: wasi::ResponseOutparam) {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.length() {
        parts
            .headers
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    let outgoing = wasi::OutgoingResponse::new(headers_out(&parts.headers));
    // `http` holds valid statuses only, and the body of a new response is taken once.
    let _ = outgoing.set_status_code(parts.status.as_u16());
    let Ok(stream) = outgoing.body() else { return };
    wasi::ResponseOutparam::set(out, Ok(outgoing));
    // Not finished, the body counts as broken off: the client learns that it is not whole.
    if let Err(error) = fill(body, stream) {
        eprintln!("error: the response broke off: {error}");
    }
}

/// Writes `body` and finishes it.
fn fill(body: Body, outgoing: wasi::OutgoingBody) -> Result<(), String> {
    if body.length() != Some(0) {
        let stream = outgoing.write();
        let mut stream = stream.map_err(|()| "the host gave no stream to write to".to_owned())?;
        body.send(&mut stream).map_err(|error| error.to_string())?;
    }
    wasi::OutgoingBody::finish(outgoing, None).map_err(|error| error.to_string())
}

pub(crate) fn fetch(request: Request) -> Result<Response, FetchError> {
    let (parts, body) = request.into_parts();
    let outgoing = wasi::OutgoingRequest::new(headers_out(&parts.headers));
    let scheme = match parts.uri.scheme_str() {
        Some("http") => wasi::Scheme::Http,
        _ => wasi::Scheme::Https,
    };
    let path = parts.uri.path_and_query().map(PathAndQuery::as_str);
    outgoing
        .set_method(&method_out(&parts.method))
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(parts.uri.authority().map(Authority::as_str)))
        .and_then(|()| outgoing.set_path_with_query(path))
        .map_err(|()| FetchError::Url {
            url: parts.uri.to_string(),
            problem: "the host does not take it".to_owned(),
        })?;
    let stream = outgoing.body();
    let stream = stream.map_err(|()| FetchError::Host("the request has no body".to_owned()))?;
    let pending = outgoing_handler::handle(outgoing, None).map_err(fetch_error)?;
    // A server may answer before it has read all: what it said counts more than what was unread.
    let sent = fill(body, stream);
    pending.subscribe().block();
    let response = match pending.get() {
        Some(Ok(response)) => response.map_err(fetch_error)?,
        _ => return Err(FetchError::Host("the host lost the answer".to_owned())),
    };
    sent.map_err(FetchError::Host)?;
    let status = StatusCode::from_u16(response.status());
    let body = response.consume();
    let body = body.map_err(|()| FetchError::Host("the answer has no body".to_owned()))?;
    let mut arrived = Response::new(incoming(body).map_err(FetchError::Host)?);
    *arrived.status_mut() = status.map_err(|error| FetchError::Host(error.to_string()))?;
    *arrived.headers_mut() = headers_in(&response.headers());
    Ok(arrived)
}

fn fetch_error(error: wasi::ErrorCode) -> FetchError {
    use wasi::ErrorCode;
    match error {
        ErrorCode::HttpRequestDenied => FetchError::Denied,
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout
        | ErrorCode::DnsTimeout => FetchError::TimedOut,
        error => FetchError::Host(error.to_string()),
    }
}

/// A body that arrives. The stream is a child of the body: it is dropped first.
struct Incoming {
    stream: InputStream,
    _body: wasi::IncomingBody,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.stream, buffer)
    }
}

fn incoming(body: wasi::IncomingBody) -> Result<Body, String> {
    let stream = body.stream();
    let stream = stream.map_err(|()| "the body was read already".to_owned())?;
    Ok(Body::from_reader(Incoming {
        stream,
        _body: body,
    }))
}

fn headers_in(fields: &wasi::Fields) -> HeaderMap {
    let entries = fields.entries().into_iter();
    let entry = |(name, value): (String, Vec<u8>)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(&value).ok()?))
    };
    // The host parsed them before: none is lost here.
    entries.filter_map(entry).collect()
}

fn headers_out(headers: &HeaderMap) -> wasi::Fields {
    let fields = wasi::Fields::new();
    for (name, value) in headers {
        // Refused are those that the host sets itself, such as `connection`.
        let _ = fields.append(name.as_str(), value.as_bytes());
    }
    fields
}

fn method_in(method: wasi::Method) -> Result<Method, String> {
    Ok(match method {
        wasi::Method::Get => Method::GET,
        wasi::Method::Head => Method::HEAD,
        wasi::Method::Post => Method::POST,
        wasi::Method::Put => Method::PUT,
        wasi::Method::Delete => Method::DELETE,
        wasi::Method::Connect => Method::CONNECT,
        wasi::Method::Options => Method::OPTIONS,
        wasi::Method::Trace => Method::TRACE,
        wasi::Method::Patch => Method::PATCH,
        wasi::Method::Other(name) => {
            Method::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?
        }
    })
}

fn method_out(method: &Method) -> wasi::Method {
    match *method {
        Method::GET => wasi::Method::Get,
        Method::HEAD => wasi::Method::Head,
        Method::POST => wasi::Method::Post,
        Method::PUT => wasi::Method::Put,
        Method::DELETE => wasi::Method::Delete,
        Method::CONNECT => wasi::Method::Connect,
        Method::OPTIONS => wasi::Method::Options,
        Method::TRACE => wasi::Method::Trace,
        Method::PATCH => wasi::Method::Patch,
        _ => wasi::Method::Other(method.as_str().to_owned()),
    }
}
