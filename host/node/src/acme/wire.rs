//! HTTPS to a certificate authority: one connection per request, with a bound on time and on bytes.
//! Never knows what is asked.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::acme::AcmeConfig;
use crate::acme::config::is_https;

/// How long one request may take, from looking the name up to the last byte.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// Largest answer: a chain of certificates is a few kilobytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const HTTPS_PORT: u16 = 443;

/// ACME that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenAcmeError {
    /// The extra roots cannot be used.
    #[error("{path} holds no root certificates in PEM: {reason}")]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS refuses its settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A request that did not get a usable answer.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("the authority names {0}, which is not an https URL")]
    NotHttps(String),
    #[error("cannot reach {host}: {source}")]
    Unreachable {
        host: String,
        source: std::io::Error,
    },
    #[error("{host} does not speak HTTP: {source}")]
    Http { host: String, source: hyper::Error },
    #[error("{host} sent an answer that broke off or is larger than {ANSWER_BYTES_MAX} bytes")]
    Body { host: String },
    #[error("{host} did not answer within {} s", REQUEST_TIME.as_secs())]
    Timeout { host: String },
    #[error("{host} answered {status} without saying why")]
    Unexplained { host: String, status: StatusCode },
    #[error("{host} has no ACME directory there: {reason}")]
    Directory { host: String, reason: String },
}

/// A client of one authority.
#[derive(Clone)]
pub(super) struct Wire {
    tls: TlsConnector,
    directory: Uri,
    /// How long the authority last told to wait, milliseconds.
    told_ms: Arc<AtomicU64>,
}

impl Wire {
    /// Reads the roots that the authority's own certificate is checked against.
    ///
    /// # Errors
    /// [`OpenAcmeError`].
    pub(super) fn new(
        config: &AcmeConfig,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, OpenAcmeError> {
        let tls = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(config.root.as_ref())?)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls)),
            // It was parsed as one before.
            directory: config.directory.as_str().parse().unwrap_or_default(),
            told_ms: Arc::default(),
        })
    }

    /// How long the authority told to wait since this was last asked, milliseconds.
    pub(super) fn told_to_wait_ms(&self) -> u64 {
        self.told_ms.swap(0, Ordering::Relaxed)
    }

    async fn send(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, RequestError> {
        let uri = request.uri().clone();
        let Some(host) = uri.host().filter(|_| is_https(&uri.to_string())) else {
            return Err(RequestError::NotHttps(uri.to_string()));
        };
        let host = host.to_owned();
        let is_directory = request.method() == Method::GET && uri == self.directory;
        let explained = request.method() == Method::HEAD;
        let answer = tokio::time::timeout(REQUEST_TIME, self.exchange(&host, &uri, request)).await;
        let answer = answer.map_err(|_| RequestError::Timeout { host: host.clone() })??;
        let status = answer.status();
        if !status.is_success() {
            self.heed(&answer);
            if !explained && serde_json::from_slice::<serde_json::Value>(answer.body()).is_err() {
                return Err(RequestError::Unexplained { host, status });
            }
        } else if is_directory {
            // The library that reads it next trusts that these are URLs.
            check_directory(answer.body())
                .map_err(|reason| RequestError::Directory { host, reason })?;
        }
        let (parts, body) = answer.into_parts();
        let body = Box::new(body);
        Ok(BytesResponse { parts, body })
    }

    async fn exchange(
        &self,
        host: &str,
        uri: &Uri,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Bytes>, RequestError> {
        let unreachable = |source| RequestError::Unreachable {
            host: host.to_owned(),
            source,
        };
        let http = |source| RequestError::Http {
            host: host.to_owned(),
            source,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| unreachable(std::io::Error::other(error)))?;
        let port = uri.port_u16().unwrap_or(HTTPS_PORT);
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(unreachable)?;
        let stream = self.tls.connect(name, stream).await.map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(http)?;
        // Ends with this request.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let answer = sender.send_request(origin_form(request, uri)).await;
        let (parts, body) = answer.map_err(http)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let broken = |_| RequestError::Body {
            host: host.to_owned(),
        };
        Ok(Response::from_parts(
            parts,
            body.map_err(broken)?.to_bytes(),
        ))
    }

    /// Remembers how long the authority tells to wait.
    fn heed(&self, answer: &Response<Bytes>) {
        let told = answer.headers().get(RETRY_AFTER);
        let seconds = told.and_then(|told| told.to_str().ok()?.trim().parse::<u64>().ok());
        if let Some(seconds) = seconds {
            let told_ms = seconds.saturating_mul(1_000);
            self.told_ms.fetch_max(told_ms, Ordering::Relaxed);
        }
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sent = self.clone().send(request);
        Box::pin(async move { sent.await.map_err(|error| Error::Other(Box::new(error))) })
    }
}

/// The request as a server is sent it (RFC 9112, section 3.2.1).
fn origin_form(mut request: Request<BodyWrapper<Bytes>>, uri: &Uri) -> Request<BodyWrapper<Bytes>> {
    let path = uri.path_and_query().map(ToString::to_string);
    *request.uri_mut() = path.and_then(|path| path.parse().ok()).unwrap_or_default();
    let authority = uri.authority().map(|authority| authority.as_str());
    if let Some(Ok(host)) = authority.map(HeaderValue::from_str) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// Every address in a directory (RFC 8555, section 7.1.1) is one that requests can be sent to.
fn check_directory(body: &[u8]) -> Result<(), String> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| format!("it is not JSON ({error})"))?;
    let fields = value.as_object().ok_or("it is not an object")?;
    for field in ["newNonce", "newAccount", "newOrder"] {
        let url = fields.get(field).and_then(|url| url.as_str());
        let url = url.ok_or_else(|| format!("it names no {field}"))?;
        if !is_https(url) {
            return Err(format!("its {field} is not an https URL"));
        }
    }
    Ok(())
}

fn roots(extra: Option<&PathBuf>) -> Result<RootCertStore, OpenAcmeError> {
    let Some(path) = extra else {
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        return Ok(RootCertStore { roots });
    };
    let failed = |reason: String| OpenAcmeError::Root {
        path: path.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("there is none".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_where_to_ask() {
        let good =
            br#"{"newNonce":"https://a/n","newAccount":"https://a/a","newOrder":"https://a/o"}"#;
        assert_eq!(check_directory(good), Ok(()));
        let plain = String::from_utf8_lossy(good).replace("https://a/n", "http://a/n");
        assert!(
            check_directory(plain.as_bytes())
                .unwrap_err()
                .contains("newNonce")
        );
        let broken = String::from_utf8_lossy(good).replace("https://a/o", "https://a b");
        assert!(
            check_directory(broken.as_bytes())
                .unwrap_err()
                .contains("newOrder")
        );
        for bad in ["", "[]", "{}", "{\"newNonce\":1}"] {
            assert!(check_directory(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
