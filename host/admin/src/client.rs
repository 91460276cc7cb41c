//! The client: one typed call per endpoint, over the node's Unix socket or whatever a [`Dial`]
//! gives.

use std::future::Future;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use types::{Digest, Name, Principal, WorkloadSpec};

use crate::answer::{
    ArtifactReport, CheckReport, InvokeAnswer, LogLine, NodeStatus, PrincipalStatus, PublishAnswer,
    SecretList, TransactionReport, WorkloadList, WorkloadStatus,
};
use crate::error::{ApiError, ErrorCode};
use crate::request::{ArtifactUse, InvokeRequest, LogQuery, PublishQuery};

/// Largest answer that is read whole; logs are read line by line instead.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest line of a stream: what a full block changes, as hex and as JSON.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A node's admin API.
#[derive(Debug, Clone)]
pub struct Client {
    dial: Arc<dyn Dial>,
}

/// A way to a node: each call of the client takes one connection.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Where that is, for people.
    fn place(&self) -> String;

    /// Opens a connection on which the node speaks HTTP/1.1.
    fn dial(&self) -> Dialling<'_>;
}

/// A connection that is being opened.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send + 'a>>;

/// An open connection.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The Unix socket of a node on this machine.
#[derive(Debug)]
struct Socket(PathBuf);

impl Dial for Socket {
    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            let stream = UnixStream::connect(&self.0).await?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }
}

/// A call that brought no answer of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no node answers on {place}: {source}")]
    Unreachable {
        /// Where one was expected.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the node broke: {0}")]
    Broken(String),
    /// The node said no.
    #[error("{0}")]
    Refused(ApiError),
    /// The node answered something that this client does not know.
    #[error("the node's answer is not understood ({0}): do both run the same version?")]
    Unknown(String),
}

/// Values as they arrive, one line of JSON each: lines of a log, final blocks.
pub struct LineReader<T> {
    body: Incoming,
    buffer: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

impl Client {
    /// A client of the node that listens on `socket`. Connects with each call.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::over(Arc::new(Socket(socket.into())))
    }

    /// A client of the node that `dial` leads to.
    #[must_use]
    pub fn over(dial: Arc<dyn Dial>) -> Self {
        Self { dial }
    }

    /// Where the node is expected, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.dial.place()
    }

    /// The node's status.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn node(&self) -> Result<NodeStatus, ClientError> {
        self.get("/v1/node").await
    }

    /// What the ledger knows of a signer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is not known.
    pub async fn principal(&self, id: &Principal) -> Result<PrincipalStatus, ClientError> {
        self.get(&format!("/v1/principals/{id}")).await
    }

    /// What is known of a stored artifact; none if it is not there.
    ///
    /// # Errors
    /// [`ClientError`], but for an absent artifact.
    pub async fn artifact(
        &self,
        digest: &Digest,
        r#use: ArtifactUse,
    ) -> Result<Option<ArtifactReport>, ClientError> {
        match self.get(&artifact_path(digest, r#use)).await {
            Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Stores an artifact.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is too large, or no component where one is expected.
    pub async fn store_artifact(
        &self,
        digest: &Digest,
        r#use: ArtifactUse,
        content: Bytes,
    ) -> Result<ArtifactReport, ClientError> {
        let path = artifact_path(digest, r#use);
        self.call(Method::PUT, &path, "application/octet-stream", content)
            .await
    }

    /// Whether a workload could run on this node: imports, grants, routes, artifacts.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn check(&self, spec: &WorkloadSpec) -> Result<CheckReport, ClientError> {
        self.post("/v1/check", spec).await
    }

    /// Submits a signed transaction and waits until it is final and durable.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the node did not take it. A transaction that the *ledger*
    /// refused is an answer, not an error.
    pub async fn submit(&self, transaction: Vec<u8>) -> Result<TransactionReport, ClientError> {
        let body = Bytes::from(transaction);
        self.call(
            Method::POST,
            "/v1/transactions",
            "application/octet-stream",
            body,
        )
        .await
    }

    /// All workloads.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn workloads(&self) -> Result<WorkloadList, ClientError> {
        self.get("/v1/workloads").await
    }

    /// All workloads, with those replicas only that are placed on the node that is asked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn workloads_there(&self) -> Result<WorkloadList, ClientError> {
        self.get("/v1/workloads?here=true").await
    }

    /// One workload, with those replicas only that are placed on the node that is asked; if
    /// `settled`, once that generation is settled there or `wait_ms` have passed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is not there.
    pub async fn workload_there(
        &self,
        name: &Name,
        settled: Option<u64>,
        wait_ms: u64,
    ) -> Result<WorkloadStatus, ClientError> {
        let settled = settled.map(|generation| format!("&settled={generation}&wait_ms={wait_ms}"));
        let settled = settled.unwrap_or_default();
        self.get(&format!("/v1/workloads/{name}?here=true{settled}"))
            .await
    }

    /// One workload.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is not there.
    pub async fn workload(&self, name: &Name) -> Result<WorkloadStatus, ClientError> {
        self.get(&format!("/v1/workloads/{name}")).await
    }

    /// One workload, once `generation` is settled or `wait_ms` have passed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is not there.
    pub async fn settled(
        &self,
        name: &Name,
        generation: u64,
        wait_ms: u64,
    ) -> Result<WorkloadStatus, ClientError> {
        let path = format!("/v1/workloads/{name}?settled={generation}&wait_ms={wait_ms}");
        self.get(&path).await
    }

    /// Calls a typed export.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the guest's failure.
    pub async fn invoke(
        &self,
        name: &Name,
        request: &InvokeRequest,
    ) -> Result<InvokeAnswer, ClientError> {
        self.post(&format!("/v1/workloads/{name}/invoke"), request)
            .await
    }

    /// Queues a message for every component that subscribes to its topic.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is too large or a queue is full.
    pub async fn publish(
        &self,
        query: &PublishQuery,
        data: Bytes,
    ) -> Result<PublishAnswer, ClientError> {
        // A topic has no character that a query would read otherwise.
        let path = format!("/v1/messages?topic={}", query.topic);
        self.call(Method::POST, &path, "application/octet-stream", data)
            .await
    }

    /// Reads a workload's log.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the workload is not there.
    pub async fn logs(
        &self,
        name: &Name,
        query: &LogQuery,
    ) -> Result<LineReader<LogLine>, ClientError> {
        let LogQuery { follow, here, .. } = query;
        let mut path = format!("/v1/workloads/{name}/logs?follow={follow}&here={here}");
        if let Some(tail) = query.tail {
            path.push_str(&format!("&tail={tail}"));
        }
        if let Some(component) = &query.component {
            path.push_str(&format!("&component={component}"));
        }
        let answer = self.send(Method::GET, &path, "", Bytes::new()).await?;
        Ok(LineReader::new(answer))
    }

    /// The names of all secrets.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn secrets(&self) -> Result<SecretList, ClientError> {
        self.get("/v1/secrets").await
    }

    /// Sets a secret.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is too large or no text.
    pub async fn set_secret(&self, name: &Name, value: Vec<u8>) -> Result<SecretList, ClientError> {
        let path = format!("/v1/secrets/{name}");
        self.call(Method::PUT, &path, "application/octet-stream", value.into())
            .await
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is not there.
    pub async fn remove_secret(&self, name: &Name) -> Result<SecretList, ClientError> {
        let path = format!("/v1/secrets/{name}");
        self.call(Method::DELETE, &path, "", Bytes::new()).await
    }

    pub(crate) async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.call(Method::GET, path, "", Bytes::new()).await
    }

    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Unknown(e.to_string()))?;
        self.call(Method::POST, path, "application/json", body.into())
            .await
    }

    pub(crate) async fn call<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<A, ClientError> {
        let answer = self.send(method, path, content_type, body).await?;
        let bytes = read_whole(answer).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Unknown(error.to_string()))
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Incoming, ClientError> {
        let broken = |error: &dyn std::fmt::Display| ClientError::Broken(error.to_string());
        let stream = self.dial.dial().await;
        let stream = stream.map_err(|source| ClientError::Unreachable {
            place: self.place(),
            source,
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        // Ends by itself when the answer is read or dropped.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "node");
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let bytes = read_whole(body).await?;
        Err(match serde_json::from_slice::<ApiError>(&bytes) {
            Ok(error) => ClientError::Refused(error),
            Err(_) => ClientError::Unknown(format!("status {}", head.status)),
        })
    }
}

impl<T: DeserializeOwned> LineReader<T> {
    pub(crate) const fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            of: PhantomData,
        }
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks or a line is not understood.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let parsed = serde_json::from_slice(&line);
                return parsed
                    .map(Some)
                    .map_err(|e| ClientError::Unknown(e.to_string()));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ClientError::Unknown("an endless line".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

fn artifact_path(digest: &Digest, r#use: ArtifactUse) -> String {
    let r#use = match r#use {
        ArtifactUse::Component => "component",
        ArtifactUse::File => "file",
    };
    format!("/v1/artifacts/{digest}?use={}", r#use)
}

pub(crate) async fn read_whole(body: Incoming) -> Result<Bytes, ClientError> {
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    collected
        .map(|whole| whole.to_bytes())
        .map_err(|e| ClientError::Broken(e.to_string()))
}
