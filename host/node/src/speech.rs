//! What a node's words to others pass through. Honest nodes let everything through as it is; tests put
//! lies here.

use consensus::Carrier;

use crate::data_dir::Identity;
use crate::executions::{Stated, truly};

/// What stands between the ledger and the sessions with other nodes.
type Between = fn(&Identity, Carrier) -> Carrier;

/// What passes on what a node says to others.
#[derive(Clone, Copy)]
pub(crate) struct Speech {
    pub(crate) between: Between,
    pub(crate) stated: Stated,
}

impl Speech {
    /// Changes nothing.
    pub(crate) const HONEST: Self = Self {
        between: |_, carrier| carrier,
        stated: truly,
    };
}
