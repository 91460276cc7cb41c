//! Which rule answers which operation. One file per family.

mod assets;
mod certificates;
mod deployments;
mod evidence;
mod faults;
mod leases;
mod liveness;
mod membership;
mod nodes;
mod proving;
mod records;
mod roles;
mod space;
#[cfg(feature = "unreleased-rules")]
mod unreleased;
mod upgrades;
mod validators;

pub use proving::{CALIBRATION_UNITS, stake_role};

pub(crate) use deployments::deploy;
pub(crate) use liveness::{clean, release_absent};
pub(crate) use records::expire;
pub(crate) use roles::role_of;
pub(crate) use upgrades::begin_block;
pub(crate) use validators::begin_epoch;

use crate::execute::{BlockContext, Stop};
use crate::state::{Draft, StateView};
use crate::transaction::{Operation, Transaction};

/// Applies one transaction by the rules of `version`. All released rules are of one version yet.
pub(crate) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    version: u32,
    transaction: &Transaction,
) -> Result<(), Stop> {
    roles::check(draft, transaction)?;
    #[cfg(feature = "unreleased-rules")]
    unreleased::check(version, &transaction.operation)?;
    #[cfg(not(feature = "unreleased-rules"))]
    let _ = version;
    match &transaction.operation {
        Operation::Deploy { spec, replaces } => {
            deployments::deploy(draft, block, transaction.principal, spec, *replaces)
        }
        Operation::Scale {
            workload,
            component,
            replicas,
        } => deployments::scale(draft, block, workload, component, *replicas),
        Operation::Stop { workload } => deployments::stop(draft, block, workload),
        Operation::Start { workload } => deployments::start(draft, block, workload),
        Operation::Remove { workload } => deployments::remove(draft, block, workload),
        Operation::Pause { workload } => deployments::pause(draft, block, workload),
        Operation::Resume { workload } => deployments::resume(draft, block, workload),
        Operation::Restart { workload } => deployments::restart(draft, block, workload),
        Operation::Membership(operation) => membership::apply(draft, block, transaction, operation),
        Operation::Certificate(operation) => {
            certificates::apply(draft, block, transaction.principal, operation)
        }
        Operation::Role(operation) => roles::apply(draft, transaction.principal, operation),
        Operation::Validator(operation) => {
            validators::apply(draft, transaction.principal, operation)
        }
        Operation::Evidence(evidence) => {
            evidence::apply(draft, block, &transaction.fabric, evidence)
        }
        Operation::Record(operation) => {
            records::apply(draft, block, transaction.principal, operation)
        }
        Operation::Rules(operation) => {
            upgrades::apply(draft, block, transaction.principal, *operation)
        }
        Operation::Liveness(operation) => {
            liveness::apply(draft, block, transaction.principal, *operation)
        }
        Operation::Asset(proven) => {
            proving::require(&proven.proofs)?;
            let demand = assets::apply(draft, block, transaction, &proven.operation)?;
            proving::check(draft, block, transaction, proven, &demand)
        }
        Operation::Lease(proven) => {
            proving::require(&proven.proofs)?;
            let demand = leases::apply(draft, block, transaction, &proven.operation)?;
            proving::check(draft, block, transaction, proven, &demand)
        }
        Operation::Space(operation) => space::apply(draft, block, transaction, operation),
        Operation::Fault(operation) => {
            faults::apply(draft, block, transaction.principal, operation)
        }
        Operation::Node(operation) => nodes::apply(draft, block, transaction.principal, operation),
    }
}
