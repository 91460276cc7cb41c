//! HTTP for workloads: finds the component by host and path, hands the request over, streams back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use orchestrator::Target;
use runtime::{Breach, CallError, Replica, ResponseBody};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::head_timer::HeadTimer;
use crate::ingress_tls::ACME_TLS_ALPN;
use crate::mesh::{ForwardError, Forwarded, forward};
use crate::peers::CarryError;
use crate::shared::Shared;

/// Connections open at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Requests of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 256;
/// Largest request head.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Pause after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// When to come back, where no limit says it better.
const RETRY_AFTER_S: u64 = 1;

/// A guest's body, here or on another node, or a text of the node's own.
pub(crate) type Body = Either<ResponseBody, Either<Forwarded, Full<Bytes>>>;

/// Who answers a request.
enum Answering {
    /// A replica of this node.
    Here(Replica),
    /// One of another node.
    Elsewhere(Target),
}

/// Serves until `stop`, then lets requests in flight end. Dropping the future ends them.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => match &tls {
                None => connection(&shared, None, graceful.watcher(), stream, place),
                Some(tls) => {
                    let (shared, watcher) = (Arc::clone(&shared), graceful.watcher());
                    let handshake = tls.accept(stream);
                    tokio::spawn(async move {
                        match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
                            // The handshake was all that an authority wanted (RFC 8737, section 3).
                            Ok(Ok(stream)) if validates(&stream) => {}
                            Ok(Ok(stream)) => {
                                connection(&shared, Some(Scheme::HTTPS), watcher, stream, place);
                            }
                            Ok(Err(error)) => tracing::debug!("no TLS with a client: {error}"),
                            Err(_) => tracing::debug!("a client did not finish its handshake"),
                        }
                    });
                }
            },
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Whether a handshake validated a name and is no client's.
fn validates(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ACME_TLS_ALPN)
}

fn connection(
    shared: &Arc<Shared>,
    scheme: Option<Scheme>,
    watcher: Watcher,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: OwnedSemaphorePermit,
) {
    let shared = Arc::clone(shared);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(scheme) = &scheme {
            request.extensions_mut().insert(scheme.clone());
        }
        // Found here: the answer holds no pointer to what all requests share.
        let found = find(&shared, &request);
        let asks = match &found {
            Ok(Answering::Elsewhere(_)) => Some(Arc::clone(&shared)),
            _ => None,
        };
        async move {
            Ok::<_, Infallible>(match (found, asks) {
                (Ok(Answering::Here(replica)), _) => answer(&replica, request).await,
                (Ok(Answering::Elsewhere(target)), Some(shared)) => {
                    ask(&shared, &target, request).await
                }
                (Ok(Answering::Elsewhere(_)), None) => not_running(),
                (Err(refusal), _) => own(*refusal),
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(HeadTimer::default())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let connection = watcher.watch(connection);
    tokio::spawn(async move {
        // A client that breaks the protocol or goes away ends its own connection only.
        if let Err(error) = connection.await {
            tracing::debug!("connection ended: {error}");
        }
        drop(place);
    });
}

/// Who answers `request`, or what its client is told if nobody does.
fn find<B>(shared: &Shared, request: &Request<B>) -> Result<Answering, Box<Response<Full<Bytes>>>> {
    let (host, path) = (host(request), request.uri().path());
    if let Some(text) = challenge_text(shared, request) {
        return Err(Box::new(plain(StatusCode::OK, text, None)));
    }
    let state = shared.state();
    let Some(target) = state.routes.find(host, path) else {
        let text = format!("no workload has a route for {host}{path}\n");
        return Err(Box::new(plain(StatusCode::NOT_FOUND, text, None)));
    };
    let replicas = &shared.replicas;
    let replica = replicas.least_loaded(&target.workload, &target.component);
    let elsewhere = || Answering::Elsewhere(target.clone());
    Ok(replica.map_or_else(elsewhere, Answering::Here))
}

/// Has a replica of another node answer.
async fn ask(shared: &Arc<Shared>, target: &Target, request: Request<Incoming>) -> Response<Body> {
    let refusal = match forward(shared, target, request).await {
        Ok(response) => return response.map(|body| Either::Right(Either::Left(body))),
        Err(error) => error,
    };
    let Target {
        workload,
        component,
    } = target;
    let text = match &refusal {
        ForwardError::NotPlaced | ForwardError::NotRunning => {
            format!("{workload}/{component} does not run\n")
        }
        ForwardError::State(_) => "the ledger's state is not understood\n".to_owned(),
        refusal => {
            tracing::debug!("{workload}/{component} was not asked: {refusal}");
            format!("{workload}/{component} cannot be reached now\n")
        }
    };
    let late = matches!(
        &refusal,
        ForwardError::Carry {
            error: CarryError::Late(_),
            ..
        }
    );
    own(match late {
        true => plain(StatusCode::GATEWAY_TIMEOUT, text, None),
        false => plain(StatusCode::SERVICE_UNAVAILABLE, text, Some(RETRY_AFTER_S)),
    })
}

/// What is said where no replica takes a request.
pub(crate) fn not_running() -> Response<Body> {
    let text = "it does not run\n".to_owned();
    own(plain(
        StatusCode::SERVICE_UNAVAILABLE,
        text,
        Some(RETRY_AFTER_S),
    ))
}

fn own(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(|body| Either::Right(Either::Right(body)))
}

/// What a certificate authority asks for over plain HTTP, while it is asked to.
fn challenge_text<B>(shared: &Shared, request: &Request<B>) -> Option<String> {
    let shown = shared.shown.as_ref()?;
    let plain = request.extensions().get::<Scheme>().is_none();
    let asked = plain && request.method() == Method::GET;
    asked.then(|| shown.challenges().text(request.uri().path()))?
}

pub(crate) async fn answer(replica: &Replica, request: Request<Incoming>) -> Response<Body> {
    match replica.handle(request).await {
        Ok(response) => response.map(Either::Left),
        Err(error) => own(refuse(&error)),
    }
}

/// The host that a request is for, without port: from the target (HTTP/2) or the `Host` field.
fn host<B>(request: &Request<B>) -> &str {
    let field = || {
        request
            .headers()
            .get(HOST)
            .and_then(|value| value.to_str().ok())
    };
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let authority = authority.or_else(field).unwrap_or_default();
    let end = if authority.starts_with('[') {
        authority.find(']').map_or(authority.len(), |at| at + 1)
    } else {
        authority.rfind(':').unwrap_or(authority.len())
    };
    authority.get(..end).unwrap_or_default()
}

/// What a client is told: its own mistakes, and that the component failed; not how.
fn refuse(error: &CallError) -> Response<Full<Bytes>> {
    match error {
        CallError::QueueFull { retry_after, .. } | CallError::QueueTimeout { retry_after, .. } => {
            let seconds = retry_after.as_secs().max(RETRY_AFTER_S);
            plain(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{error}\n"),
                Some(seconds),
            )
        }
        CallError::Paused {
            waited,
            retry_after,
        } => {
            let seconds = retry_after.as_secs().max(RETRY_AFTER_S);
            let text = format!("the workload is paused: waited {waited} for it to be resumed\n");
            plain(StatusCode::SERVICE_UNAVAILABLE, text, Some(seconds))
        }
        CallError::Stopped => {
            let text = "the workload is stopping\n".to_owned();
            plain(StatusCode::SERVICE_UNAVAILABLE, text, Some(RETRY_AFTER_S))
        }
        CallError::BadRequest { reason } => {
            plain(StatusCode::BAD_REQUEST, format!("{reason}\n"), None)
        }
        CallError::Breach(Breach::WallTime { .. }) => plain(
            StatusCode::GATEWAY_TIMEOUT,
            "the component took too long\n".to_owned(),
            None,
        ),
        _ => plain(
            StatusCode::BAD_GATEWAY,
            "the component failed\n".to_owned(),
            None,
        ),
    }
}

fn plain(status: StatusCode, text: String, retry_after_s: Option<u64>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if let Some(seconds) = retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_comes_without_its_port() {
        let of = |uri: &str, field: Option<&str>| {
            let mut request = Request::builder().uri(uri);
            if let Some(field) = field {
                request = request.header(HOST, field);
            }
            host(&request.body(()).unwrap()).to_owned()
        };
        assert_eq!(of("/", Some("a.example:8080")), "a.example");
        assert_eq!(of("/", Some("a.example")), "a.example");
        assert_eq!(of("/", Some("[::1]:8080")), "[::1]");
        assert_eq!(of("http://b.example:1/", Some("a.example")), "b.example");
        assert_eq!(of("/", None), "");
    }
}
