//! Guests: a compiler for them, then the example components. Host builds never see that compiler.

mod apt;
mod cache;
mod examples;
mod host;
mod libc;
mod native;
mod recipe;
mod toolchain;

pub(crate) use cache::{Cache, Partial};
pub(crate) use native::test as test_natively;

use crate::failure::Failure;
use crate::project::Project;

/// What guests are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// `cargo xtask guests`: sets up the toolchain and builds every example guest.
pub(crate) fn run(project: &Project) -> Result<String, Failure> {
    let toolchain = toolchain::prepare()?;
    let built = examples::build(project, &toolchain)?;
    Ok(format!(
        "{built} example guests in {}",
        project.guests().display()
    ))
}
