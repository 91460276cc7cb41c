//! Sends one outgoing request over HTTP/1.1, with TLS for https. Knows nothing of who may.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::http::Sent;
use super::http_error::named;
use crate::bounds::{CONNECT_TIME_MAX, RESPONSE_TIME_MAX};

/// Where a request goes. IPv6 hosts have their brackets.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) https: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Trusts the roots that browsers trust. The provider is named: whatever else is linked into the
/// binary, this is the one that is used.
pub(crate) fn tls_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Connects, sends, and returns once the response's head is there. `permit` is held until the
/// connection is closed.
pub(super) async fn send(
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
    destination: Destination,
    tls: Arc<ClientConfig>,
    permit: OwnedSemaphorePermit,
) -> Result<Sent, Error> {
    let within = |asked: Option<Duration>, max: Duration| asked.map_or(max, |asked| asked.min(max));
    let options = options.unwrap_or_default();
    let connect_time = within(options.connect_timeout, CONNECT_TIME_MAX);
    let first_byte_time = within(options.first_byte_timeout, RESPONSE_TIME_MAX);
    let between_bytes_time = within(options.between_bytes_timeout, RESPONSE_TIME_MAX);

    let stream = timeout(connect_time, connect(&destination, tls))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = spawn(async move {
        let _permit = permit;
        connection.await
    });
    *request.uri_mut() = origin_form(request.uri());
    let response = timeout(first_byte_time, sender.send_request(request))
        .await
        .map_err(|_| Error::ConnectionReadTimeout)??;
    let response: Response<WasiBody> = response.map(|body| {
        TimedBody {
            body,
            timer: Box::pin(sleep(between_bytes_time)),
            is_waiting: false,
            limit: between_bytes_time,
        }
        .boxed_unsync()
    });
    Ok((
        response,
        Box::new(async move { driver.await.map_err(Error::from) }),
    ))
}

/// A server is addressed by path; scheme and authority are for proxies.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    path.parse().unwrap_or_default()
}

async fn connect(
    destination: &Destination,
    tls: Arc<ClientConfig>,
) -> Result<Box<dyn Duplex>, Error> {
    let host = destination
        .host
        .trim_start_matches('[')
        .trim_end_matches(']');
    let unresolved = || Error::DnsError {
        rcode: None,
        info_code: None,
    };
    let mut addresses = lookup_host((host, destination.port))
        .await
        .map_err(|_| unresolved())?
        .peekable();
    addresses.peek().ok_or_else(unresolved)?;
    let mut refused = Error::DestinationUnavailable;
    let mut connected = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => refused = connect_error(&error),
        }
    }
    let stream = connected.ok_or(refused)?;
    if !destination.https {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    stream
        .map(|stream| Box::new(stream) as Box<dyn Duplex>)
        .map_err(|error| tls_error(&error))
}

fn connect_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            Error::DestinationIpUnroutable
        }
        _ => Error::DestinationUnavailable,
    }
}

fn tls_error(error: &io::Error) -> Error {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// A response body that fails when the next chunk takes too long. Only the server's time counts: a
/// reader may take as long as it likes between two chunks.
struct TimedBody {
    body: Incoming,
    timer: Pin<Box<Sleep>>,
    /// The timer runs for the chunk that is waited for.
    is_waiting: bool,
    limit: Duration,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| named(&error))));
        }
        if !self.is_waiting {
            self.is_waiting = true;
            let limit = self.limit;
            self.timer.as_mut().reset(Instant::now() + limit);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
