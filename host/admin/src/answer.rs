//! What nodes answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{ComponentKind, Digest, FabricId, Limits, Name, NodeId, Principal, WorkloadSpec};
use utoipa::ToSchema;

use crate::executions::ReplicationReport;
use crate::ledger::RulesStatus;

/// A node and the fabric it is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The program's version.
    pub version: String,
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Its fabric.
    #[schema(value_type = String)]
    pub fabric: FabricId,
    /// Height of the last final block.
    pub height: u64,
    /// Root of the state after it, in hex.
    pub state_root: String,
    /// Its time, Unix milliseconds.
    pub block_time_ms: u64,
    /// The rules in force, those that follow, and those that the program knows.
    pub rules: RulesStatus,
    /// Nodes with a vote.
    pub validators: u32,
    /// Transactions that wait for a block.
    pub waiting_transactions: u32,
    /// Whether enough validators are within reach, where this node votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumStatus>,
    /// Where HTTP for workloads is served, if it is.
    pub http: Option<String>,
    /// Where HTTPS for workloads is served, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// What HTTPS shows of itself, if it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_certificate: Option<HttpsCertificateStatus>,
    /// Where the node keeps its data.
    pub data_directory: String,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Deployments of the fabric.
    pub deployments: u32,
    /// Replicas that run here.
    pub replicas_running: u32,
    /// Instances that may live at once: slots of the pool.
    pub instances_max: u32,
    /// Slots that are free now.
    pub instances_free: u32,
    /// The room of its artifacts.
    pub artifacts: ArtifactsStatus,
}

/// What agreement needs and what a validator sees of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuorumStatus {
    /// Validators that must take part in every block, this node included.
    pub needed: u32,
    /// Validators that are heard, this node included.
    pub reached: u32,
    /// Validators that are not heard: not connected, blocked, or silent while there is work.
    #[schema(value_type = Vec<String>)]
    pub missing: Vec<NodeId>,
    /// How long the oldest waiting transaction has been waiting; absent while none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_ms: Option<u64>,
}

/// How much room a node's artifacts take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactsStatus {
    /// What they may take together.
    pub quota_bytes: u64,
    /// What they take, with what is being written.
    pub used_bytes: u64,
    /// The part of it that deployments hold. The rest goes when room is needed.
    pub pinned_bytes: u64,
}

/// The certificate that clients of HTTPS are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpsCertificateStatus {
    /// Where it comes from: `files` or `acme`.
    pub source: String,
    /// The DNS names that it is good for; empty as long as there is none.
    pub names: Vec<String>,
    /// Who issued it; none as long as there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// When it expires, Unix milliseconds; none as long as there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Why there is none, or why it is not renewed; none if all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it is tried again, Unix milliseconds, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

/// What the ledger knows of a signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalStatus {
    /// The signer.
    #[schema(value_type = String)]
    pub principal: Principal,
    /// Its role.
    pub role: String,
    /// The nonce that its next transaction must carry.
    pub nonce: u64,
    /// The fabric, for which transactions are signed.
    #[schema(value_type = String)]
    pub fabric: FabricId,
    /// The current height, from which expiry is counted.
    pub height: u64,
}

/// The secrets of a node, without their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// Their names.
    #[schema(value_type = Vec<String>)]
    pub secrets: Vec<Name>,
}

/// A stored artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactReport {
    /// Its digest.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// What is in it, if it is a component.
    pub component: Option<Inspection>,
}

/// What a component binary wants and offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Inspection {
    /// How it is driven.
    #[schema(value_type = String)]
    pub kind: ComponentKind,
    /// Interfaces that it imports, with versions.
    pub imports: Vec<String>,
    /// Functions that it exports, with signatures.
    pub exports: Vec<String>,
}

/// Whether a workload could run here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// What stands in its way; empty if nothing does.
    pub problems: Vec<ImportProblem>,
    /// Where its replicas would be, by component and index, if it were deployed now.
    #[serde(default)]
    pub placements: Vec<PlannedReplica>,
}

/// Where a replica would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedReplica {
    /// Of this component.
    #[schema(value_type = String)]
    pub component: Name,
    /// Which replica of it.
    pub index: u16,
    /// On this node.
    #[schema(value_type = String)]
    pub node: NodeId,
}

/// One reason why a component cannot run as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportProblem {
    /// Which component.
    #[schema(value_type = String)]
    pub component: Name,
    /// What is wrong and what to do.
    pub message: String,
}

/// A transaction that is in a final, durable block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionReport {
    /// Its digest.
    #[schema(value_type = String)]
    pub id: Digest,
    /// The block's height: the generation of what it deployed.
    pub height: u64,
    /// What became of it.
    pub outcome: Acceptance,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Acceptance {
    /// It is part of the state.
    Applied,
    /// It changed nothing.
    Refused {
        /// Machine-readable reason: `nonce`, `exists`, `generation`, `route-taken`, …
        reason: String,
        /// The same for people.
        message: String,
    },
}

/// All workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadList {
    /// In name order.
    pub workloads: Vec<WorkloadStatus>,
}

/// A deployment: what was admitted and what is observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadStatus {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// Height of the block that last changed it.
    pub generation: u64,
    /// Height of the block that first admitted it.
    pub created_at: u64,
    /// Who deployed it last.
    #[schema(value_type = String)]
    pub owner: Principal,
    /// All of its replicas, summed up.
    pub state: WorkloadState,
    /// Why it is in that state, where that needs a reason.
    pub reason: Option<String>,
    /// Its components.
    pub components: Vec<ComponentStatus>,
    /// The admitted workload itself.
    #[schema(value_type = Object)]
    pub spec: WorkloadSpec,
}

/// A deployment's observed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadState {
    /// Some replica is not there yet.
    Starting,
    /// Every replica runs.
    Running,
    /// Every replica is a command that ended well.
    Completed,
    /// Some replica failed.
    Failed,
    /// Nothing of it is meant to run, and something still does.
    Stopping,
    /// Nothing of it is meant to run, and nothing does.
    Stopped,
    /// It is meant to be paused, and some replica is not yet.
    Pausing,
    /// Every replica is there and does nothing.
    Paused,
    /// Some replica has not gone on yet.
    Resuming,
}

/// One component of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComponentStatus {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// How it is driven.
    #[schema(value_type = String)]
    pub kind: ComponentKind,
    /// What runs.
    #[schema(value_type = String)]
    pub artifact: Digest,
    /// How many replicas are wanted.
    pub replicas_wanted: u16,
    /// Requests for these reach it.
    pub routes: Vec<String>,
    /// Exports that can be invoked, with signatures.
    pub exports: Vec<String>,
    /// Its admitted bounds.
    #[schema(value_type = Object)]
    pub limits: Limits,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// If a replica is not where it should be: what each node has to say to that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_place: Vec<NodeMisfit>,
}

/// Why a node takes no replica of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeMisfit {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The reason, for people.
    pub reason: String,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaStatus {
    /// Its index within the component.
    pub index: u16,
    /// Where it is placed.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Its observed state.
    pub state: ReplicaState,
    /// What it waits for while it starts, where that can take long.
    pub activity: Option<Activity>,
    /// The last failure or breach, if there was one.
    pub reason: Option<String>,
    /// Milliseconds until it is started again, while it waits for that.
    pub restart_in_ms: Option<u64>,
    /// Milliseconds from its end to that start: doubled with every failure, and capped.
    pub backoff_ms: Option<u64>,
    /// Starts after the first.
    pub restarts: u64,
    /// Calls that ended.
    pub calls: u64,
    /// Calls that run now.
    pub in_flight: u32,
    /// Calls that trapped or broke a limit.
    pub failures: u64,
    /// Cpu time of all calls.
    pub cpu_ms: u64,
    /// Largest memory of one instance.
    pub memory_peak_bytes: u64,
    /// The latest checkpoint, if it is a stateful library that has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointStatus>,
}

/// What is on disk of a stateful library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointStatus {
    /// Calls that led to it.
    pub sequence: u64,
    /// Its size.
    pub bytes: u64,
}

/// What is being done before a replica can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// `waiting for the compiler`, `loading compiled code`, `compiling`.
    pub what: String,
    /// For how many milliseconds so far.
    pub for_ms: u64,
}

/// A replica's observed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaState {
    /// Placed; its node has not begun to start it.
    Created,
    /// Being fetched, compiled, checked.
    Starting,
    /// Takes calls, or is a command that runs.
    Running,
    /// Asked to halt.
    Pausing,
    /// There with all that it holds, and does nothing.
    Paused,
    /// Asked to go on.
    Resuming,
    /// Waits before it is started again.
    Waiting,
    /// A command that ended well.
    Completed,
    /// Ended badly and is not started again.
    Failed,
    /// Lets its calls end.
    Stopping,
    /// Gone.
    Stopped,
}

/// One line of a guest's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it came, Unix milliseconds.
    pub time_ms: u64,
    /// From which component.
    #[schema(value_type = String)]
    pub component: Name,
    /// From which replica of it.
    pub replica: u16,
    /// On which stream.
    pub stream: LogStream,
    /// The line, without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The node, about the replica: starts, breaches, traps.
    Node,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishAnswer {
    /// Components that it was queued for.
    pub subscribers: u32,
}

/// What an export returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvokeAnswer {
    /// In WAVE syntax; empty if the export returns nothing.
    pub result: String,
    /// Fuel that the guest used, if the component has a budget or is deterministic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_used: Option<u64>,
    /// How nodes ran it, if more than one did or a receipt was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationReport>,
    /// The proof of the execution, hex, if it was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} s so far", self.what, self.for_ms / 1_000)
    }
}

/// Writes a state as JSON and the command line spell it.
macro_rules! kebab_display {
    ($($state:ident { $($variant:ident => $text:literal),+ $(,)? })+) => {$(
        impl fmt::Display for $state {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text),+ })
            }
        }
    )+};
}

kebab_display! {
    WorkloadState {
        Starting => "starting", Running => "running", Completed => "completed",
        Failed => "failed", Stopping => "stopping", Stopped => "stopped",
        Pausing => "pausing", Paused => "paused", Resuming => "resuming",
    }
    ReplicaState {
        Created => "created", Starting => "starting", Running => "running",
        Pausing => "pausing", Paused => "paused", Resuming => "resuming",
        Waiting => "waiting", Completed => "completed", Failed => "failed",
        Stopping => "stopping", Stopped => "stopped",
    }
    LogStream { Stdout => "stdout", Stderr => "stderr", Node => "node" }
}
