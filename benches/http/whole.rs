//! The node: ledger, admission, limits, metrics, routes, ingress, as `nexus up` starts them.

use std::io::Write as _;
use std::num::NonZeroU32;

use hypermesh_benches::{Fabric, hello_spec};
use types::Digest;

use crate::Failure;
use crate::http::server::Guest;

/// Serves on a free port, which it prints, until it is killed; a fresh instance per request, or
/// kept ones.
pub(crate) async fn serve(guest: Guest, requests_per_instance: NonZeroU32) -> Result<(), Failure> {
    let component = guest.component();
    let fabric = Fabric::start().await?;
    let mut spec = hello_spec("hello", "/");
    let hello = &mut spec.components[0];
    hello.artifact = Digest::of(&component);
    hello.requests_per_instance = requests_per_instance;
    // As many as the widest round has connections; the default queues what is above 32.
    hello.limits.requests_in_flight = 256;
    fabric.deploy(spec, component).await?;
    println!("{}", fabric.address());
    std::io::stdout().flush()?;
    std::future::pending().await
}
