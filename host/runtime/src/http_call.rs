//! HTTP: one request and the instance that answers it, bodies streaming both ways. Knows no
//! sockets and no version of `wasi:http`.

use std::fmt::Display;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Extensions, Request, Response, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use types::ComponentKind;
use wasmtime::Store;
use wasmtime_wasi_http::{Error, WasiBody, p2, p3};

use crate::background;
use crate::call::Call;
use crate::errors::{CallError, clipped};
use crate::first_poll::{Work, first_poll};
use crate::host::Host;
use crate::http_response::ResponseBody;
use crate::kept::Live;
use crate::meter::Meter;
use crate::observer::{CallKind, CallOutcome};
use crate::replica::{Driver, Replica, Shared};
use crate::{http_0_2, http_0_3};

/// A linked service of either version of `wasi:http`.
pub(crate) enum ServicePre {
    P2(p2::bindings::ProxyPre<Host>),
    P3(p3::bindings::ServicePre<Host>),
}

/// An instance of it.
pub(crate) enum Service {
    P2(p2::bindings::Proxy),
    P3(p3::bindings::Service),
}

impl ServicePre {
    async fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Service> {
        Ok(match self {
            Self::P2(pre) => Service::P2(pre.instantiate_async(store).await?),
            Self::P3(pre) => Service::P3(pre.instantiate_async(store).await?),
        })
    }
}

/// What a guest answers with: a response, or the text of an error code.
pub(crate) type Answer = Result<Answered, String>;

/// How the client's request came, which only the server that took it knows: a client can name any
/// scheme in its request.
pub(crate) fn scheme(extensions: &Extensions) -> Scheme {
    extensions.get().cloned().unwrap_or(Scheme::HTTP)
}

/// A response on its way.
pub(crate) struct Answered {
    pub(crate) response: Response<WasiBody>,
    /// Told when its body has ended, where the guest's work depends on that.
    pub(crate) ended: Option<oneshot::Sender<()>>,
}

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

/// A call and the kept instance that it has, in the order in which they must go.
struct Begun {
    live: Option<Live>,
    call: Call,
}

impl Replica {
    /// Has an instance answer `request`: a fresh one, or one that has answered before if the
    /// component's `requests_per_instance` allows it.
    ///
    /// The guest is told that the request came over `http`, unless its extensions hold another
    /// [`Scheme`]; what its target says is the client's word.
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
        let begun = self.begin().await?;
        let meter = Arc::clone(begun.call.meter());
        let (respond, mut response) = oneshot::channel();
        // Boxed: it is large, and moved if it goes on in a task.
        let mut serve: Work<()> =
            Box::pin(serve(Arc::clone(&self.shared), begun, request, respond));
        if let Some(end) = first_poll(&mut serve).await {
            drop(serve);
            return match (response.try_recv(), end) {
                (Ok(answer), _) => answered(answer, meter, CancelOnDrop(None)),
                (Err(_), Err(error)) => Err(error),
                (Err(_), Ok(())) => Err(CallError::NoResponse),
            };
        }
        let background = Arc::clone(&self.shared.guest.background);
        let task = tokio::spawn(background::drive(serve, Arc::clone(&meter), background));
        let cancel = CancelOnDrop(Some(task.abort_handle()));
        match response.await {
            Ok(answer) => answered(answer, meter, cancel),
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

    async fn begin(&self) -> Result<Begun, CallError> {
        let admission = &self.shared.admission;
        let (place, live) = match &self.shared.reuse {
            Some(reuse) => admission.place_or_kept(|| reuse.kept.take()).await?,
            None => (admission.place().await?, None),
        };
        let call = Call::begin(&self.shared.guest, CallKind::Http, place);
        Ok(Begun { live, call })
    }
}

fn answered(
    answer: Answer,
    meter: Arc<Meter>,
    cancel: CancelOnDrop,
) -> Result<Response<ResponseBody>, CallError> {
    match answer {
        Ok(answered) => Ok(ResponseBody::wrap(answered, meter, cancel)),
        Err(code) => {
            cancel.let_go();
            Err(CallError::GuestError {
                code: clipped(&code),
            })
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
    begun: Begun,
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
    // In this order: the instance must go before its place does.
    let call = begun.call;
    let live = match begun.live {
        Some(mut live) => call.adopt(&mut live.store).map(|()| live),
        None => call.store().map(Live::fresh),
    };
    let (live, result) = match live {
        Ok(mut live) => {
            // Pinned here: what drives it would move it, and it is large.
            let answer = answer(pre, &mut live, &call, request, respond);
            let result = call.drive(pin!(answer)).await;
            (Some(live), result)
        }
        Err(error) => (None, Err(error)),
    };
    let result = match result {
        Ok(()) if !call.meter().responded() => Err(CallError::NoResponse),
        other => other,
    };
    match (&result, live) {
        (Ok(()), Some(live)) => rest(&shared, call, live),
        (Ok(()), None) => call.end(None, CallOutcome::Completed),
        (Err(error), live) => {
            let outcome = CallOutcome::Failed(error.clone());
            call.end(live.map(|live| live.store), outcome);
        }
    }
    result
}

/// The end of a call that completed: its instance is kept if it may serve again, else dropped.
fn rest(shared: &Shared, call: Call, mut live: Live) {
    live.served += 1;
    let reuse = shared.reuse.as_ref();
    let reuse = reuse.filter(|reuse| {
        live.served < reuse.requests_max.get()
            && !call.meter().answered_with_error()
            && live.store.data_mut().is_clear()
    });
    let Some(reuse) = reuse else {
        return call.end(Some(live.store), CallOutcome::Completed);
    };
    if let Some(slots) = call.end_keeping(&live.store) {
        reuse.kept.keep(live, slots);
    }
}

async fn answer<B>(
    pre: &ServicePre,
    live: &mut Live,
    call: &Call,
    request: Request<B>,
    respond: oneshot::Sender<Answer>,
) -> wasmtime::Result<()>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let request = request
        .map(|body| body.map_err(|error| Error::InternalError(Some(clipped(&error.to_string())))));
    let Live { store, service, .. } = live;
    if service.is_none() {
        *service = Some(pre.instantiate(store).await?);
    }
    match service {
        Some(Service::P2(proxy)) => http_0_2::answer(proxy, store, call, request, respond).await,
        Some(Service::P3(service)) => {
            http_0_3::answer(service, store, call, request, respond).await
        }
        None => Ok(()),
    }
}
