//! One request for `wasi:http/incoming-handler@0.2`: the guest sets its response by a call and
//! has written the body when it returns.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, uri};
use http_body::Body;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiHttpView};

use crate::call::Call;
use crate::host::Host;
use crate::http_call::{self, Answer, Answered};

pub(crate) async fn answer<B>(
    proxy: &Proxy,
    store: &mut Store<Host>,
    call: &Call,
    request: Request<B>,
    respond: oneshot::Sender<Answer>,
) -> wasmtime::Result<()>
where
    B: Body<Data = Bytes, Error = Error> + Send + 'static,
{
    let scheme = match http_call::scheme(request.extensions()) {
        scheme if scheme == uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let meter = Arc::clone(call.meter());
    let out = http.new_response_outparam_from_callback(move |answer| {
        meter.set_responded(answer.is_err());
        let answer = answer.map_err(|code| format!("{code:?}"));
        // Nobody listens when the client has gone: the guest is being stopped then.
        let _ = respond.send(answer.map(|response| Answered {
            response,
            ended: None,
        }));
    })?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, request, out)
        .await
}
