//! One request for `wasi:http/handler@0.3`: the guest returns its response and goes on writing the
//! body.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::poll_fn;
use http::header::HOST;
use http::uri::Authority;
use http::{Request, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, WasiHttpView};

use crate::call::Call;
use crate::host::Host;
use crate::http_call::{self, Answer, Answered};

/// Ends when the response's body has ended and the guest has nothing left to do.
pub(crate) async fn answer<B>(
    service: &Service,
    store: &mut Store<Host>,
    call: &Call,
    request: Request<B>,
    respond: oneshot::Sender<Answer>,
) -> wasmtime::Result<()>
where
    B: Body<Data = Bytes, Error = Error> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    // Taken back when the call ends, however it ends.
    let loan = Loan(Arc::new(Mutex::new(Some(body.boxed_unsync()))));
    let request = Request::from_parts(parts, loan.lend());
    let result = store
        .run_concurrent(async |accessor| {
            exchange(service, accessor, call, request, respond).await?;
            poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
            Ok::<_, wasmtime::Error>(())
        })
        .await;
    result?
}

async fn exchange(
    service: &Service,
    accessor: &Accessor<Host>,
    call: &Call,
    request: Request<LentBody>,
    respond: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    let (request, sent) = accessor.with(|mut access| guest_request(access.get(), request));
    match service.handle(accessor, request).await? {
        Ok(response) => {
            let response = accessor.with(|access| response.into_http(access, sent))?;
            let (ended, end) = oneshot::channel();
            call.meter().set_responded(false);
            let ended = Some(ended);
            // Nobody listens when the client has gone: the guest is being stopped then.
            let _ = respond.send(Ok(Answered { response, ended }));
            // Told, or dropped with a response that nobody reads: both are an end.
            let _ = end.await;
        }
        Err(code) => {
            call.meter().set_responded(true);
            let _ = respond.send(Err(format!("{code:?}")));
        }
    }
    Ok(())
}

/// The request as the guest sees it, and what becomes of its body.
fn guest_request(
    host: &mut Host,
    request: Request<LentBody>,
) -> (
    p3::Request,
    impl Future<Output = Result<(), Error>> + Send + 'static + use<>,
) {
    let (parts, body) = request.into_parts();
    let authority = authority(&parts);
    let scheme = http_call::scheme(&parts.extensions);
    let path = parts.uri.path_and_query().cloned();
    let headers = FieldMap::new_immutable(host.http().hooks, parts.headers);
    p3::Request::new(
        parts.method,
        Some(scheme),
        authority,
        path,
        headers,
        None,
        body,
    )
}

/// What the request is for. A `Host` header that is no authority is left out.
fn authority(parts: &Parts) -> Option<Authority> {
    let named = parts.uri.authority().cloned();
    named.or_else(|| Authority::try_from(parts.headers.get(HOST)?.as_bytes()).ok())
}

/// A request's body, lent for as long as the call lasts: an instance that is kept with its end of
/// the stream must not hold the client's connection.
struct Loan(Arc<Mutex<Option<WasiBody>>>);

struct LentBody(Arc<Mutex<Option<WasiBody>>>);

impl Loan {
    fn lend(&self) -> LentBody {
        LentBody(Arc::clone(&self.0))
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(body);
    }
}

impl LentBody {
    fn with<T>(&self, look: impl FnOnce(Option<&mut WasiBody>) -> T) -> T {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(body.as_mut())
    }
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.with(|body| match body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(Some(Err(Error::ConnectionTerminated))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_none_or(|body| body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.map_or_else(SizeHint::default, |body| body.size_hint()))
    }
}
