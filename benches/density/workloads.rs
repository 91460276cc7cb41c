//! Deployed workloads that nobody calls: on the ledger, placed, linked, tried, routed.

use hypermesh_benches::{Fabric, Failure, hello_component, hello_spec};

use crate::{print_growth, resident_kib};

/// Deploys `count` workloads of one component on a node of this process. The first warms everything
/// up and is not counted: with it they are as many as a fabric may have.
pub(crate) async fn deployed(count: u32) -> Result<(), Failure> {
    let fabric = Fabric::start().await?;
    let component = hello_component();
    let one = async |name: String| {
        let spec = hello_spec(&name, &format!("/{name}"));
        fabric.deploy(spec, component.clone()).await
    };
    one("first".to_owned()).await?;
    let before = resident_kib()?;
    for index in 1..count {
        one(format!("w{index}")).await?;
    }
    print_growth(before, count - 1)
}
