//! HTTP: one request, one fresh instance, bodies streaming both ways. Knows no sockets.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header, uri};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use types::ComponentKind;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView};

use crate::call::Call;
use crate::errors::{CallError, clipped};
use crate::host::Host;
use crate::http_response::ResponseBody;
use crate::observer::{CallKind, CallOutcome};
use crate::replica::{Driver, Replica, Shared};

/// What a guest answers with.
type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Stops a call's task unless it was let go.
pub(crate) struct CancelOnDrop(Option<AbortHandle>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl CancelOnDrop {
    /// Lets the guest finish what it does after its response, within its limits.
    pub(crate) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Replica {
    /// Has a fresh instance answer `request`.
    ///
    /// Returns when the guest has set its response; the bodies go on streaming. Dropping the
    /// future, or the response's body before its end, stops the guest.
    ///
    /// # Errors
    /// [`CallError`] if there is no response: no place, a breach, a trap, a stop.
    pub async fn handle<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, CallError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Display,
    {
        let Driver::Http(_) = &self.shared.driver else {
            return Err(self.wrong_kind(ComponentKind::Http));
        };
        check_authority(&request)?;
        let place = self.shared.admission.place().await?;
        let call = Call::begin(&self.shared.guest, CallKind::Http, place);
        let meter = Arc::clone(call.meter());
        let (respond, response) = oneshot::channel();
        let serve = serve(Arc::clone(&self.shared), call, request, respond);
        // Boxed: a task's future is moved several times on its way, and this one is large.
        let task = tokio::spawn(Box::pin(serve));
        let cancel = CancelOnDrop(Some(task.abort_handle()));
        match response.await {
            Ok(Ok(response)) => Ok(ResponseBody::wrap(response, meter, cancel)),
            Ok(Err(code)) => {
                cancel.let_go();
                Err(CallError::GuestError {
                    code: clipped(&format!("{code:?}")),
                })
            }
            // The guest is gone without an answer.
            Err(_) => match task.await {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) => Err(CallError::NoResponse),
                Err(error) => Err(CallError::Host {
                    reason: clipped(&error.to_string()),
                }),
            },
        }
    }
}

/// A guest is told an authority, so there must be one.
fn check_authority<B>(request: &Request<B>) -> Result<(), CallError> {
    let host = request
        .headers()
        .get(header::HOST)
        .map(http::HeaderValue::to_str);
    match (request.uri().authority(), host) {
        (Some(_), _) | (None, Some(Ok(_))) => Ok(()),
        (None, _) => Err(CallError::BadRequest {
            reason: "it names no host, neither in its URI nor in a `Host` header".to_owned(),
        }),
    }
}

async fn serve<B>(
    shared: Arc<Shared>,
    call: Call,
    request: Request<B>,
    respond: oneshot::Sender<Answer>,
) -> Result<(), CallError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let Driver::Http(pre) = &shared.driver else {
        return Err(CallError::NoResponse);
    };
    let (store, result) = match call.store() {
        Ok(mut store) => {
            let answer = Box::pin(answer(pre, &mut store, &call, request, respond));
            let result = call.drive(answer).await;
            (Some(store), result)
        }
        Err(error) => (None, Err(error)),
    };
    let result = match result {
        Ok(()) if !call.meter().responded() => Err(CallError::NoResponse),
        other => other,
    };
    let outcome = match &result {
        Ok(()) => CallOutcome::Completed,
        Err(error) => CallOutcome::Failed(error.clone()),
    };
    call.end(store, outcome);
    result
}

async fn answer<B>(
    pre: &ProxyPre<Host>,
    store: &mut Store<Host>,
    call: &Call,
    request: Request<B>,
    respond: oneshot::Sender<Answer>,
) -> wasmtime::Result<()>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = request
        .map(|body| body.map_err(|error| Error::InternalError(Some(clipped(&error.to_string())))));
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let meter = Arc::clone(call.meter());
    let out = http.new_response_outparam_from_callback(move |answer| {
        meter.set_responded();
        // Nobody listens when the client has gone: the guest is being stopped then.
        let _ = respond.send(answer);
    })?;
    let proxy = pre.instantiate_async(&mut *store).await?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, request, out)
        .await
}
