//! What is deployed and what is observed of it, joined for people and programs.

use std::sync::atomic::Ordering;

use admin::{
    Activity, CheckpointStatus, ComponentStatus, NodeMisfit, ReplicaState, ReplicaStatus,
    WorkloadState, WorkloadStatus,
};
use ledger::{DecodeRecordError, DeploymentRecord, DesiredState, Placement};
use orchestrator::{Lifecycle, Observed, ReplicaKey};
use types::{ComponentSpec, Name};

use crate::shared::Shared;

/// One workload; none if it is not deployed.
pub(crate) fn workload(
    shared: &Shared,
    name: &Name,
) -> Result<Option<WorkloadStatus>, DecodeRecordError> {
    let (deployment, placements) = {
        let state = shared.state();
        (
            state.view.deployment(name)?,
            state.view.placements_of(name)?,
        )
    };
    Ok(deployment.map(|deployment| status(shared, &deployment, &placements)))
}

/// All workloads, in name order.
pub(crate) fn workloads(shared: &Shared) -> Result<Vec<WorkloadStatus>, DecodeRecordError> {
    let deployed: Vec<_> = {
        let view = &shared.state().view;
        let deployments = view.deployments()?.into_iter();
        let with_placements = deployments.map(|deployment| {
            let placements = view.placements_of(&deployment.spec.name)?;
            Ok((deployment, placements))
        });
        with_placements.collect::<Result<_, DecodeRecordError>>()?
    };
    Ok(deployed
        .iter()
        .map(|(deployment, placements)| status(shared, deployment, placements))
        .collect())
}

/// Replicas that take calls or run as commands here.
pub(crate) fn replicas_running(shared: &Shared) -> u32 {
    let reconciler = shared.reconciler();
    let running = reconciler
        .replicas()
        .filter(|(_, observed)| observed.state == Lifecycle::Running);
    u32::try_from(running.count()).unwrap_or(u32::MAX)
}

fn status(
    shared: &Shared,
    deployment: &DeploymentRecord,
    placements: &[Placement],
) -> WorkloadStatus {
    let name = deployment.spec.name.clone();
    let mut components = Vec::with_capacity(deployment.spec.components.len());
    for spec in &deployment.spec.components {
        let placed = placements
            .iter()
            .filter(|placed| placed.workload == name && placed.component == spec.name);
        let mut status = component(shared, &name, spec, placed);
        status.no_place = misfits(shared, &name, spec);
        components.push(status);
    }
    let (state, reason) = conclusion(shared, &name, deployment.desired, &components);
    WorkloadStatus {
        name,
        generation: deployment.generation,
        created_at: deployment.created_at,
        owner: deployment.owner,
        state,
        reason,
        components,
        spec: deployment.spec.clone(),
    }
}

/// Leaves only the replicas that are placed here.
pub(crate) fn keep_own(shared: &Shared, status: &mut WorkloadStatus) {
    for component in &mut status.components {
        component
            .replicas
            .retain(|replica| replica.node == shared.node);
    }
    conclude(shared, status);
}

/// Says again how the workload stands, from the replicas that `status` has now.
pub(crate) fn conclude(shared: &Shared, status: &mut WorkloadStatus) {
    let deployment = shared.state().view.deployment(&status.name);
    // One that went meanwhile is what it was; state that cannot be read ends the node elsewhere.
    if let Ok(Some(deployment)) = deployment {
        (status.state, status.reason) =
            conclusion(shared, &status.name, deployment.desired, &status.components);
    }
}

/// How a workload stands that is meant to be `desired`, and the most telling reason.
fn conclusion(
    shared: &Shared,
    name: &Name,
    desired: DesiredState,
    components: &[ComponentStatus],
) -> (WorkloadState, Option<String>) {
    let state = match desired {
        DesiredState::Stopped if is_running(shared, name) => WorkloadState::Stopping,
        DesiredState::Stopped => WorkloadState::Stopped,
        DesiredState::Running => sum(components),
        DesiredState::Paused => sum_paused(components),
    };
    let reasons = components.iter().flat_map(|component| &component.replicas);
    let failed = |replica: &&ReplicaStatus| {
        matches!(replica.state, ReplicaState::Failed | ReplicaState::Waiting)
    };
    let failure = reasons
        .clone()
        .filter(failed)
        .find_map(|replica| replica.reason.clone());
    let reason = failure.or_else(|| reasons.clone().find_map(|replica| replica.reason.clone()));
    (state, reason)
}

fn component<'a>(
    shared: &Shared,
    workload: &Name,
    spec: &ComponentSpec,
    placements: impl Iterator<Item = &'a Placement>,
) -> ComponentStatus {
    ComponentStatus {
        name: spec.name.clone(),
        kind: spec.kind,
        artifact: spec.artifact,
        replicas_wanted: spec.replicas,
        routes: spec.routes.iter().map(ToString::to_string).collect(),
        exports: exports(shared, workload, &spec.name),
        limits: spec.limits.clone(),
        replicas: placements
            .map(|placed| replica(shared, spec, placed))
            .collect(),
        no_place: Vec::new(),
    }
}

/// What each node has to say to a further replica, if one is not where it should be.
fn misfits(shared: &Shared, workload: &Name, spec: &ComponentSpec) -> Vec<NodeMisfit> {
    let view = &shared.state().view;
    // State that cannot be read ends the node elsewhere.
    if !view.is_unplaced(workload).unwrap_or_default() {
        return Vec::new();
    }
    let misfits = view.misfits(workload, spec).unwrap_or_default();
    let misfits = misfits.into_iter().filter_map(|(node, misfit)| {
        let reason = misfit?.to_string();
        Some(NodeMisfit { node, reason })
    });
    misfits.collect()
}

/// What can be invoked, as far as a replica runs here to tell. Exports of WASI and of the lifecycle
/// are how the host drives a component, not what it offers.
fn exports(shared: &Shared, workload: &Name, component: &Name) -> Vec<String> {
    let exports = shared.replicas.exports(workload, component);
    let offered = exports.iter().filter(|export| {
        !export.starts_with("wasi:") && !export.starts_with("hypermesh:workload/lifecycle@")
    });
    offered.cloned().collect()
}

fn replica(shared: &Shared, spec: &ComponentSpec, placed: &Placement) -> ReplicaStatus {
    let key = ReplicaKey {
        workload: placed.workload.clone(),
        component: placed.component.clone(),
        index: placed.index,
    };
    let observed = shared.reconciler().observed(&key);
    // What runs under an older generation is on its way out.
    let observed = observed.filter(|observed| observed.generation == placed.generation);
    let stats = shared.replicas.stats(&key);
    let reason = observed
        .as_ref()
        .and_then(|observed| observed.reason.clone());
    let in_flight = shared.replicas.in_flight(&key);
    let waits = observed.as_ref().and_then(countdown);
    ReplicaStatus {
        index: placed.index,
        node: placed.node,
        state: state(observed.as_ref()),
        activity: activity(shared, spec, observed.as_ref()),
        reason: reason.or_else(|| stats.problem()),
        restart_in_ms: waits.map(|(until_ms, _)| until_ms.saturating_sub(shared.now_ms())),
        backoff_ms: waits.map(|(_, backoff_ms)| backoff_ms),
        restarts: observed.as_ref().map_or(0, |observed| observed.restarts),
        calls: stats.calls.load(Ordering::Relaxed),
        in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
        failures: stats.failures.load(Ordering::Relaxed),
        cpu_ms: stats.cpu_us.load(Ordering::Relaxed) / 1_000,
        memory_peak_bytes: stats.memory_peak_bytes.load(Ordering::Relaxed),
        checkpoint: shared.states.mark(&key).map(|mark| CheckpointStatus {
            sequence: mark.sequence,
            bytes: mark.bytes,
        }),
    }
}

/// When a replica starts again and how long it waits in all; none while its deployment is paused.
fn countdown(observed: &Observed) -> Option<(u64, u64)> {
    match observed.state {
        Lifecycle::Waiting {
            until_ms,
            backoff_ms,
        } if !observed.held => Some((until_ms, backoff_ms)),
        _ => None,
    }
}

/// What a replica that starts waits for, as far as the compiler knows.
fn activity(
    shared: &Shared,
    spec: &ComponentSpec,
    observed: Option<&Observed>,
) -> Option<Activity> {
    observed.filter(|observed| observed.state == Lifecycle::Starting)?;
    let progress = shared.runtime.compile_progress(spec.artifact)?;
    Some(Activity {
        what: progress.phase.to_string(),
        for_ms: u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}

fn state(observed: Option<&Observed>) -> ReplicaState {
    match observed.map(|observed| &observed.state) {
        None | Some(Lifecycle::Created) => ReplicaState::Created,
        Some(Lifecycle::Starting) => ReplicaState::Starting,
        Some(Lifecycle::Running) => ReplicaState::Running,
        Some(Lifecycle::Pausing) => ReplicaState::Pausing,
        Some(Lifecycle::Paused) => ReplicaState::Paused,
        Some(Lifecycle::Resuming) => ReplicaState::Resuming,
        Some(Lifecycle::Waiting { .. }) => ReplicaState::Waiting,
        Some(Lifecycle::Completed) => ReplicaState::Completed,
        Some(Lifecycle::Failed { .. }) => ReplicaState::Failed,
        Some(Lifecycle::Stopping) => ReplicaState::Stopping,
        Some(Lifecycle::Stopped) => ReplicaState::Stopped,
    }
}

/// The worst that is true of any replica; a component of no replicas is what it is meant to be.
fn sum(components: &[ComponentStatus]) -> WorkloadState {
    let states = states(components);
    let any = |wanted: &[ReplicaState]| states.iter().any(|state| wanted.contains(state));
    if any(&[ReplicaState::Failed, ReplicaState::Waiting]) {
        WorkloadState::Failed
    } else if any(&[
        ReplicaState::Created,
        ReplicaState::Starting,
        ReplicaState::Stopping,
        ReplicaState::Stopped,
    ]) {
        WorkloadState::Starting
    } else if any(&[
        ReplicaState::Pausing,
        ReplicaState::Paused,
        ReplicaState::Resuming,
    ]) {
        WorkloadState::Resuming
    } else if !states.is_empty() && states.iter().all(|s| *s == ReplicaState::Completed) {
        WorkloadState::Completed
    } else {
        WorkloadState::Running
    }
}

/// As [`sum`], of a workload that is meant to be paused: what waits to be started again does so
/// until it is resumed.
fn sum_paused(components: &[ComponentStatus]) -> WorkloadState {
    let states = states(components);
    let settled = |state: &ReplicaState| {
        matches!(
            state,
            ReplicaState::Paused | ReplicaState::Waiting | ReplicaState::Completed
        )
    };
    if states.contains(&ReplicaState::Failed) {
        WorkloadState::Failed
    } else if states.iter().all(settled) {
        WorkloadState::Paused
    } else {
        WorkloadState::Pausing
    }
}

fn states(components: &[ComponentStatus]) -> Vec<ReplicaState> {
    let replicas = components.iter().flat_map(|c| &c.replicas);
    replicas.map(|replica| replica.state).collect()
}

fn is_running(shared: &Shared, workload: &Name) -> bool {
    shared
        .reconciler()
        .replicas()
        .any(|(key, _)| key.workload == *workload)
}
