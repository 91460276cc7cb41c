//! What a node does by itself while it runs, each duty as a task of its own. Knows none of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::accuser::accuse;
use crate::memory::{end_in_time, sweep};
use crate::remeasuring::remeasure;
use crate::shared::Shared;
use crate::space::answer_challenges;
use crate::witness::witness;

/// Begins all of them; they end with `stop`.
pub(crate) fn begin_duties(shared: &Arc<Shared>, stop: &CancellationToken) {
    tokio::spawn(accuse(Arc::clone(shared), stop.clone()));
    tokio::spawn(witness(Arc::clone(shared), stop.clone()));
    tokio::spawn(answer_challenges(Arc::clone(shared), stop.clone()));
    tokio::spawn(remeasure(Arc::clone(shared), stop.clone()));
    tokio::spawn(end_in_time(Arc::clone(shared), stop.clone()));
    tokio::spawn(sweep(Arc::clone(shared), stop.clone()));
}
