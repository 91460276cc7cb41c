//! The baseline: wasmtime and wasmtime-wasi-http with nothing around them but hyper. The engine has
//! the settings of our `fast` profile; nothing is limited, counted, logged or routed.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::Failure;
use crate::http::bare_host::{Host, engine};
use crate::http::server::Guest;

/// An instance between two requests.
type Kept = (Store<Host>, Proxy);

/// A component and, if they are kept, its idle instances.
struct Service {
    engine: Engine,
    pre: ProxyPre<Host>,
    kept: Option<Mutex<Vec<Kept>>>,
}

/// Serves on a free port, which it prints, until it is killed; a fresh instance per request, or
/// kept ones.
pub(crate) async fn serve(guest: Guest, keep: bool) -> Result<(), Failure> {
    let engine = engine(1_000)?;
    let component = Component::new(&engine, guest.component())?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let ticking = engine.clone();
    let service = Arc::new(Service {
        engine,
        pre: ProxyPre::new(linker.instantiate_pre(&component)?)?,
        kept: keep.then(Mutex::default),
    });
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            ticking.increment_epoch();
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&service), request));
            let builder = hyper::server::conn::http1::Builder::new();
            // A client that goes away ends its own connection only.
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Service {
    fn take(&self) -> Option<Kept> {
        let kept = self.kept.as_ref()?.lock();
        kept.unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, store: Store<Host>, proxy: Proxy) {
        if let Some(kept) = &self.kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push((store, proxy));
        }
    }
}

async fn answer(
    service: Arc<Service>,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<HyperOutgoingBody>, Failure> {
    let (mut store, proxy) = match service.take() {
        Some((store, proxy)) => (store, Some(proxy)),
        None => (Store::new(&service.engine, Host::new()), None),
    };
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(Scheme::Http, request)?;
    let out = store.data_mut().http().new_response_outparam(sender)?;
    let task = tokio::spawn(async move {
        let proxy = match proxy {
            Some(proxy) => proxy,
            None => service.pre.instantiate_async(&mut store).await?,
        };
        let handler = proxy.wasi_http_incoming_handler();
        handler.call_handle(&mut store, request, out).await?;
        service.keep(store, proxy);
        Ok::<_, wasmtime::Error>(())
    });
    match receiver.await {
        Ok(response) => Ok(response?),
        Err(_) => Err(format!("no response: {:?}", task.await).into()),
    }
}
