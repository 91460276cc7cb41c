//! Requests to components over sessions: one stream is one request of HTTP/1.1 and its answer. Who may
//! be asked, and whether again, is decided elsewhere.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use orchestrator::Target;
use stoq::{InboundStream, OpenError, OpenOptions, Service};
use tokio_util::sync::CancellationToken;
use types::{Name, NodeId};

use crate::ingress;
use crate::peers::Peers;
use crate::peers::authority::is_member;
use crate::shared::Shared;

/// Version of the invoke service that carries requests.
pub(super) const VERSION: u16 = 2;

/// How long a peer may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Which workload a request is for, between nodes only.
const WORKLOAD: HeaderName = HeaderName::from_static("hypermesh-workload");
/// Which of its components.
const COMPONENT: HeaderName = HeaderName::from_static("hypermesh-component");
/// What the client's connection was.
const SCHEME: HeaderName = HeaderName::from_static("hypermesh-scheme");
/// Of an answer: that no replica was asked.
const UNSERVED: HeaderName = HeaderName::from_static("hypermesh-unserved");

/// What is between two ends of one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarryError {
    /// It cannot be reached at the moment.
    #[error("there is no session with it")]
    NoSession,
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stream broke, or what came is no HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// Its time is over.
    #[error("there was no response within {0:?}")]
    Late(Duration),
}

/// The node has no replica that takes the request.
pub(crate) struct NoReplica;

/// Why a request was not answered, and the request if nothing of it was sent.
pub(crate) type Uncarried<B> = (CarryError, Option<Box<Request<B>>>);

impl Peers {
    /// Has a member answer a request for one of its replicas. Dropping the future, or the body of the
    /// answer, has it stop.
    ///
    /// # Errors
    /// [`CarryError`], with the request if it can be made elsewhere.
    pub(crate) async fn carry<B>(
        &self,
        member: &NodeId,
        target: &Target,
        request: Request<B>,
        within: Duration,
    ) -> Result<Result<Response<Incoming>, NoReplica>, Uncarried<B>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let session = self.endpoint.session(member);
        let Some(session) = session else {
            return Err((CarryError::NoSession, Some(Box::new(request))));
        };
        let options = OpenOptions {
            version: VERSION,
            deadline: Some(within),
            ..OpenOptions::default()
        };
        let (send, recv) = match session.open(Service::Invoke, options).await {
            Ok(stream) => stream,
            Err(error) => return Err((error.into(), Some(Box::new(request)))),
        };
        let io = TokioIo::new(tokio::io::join(recv, send));
        let (mut sender, connection) = match client::handshake(io).await {
            Ok(connected) => connected,
            Err(error) => return Err((error.into(), Some(Box::new(request)))),
        };
        // Ends with the body of the answer, or with this future.
        tokio::spawn(connection);
        let addressed = addressed(request, target);
        let answered = tokio::time::timeout(within, sender.try_send_request(addressed)).await;
        match answered {
            Err(_) => Err((CarryError::Late(within), None)),
            Ok(Err(mut error)) => {
                let unsent = error.take_message().map(Box::new);
                Err((error.into_error().into(), unsent))
            }
            Ok(Ok(response)) if response.headers().contains_key(UNSERVED) => Ok(Err(NoReplica)),
            Ok(Ok(mut response)) => {
                strip(response.headers_mut());
                Ok(Ok(response))
            }
        }
    }
}

/// Answers one request of a member.
pub(super) async fn serve_one(shared: Arc<Shared>, stream: InboundStream, stop: CancellationToken) {
    let peer = stream.session.peer();
    if !is_member(&peer) {
        return;
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let io = TokioIo::new(tokio::io::join(stream.recv, stream.send));
    let connection = server::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .serve_connection(io, service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(peer = %peer.id.short(), "a request of a peer broke: {error}");
        },
        () = stop.cancelled() => {}
    }
}

/// Only replicas of this node are asked, so that no request goes in circles.
async fn answer(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Response<ingress::Body> {
    let target = target(request.headers());
    let replica = target.and_then(
        |Target {
             workload,
             component,
         }| { shared.replicas.least_loaded(&workload, &component) },
    );
    let Some(replica) = replica else {
        let mut response = ingress::not_running();
        let flag = HeaderValue::from_static("1");
        response.headers_mut().insert(UNSERVED, flag);
        return response;
    };
    let https = request
        .headers()
        .get(SCHEME)
        .is_some_and(|it| it == "https");
    if https {
        request.extensions_mut().insert(Scheme::HTTPS);
    }
    let headers = request.headers_mut();
    for name in [WORKLOAD, COMPONENT, SCHEME] {
        headers.remove(name);
    }
    strip(headers);
    ingress::answer(&replica, request).await
}

fn target(headers: &HeaderMap) -> Option<Target> {
    let name = |header: HeaderName| {
        let text = headers.get(header)?.to_str().ok()?;
        Name::new(text).ok()
    };
    Some(Target {
        workload: name(WORKLOAD)?,
        component: name(COMPONENT)?,
    })
}

/// The request as it goes to another node.
fn addressed<B>(mut request: Request<B>, target: &Target) -> Request<B> {
    // A request of HTTP/2 has its host in the target.
    let authority = request.uri().authority().cloned();
    let origin = request.uri().path_and_query().cloned();
    let origin = origin.map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.uri_mut() = origin;
    *request.version_mut() = http::Version::HTTP_11;
    let https = request.extensions().get::<Scheme>() == Some(&Scheme::HTTPS);
    let headers = request.headers_mut();
    strip(headers);
    let value = |text: &str| HeaderValue::from_str(text).ok();
    if let Some(host) = authority.and_then(|authority| value(authority.as_str())) {
        headers.insert(HOST, host);
    }
    let names = [(WORKLOAD, &target.workload), (COMPONENT, &target.component)];
    for (header, name) in names {
        if let Some(name) = value(name.as_str()) {
            headers.insert(header, name);
        }
    }
    headers.remove(SCHEME);
    if https {
        headers.insert(SCHEME, HeaderValue::from_static("https"));
    }
    request
}

/// Takes away what is between the two ends of one connection only.
fn strip(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Target {
        Target {
            workload: Name::new("shop").unwrap(),
            component: Name::new("web").unwrap(),
        }
    }

    #[test]
    fn a_request_is_addressed_and_nothing_of_its_connection_goes_on() {
        let request = Request::builder()
            .uri("https://a.example:8443/x?y=1")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("te", "trailers")
            .header("hypermesh-workload", "another")
            .header("hypermesh-scheme", "https")
            .header("x-kept", "1");
        let addressed = addressed(request.body(()).unwrap(), &web());
        assert_eq!(addressed.uri(), "/x?y=1");
        let shown: Vec<String> = addressed
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let mut shown = shown;
        shown.sort();
        assert_eq!(
            shown,
            [
                "host: a.example:8443",
                "hypermesh-component: web",
                "hypermesh-workload: shop",
                "x-kept: 1"
            ]
        );
        assert_eq!(target(addressed.headers()), Some(web()));
    }

    #[test]
    fn what_names_no_component_is_not_served() {
        let mut headers = HeaderMap::new();
        assert_eq!(target(&headers), None);
        headers.insert(WORKLOAD, HeaderValue::from_static("Not A Name"));
        headers.insert(COMPONENT, HeaderValue::from_static("web"));
        assert_eq!(target(&headers), None);
    }
}
