//! `hypermesh:consensus/proofs`.

use super::imports::hypermesh::consensus::proofs as wit;
use crate::proofs::{Content, Error, Execution, Shown};

pub(crate) fn request_space(asset: &str) -> Result<Vec<u8>, Error> {
    wit::request_space(asset).map_err(|error| match error {
        wit::Error::Invalid(text) => Error::Invalid(text),
        wit::Error::Absent => Error::Absent,
        wit::Error::NotShown(text) => Error::NotShown(text),
        wit::Error::Unavailable(text) => Error::Unavailable(text),
    })
}

pub(crate) fn verify_space(proof: &[u8]) -> Result<Shown, String> {
    let shown = wit::verify_space(proof)?;
    Ok(Shown {
        asset: shown.asset,
        host: shown.host,
        height: shown.height,
        content: shown.content.map(|content| Content {
            root: content.root,
            bytes: content.bytes,
        }),
    })
}

pub(crate) fn verify_execution(proof: &[u8]) -> Result<Execution, String> {
    let execution = wit::verify_execution(proof)?;
    Ok(Execution {
        order: execution.order,
        workload: execution.workload,
        component: execution.component,
        artifact: execution.artifact,
        export: execution.export,
        arguments: execution.arguments,
        result: execution.result,
        height: execution.height,
        agreed: execution.agreed,
        outvoted: execution.outvoted,
        silent: execution.silent,
        draw_checked: execution.draw_checked,
    })
}
