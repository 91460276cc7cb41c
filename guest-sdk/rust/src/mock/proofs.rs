//! Assets and executions in memory: a proof is a note of what was shown or claimed.

use std::collections::BTreeMap;

use super::with;
use crate::proofs::{Content, Error, Execution, Shown};

/// The assets of a thread's host, and what it noted.
#[derive(Default)]
pub(super) struct Proofs {
    assets: BTreeMap<String, (String, Option<Content>)>,
    shown: Vec<Shown>,
    executions: Vec<Execution>,
}

/// Puts an asset on the ledger: its id, its host, and what that keeps for it.
pub fn set_asset(asset: &str, host: &str, content: Option<Content>) {
    let hosted = (host.to_owned(), content);
    with(|state| state.proofs.assets.insert(asset.to_owned(), hosted));
}

/// The bytes of a file of receipts that proves this execution.
#[must_use]
pub fn receipt(execution: Execution) -> Vec<u8> {
    with(|state| {
        let executions = &mut state.proofs.executions;
        executions.push(execution);
        format!("receipt {}", executions.len()).into_bytes()
    })
}

pub(crate) fn request_space(asset: &str) -> Result<Vec<u8>, Error> {
    let height = super::ledger::height();
    with(|state| {
        let proofs = &mut state.proofs;
        let (host, content) = proofs.assets.get(asset).ok_or(Error::Absent)?;
        proofs.shown.push(Shown {
            asset: asset.to_owned(),
            host: host.clone(),
            height,
            content: content.clone(),
        });
        Ok(format!("space {}", proofs.shown.len()).into_bytes())
    })
}

pub(crate) fn verify_space(proof: &[u8]) -> Result<Shown, String> {
    with(|state| noted(&state.proofs.shown, "space ", proof))
}

pub(crate) fn verify_execution(proof: &[u8]) -> Result<Execution, String> {
    with(|state| noted(&state.proofs.executions, "receipt ", proof))
}

/// What was noted under the number in a proof.
fn noted<T: Clone>(notes: &[T], kind: &str, proof: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(proof).ok();
    let number = text.and_then(|text| text.strip_prefix(kind)?.parse::<usize>().ok());
    let note = number.and_then(|number| notes.get(number.checked_sub(1)?));
    note.cloned().ok_or_else(|| "this is no proof".to_owned())
}
