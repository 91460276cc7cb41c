//! Deployments: admitting, replacing, scaling, stopping, starting, pausing, resuming, restarting,
//! removing.
//!
//! A deployment that is replaced or restarted runs afterwards, also if it was paused; one that is
//! scaled stays paused, and its new replicas come up paused.

use types::{ComponentSpec, Name, Principal, WorkloadSpec};

use crate::execute::{BlockContext, Stop, fabric};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::record::{self, DeploymentRecord, DesiredState, FabricRecord, RouteRecord};
use crate::rules::records;
use crate::schedule::{self, Scheduler};
use crate::state::{Draft, StateView, VALUE_BYTES_MAX};

pub(crate) fn deploy<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    owner: Principal,
    spec: &WorkloadSpec,
    replaces: Option<u64>,
) -> Result<(), Stop> {
    spec.check().map_err(Refusal::from)?;
    let key = StateKey::deployment(&spec.name);
    let old: Option<DeploymentRecord> = draft.read(&key)?;
    check_generation(&spec.name, old.as_ref(), replaces)?;
    let created_at = match &old {
        Some(old) => {
            clear_routes(draft, &old.spec);
            old.created_at
        }
        None => {
            count_deployments(draft, 1)?;
            block.height
        }
    };
    let record = DeploymentRecord {
        spec: spec.clone(),
        generation: block.height,
        created_at,
        owner,
        desired: DesiredState::Running,
    };
    let bytes = record::encode(&record).len();
    if bytes > VALUE_BYTES_MAX {
        let (bytes, max) = (bytes as u64, VALUE_BYTES_MAX as u64);
        return Err(Refusal::TooLarge { bytes, max }.into());
    }
    take_routes(draft, spec)?;
    let old = old.filter(|old| old.desired.is_placed());
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.place(draft, &record, old.as_ref().map(|old| &old.spec))?;
    draft.write(key, &record);
    settle(draft, scheduler)
}

pub(super) fn scale<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
    component: &Name,
    replicas: u16,
) -> Result<(), Stop> {
    let mut record = existing(draft, workload)?;
    let found = record
        .spec
        .components
        .iter_mut()
        .find(|entry| entry.name == *component);
    let Some(entry) = found else {
        let (workload, component) = (workload.clone(), component.clone());
        return Err(Refusal::UnknownComponent {
            workload,
            component,
        }
        .into());
    };
    let before = std::mem::replace(&mut entry.replicas, replicas);
    let entry = entry.clone();
    record.spec.check().map_err(Refusal::from)?;
    draft.write(StateKey::deployment(workload), &record);
    if record.desired.is_placed() {
        let mut scheduler = Scheduler::open(draft, block)?;
        scheduler.resize(draft, workload, &entry, before)?;
        settle(draft, scheduler)?;
    }
    Ok(())
}

pub(super) fn stop<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
) -> Result<(), Stop> {
    let mut record = existing(draft, workload)?;
    if record.desired.is_placed() {
        let mut scheduler = Scheduler::open(draft, block)?;
        scheduler.withdraw(draft, &record.spec)?;
        record.desired = DesiredState::Stopped;
        record.generation = block.height;
        draft.write(StateKey::deployment(workload), &record);
        settle(draft, scheduler)?;
    }
    Ok(())
}

pub(super) fn start<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
) -> Result<(), Stop> {
    let mut record = existing(draft, workload)?;
    match record.desired {
        DesiredState::Running => return Ok(()),
        DesiredState::Paused => return Err(Refusal::Paused(workload.clone()).into()),
        DesiredState::Stopped => {}
    }
    record.desired = DesiredState::Running;
    record.generation = block.height;
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.place(draft, &record, None)?;
    draft.write(StateKey::deployment(workload), &record);
    settle(draft, scheduler)
}

/// The placements keep their generation: the same instances go on later.
pub(super) fn pause<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
) -> Result<(), Stop> {
    let mut record = existing(draft, workload)?;
    match record.desired {
        DesiredState::Paused => return Ok(()),
        DesiredState::Stopped => return Err(Refusal::Stopped(workload.clone()).into()),
        DesiredState::Running => {}
    }
    record.desired = DesiredState::Paused;
    record.generation = block.height;
    draft.write(StateKey::deployment(workload), &record);
    Ok(())
}

pub(super) fn resume<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
) -> Result<(), Stop> {
    let mut record = existing(draft, workload)?;
    match record.desired {
        DesiredState::Running => return Err(Refusal::NotPaused(workload.clone()).into()),
        DesiredState::Stopped => return Err(Refusal::Stopped(workload.clone()).into()),
        DesiredState::Paused => {}
    }
    record.desired = DesiredState::Running;
    record.generation = block.height;
    draft.write(StateKey::deployment(workload), &record);
    Ok(())
}

pub(super) fn restart<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
) -> Result<(), Stop> {
    let mut record = existing(draft, workload)?;
    if !record.desired.is_placed() {
        return Err(Refusal::Stopped(workload.clone()).into());
    }
    record.desired = DesiredState::Running;
    record.generation = block.height;
    schedule::renew(draft, &record)?;
    draft.write(StateKey::deployment(workload), &record);
    Ok(())
}

pub(super) fn remove<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
) -> Result<(), Stop> {
    let record = existing(draft, workload)?;
    clear_routes(draft, &record.spec);
    records::clear(draft, workload)?;
    count_deployments(draft, -1)?;
    draft.remove(StateKey::deployment(workload));
    if record.desired.is_placed() {
        let mut scheduler = Scheduler::open(draft, block)?;
        scheduler.withdraw(draft, &record.spec)?;
        settle(draft, scheduler)?;
    }
    Ok(())
}

/// Ends a change of placements. What went may have left room for what had none.
fn settle<V: StateView>(draft: &mut Draft<'_, V>, mut scheduler: Scheduler) -> Result<(), Stop> {
    scheduler.retry(draft)?;
    Ok(scheduler.close(draft)?)
}

fn existing<V: StateView>(draft: &Draft<'_, V>, workload: &Name) -> Result<DeploymentRecord, Stop> {
    let record = draft.read(&StateKey::deployment(workload))?;
    record.ok_or_else(|| Refusal::UnknownDeployment(workload.clone()).into())
}

/// A replacement must name the generation that its signer saw; a first deployment must find none.
fn check_generation(
    name: &Name,
    old: Option<&DeploymentRecord>,
    replaces: Option<u64>,
) -> Result<(), Refusal> {
    let name = name.clone();
    match (old, replaces) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Refusal::UnknownDeployment(name)),
        (Some(old), None) => Err(Refusal::Exists {
            name,
            generation: old.generation,
        }),
        (Some(old), Some(expected)) if old.generation != expected => Err(Refusal::Generation {
            name,
            expected,
            found: old.generation,
        }),
        (Some(_), Some(_)) => Ok(()),
    }
}

fn clear_routes<V: StateView>(draft: &mut Draft<'_, V>, spec: &WorkloadSpec) {
    for route in spec
        .components
        .iter()
        .flat_map(|component| &component.routes)
    {
        draft.remove(StateKey::route(route));
    }
}

fn take_routes<V: StateView>(draft: &mut Draft<'_, V>, spec: &WorkloadSpec) -> Result<(), Stop> {
    let routed = |component: &ComponentSpec| -> Vec<_> {
        component
            .routes
            .iter()
            .map(|route| (component.name.clone(), route.clone()))
            .collect()
    };
    for (component, route) in spec.components.iter().flat_map(routed) {
        let key = StateKey::route(&route);
        if let Some(owner) = draft.read::<RouteRecord>(&key)? {
            let RouteRecord {
                workload,
                component,
            } = owner;
            return Err(Refusal::RouteTaken {
                route,
                workload,
                component,
            }
            .into());
        }
        draft.write(
            key,
            &RouteRecord {
                workload: spec.name.clone(),
                component,
            },
        );
    }
    Ok(())
}

fn count_deployments<V: StateView>(draft: &mut Draft<'_, V>, by: i32) -> Result<(), Stop> {
    let mut record = fabric(draft)?;
    let count = record.deployments.saturating_add_signed(by);
    if count > FabricRecord::DEPLOYMENTS_MAX {
        return Err(Refusal::TooManyDeployments {
            count: record.deployments,
        }
        .into());
    }
    record.deployments = count;
    draft.write(StateKey::fabric(), &record);
    Ok(())
}
