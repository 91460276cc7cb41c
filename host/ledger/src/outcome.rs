//! What became of a transaction in its block.

use serde::{Deserialize, Serialize};
use types::{Name, Principal, Route, WorkloadError};

/// The fate of a transaction that is in a final block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionOutcome {
    /// Its changes are part of the state.
    Applied,
    /// It changed nothing but, where the signer is known, the signer's nonce.
    Refused(Refusal),
}

/// Why a transaction changed nothing. New reasons are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The signer is not on the ledger.
    #[error("principal {0} is not known to this fabric")]
    UnknownPrincipal(Principal),
    /// Replayed, or signed against an older state.
    #[error("the transaction carries nonce {found}, the next one of its signer is {expected}")]
    Nonce {
        /// What the ledger wants.
        expected: u64,
        /// What the transaction says.
        found: u64,
    },
    /// Its time is over.
    #[error("the transaction expired at height {expires_at}, this block is {height}")]
    Expired {
        /// Last height at which it was good.
        expires_at: u64,
        /// The block's height.
        height: u64,
    },
    /// The workload breaks a rule of its own.
    #[error("the workload is not valid: {0}")]
    Workload(String),
    /// A deployment of that name is not there.
    #[error("no deployment is called `{0}`")]
    UnknownDeployment(Name),
    /// A deployment of that name is there already.
    #[error("a deployment called `{name}` exists at generation {generation}")]
    Exists {
        /// Its name.
        name: Name,
        /// Its generation.
        generation: u64,
    },
    /// The deployment changed since the signer looked.
    #[error("deployment `{name}` is at generation {found}, the transaction replaces {expected}")]
    Generation {
        /// Its name.
        name: Name,
        /// What the transaction says.
        expected: u64,
        /// What the ledger has.
        found: u64,
    },
    /// The deployment has no such component.
    #[error("deployment `{workload}` has no component `{component}`")]
    UnknownComponent {
        /// The deployment.
        workload: Name,
        /// What it lacks.
        component: Name,
    },
    /// Another component has the route.
    #[error("route `{route}` belongs to component `{component}` of deployment `{workload}`")]
    RouteTaken {
        /// The route.
        route: Route,
        /// Its owner's workload.
        workload: Name,
        /// Its owner.
        component: Name,
    },
    /// The fabric is full.
    #[error("the fabric has {count} deployments, which is its bound")]
    TooManyDeployments {
        /// How many there are.
        count: u32,
    },
    /// The record would be larger than an entry may be.
    #[error("the deployment takes {bytes} bytes, an entry holds at most {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// There is nothing to pause, resume or restart.
    #[error("deployment `{0}` is stopped: start it first")]
    Stopped(Name),
    /// There is nothing to resume.
    #[error("deployment `{0}` is not paused")]
    NotPaused(Name),
    /// A paused deployment is started by resuming it.
    #[error("deployment `{0}` is paused: resume it")]
    Paused(Name),
}

impl From<WorkloadError> for Refusal {
    fn from(error: WorkloadError) -> Self {
        Self::Workload(error.to_string())
    }
}
