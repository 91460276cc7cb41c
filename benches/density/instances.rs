//! Live instances: each has begun to answer a request whose body never comes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hypermesh_benches::{Failure, echo_component};
use runtime::{
    Breach, CallRecord, Denial, LogStream, Observer, Profile, Replica, ReplicaConfig, ReplicaId,
    Runtime, RuntimeConfig, Services,
};
use types::{ComponentKind, ComponentSpec, Digest, Limits, Name};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::bare_host::{Host, engine};
use crate::{print_growth, resident_kib};

/// Beyond the instances that are counted: for the first, which warms everything up.
const SPARE: u32 = 2;
const SETTLED: Duration = Duration::from_millis(300);

/// Stores that hold an instance and nothing else.
pub(crate) async fn bare(count: u32) -> Result<(), Failure> {
    let engine = engine(count + SPARE)?;
    let component = Component::new(&engine, echo_component())?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let proxy = ProxyPre::new(linker.instantiate_pre(&component)?)?;
    let live = async || -> Result<_, Failure> {
        let mut store = Store::new(&engine, Host::new());
        store.set_epoch_deadline(1);
        let instance = proxy.instantiate_async(&mut store).await?;
        Ok((store, instance))
    };
    let _first = live().await?;
    let before = resident_kib()?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(live().await?);
    }
    print_growth(before, count)
}

/// Calls of replicas, each with its limits, its request and its record.
pub(crate) async fn ours(count: u32) -> Result<(), Failure> {
    let per_replica = u32::from(Limits::REQUESTS_IN_FLIGHT_MAX);
    let runtime = Runtime::new(RuntimeConfig {
        // One replica has at most half of the pool.
        instances_max: (count * 2 + SPARE).min(runtime::INSTANCES_MAX),
        ..RuntimeConfig::default()
    })?;
    // One call warms everything up, so one fewer is counted where the pool has no room for more.
    let count = count.min(runtime::INSTANCES_MAX - 1);
    let first = replica(&runtime, 0).await?;
    call(&first);
    let mut replicas = Vec::new();
    for index in 0..count.div_ceil(per_replica) {
        replicas.push(replica(&runtime, u16::try_from(index + 1)?).await?);
    }
    tokio::time::sleep(SETTLED).await;
    let before = resident_kib()?;
    let mut left = count;
    for replica in &replicas {
        for _ in 0..left.min(per_replica) {
            call(replica);
        }
        left = left.saturating_sub(per_replica);
    }
    let live = || replicas.iter().map(Replica::in_flight).sum::<usize>();
    while live() < count as usize {
        tokio::time::sleep(SETTLED).await;
    }
    tokio::time::sleep(SETTLED).await;
    print_growth(before, count)
}

fn call(replica: &Replica) {
    let replica = replica.clone();
    tokio::spawn(async move {
        if let Ok(request) = Request::post("http://bench.example/").body(Never) {
            // The body of the answer ends when that of the request does.
            let answer = replica.handle(request).await;
            std::future::pending::<()>().await;
            drop(answer);
        }
    });
}

async fn replica(runtime: &Runtime, index: u16) -> Result<Replica, Failure> {
    let bytes = echo_component();
    let artifact = Digest::of(&bytes);
    let name = Name::new("echo")?;
    let limits = Limits {
        requests_in_flight: Limits::REQUESTS_IN_FLIGHT_MAX,
        ..Limits::default()
    };
    let spec = ComponentSpec {
        limits,
        ..ComponentSpec::new(name.clone(), ComponentKind::Http, artifact)
    };
    let profile = Profile::of(&spec, &runtime.inspect(&bytes)?);
    let compiled = runtime.compile(artifact, bytes, profile).await?;
    let id = ReplicaId {
        workload: name.clone(),
        component: name,
        index,
    };
    let config = ReplicaConfig {
        id,
        spec,
        compiled,
        preopens: Vec::new(),
        services: Services::default(),
        observer: Arc::new(Nobody),
    };
    Ok(runtime.replica(config).await?)
}

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// Observes nothing.
struct Nobody;

impl Observer for Nobody {
    fn log(&self, _: LogStream, _: &[u8]) {}
    fn breach(&self, _: Breach) {}
    fn call(&self, _: CallRecord) {}
    fn denied(&self, _: Denial) {}
}
