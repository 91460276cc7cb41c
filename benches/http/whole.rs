//! The node: ledger, admission, limits, metrics, routes, ingress, as `nexus up` starts them.

use std::io::Write as _;

use hypermesh_benches::{Fabric, hello_component, hello_spec};

use crate::Failure;

/// Serves on a free port, which it prints, until it is killed.
pub(crate) async fn serve() -> Result<(), Failure> {
    let fabric = Fabric::start().await?;
    let mut spec = hello_spec("hello", "/");
    // As many as the widest round has connections; the default queues what is above 32.
    spec.components[0].limits.requests_in_flight = 256;
    fabric.deploy(spec, hello_component()).await?;
    println!("{}", fabric.address());
    std::io::stdout().flush()?;
    std::future::pending().await
}
