//! The admitted form of a workload: what the ledger stores and what nodes act on.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::constraints::Constraints;
use crate::digest::Digest;
use crate::guest_path::GuestPath;
use crate::limits::Limits;
use crate::name::Name;
use crate::replication::Replication;
use crate::route::Route;
use crate::topic::Topic;

/// A workload with every reference resolved to a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// Unique within a fabric.
    pub name: Name,
    /// At least one, with distinct names.
    pub components: Vec<ComponentSpec>,
}

/// One component of a workload: what runs, how often, within which bounds and rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// Unique within its workload.
    pub name: Name,
    /// The component binary.
    pub artifact: Digest,
    /// What the binary exports, as the node that took it read it.
    pub kind: ComponentKind,
    /// Placed copies; 0 keeps the deployment and runs nothing.
    pub replicas: u16,
    /// Arguments of a command, without the program name.
    pub args: Vec<String>,
    /// Environment variables; nothing of the host's environment is passed on.
    pub env: BTreeMap<String, String>,
    /// Settings that the guest reads through `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// Names of secrets whose values the guest reads through `wasi:config/store`. The values are
    /// with the node, never here.
    pub secrets: Vec<Name>,
    /// Read-only files.
    pub files: Vec<FileMount>,
    /// Bounds of each instance.
    pub limits: Limits,
    /// Rights; what is not here is denied.
    pub capabilities: Vec<Capability>,
    /// Where HTTP requests come from, for HTTP components.
    pub routes: Vec<Route>,
    /// Topics whose messages go to it, for workers.
    pub subscriptions: Vec<Topic>,
    /// What happens when a replica ends.
    pub restart: RestartPolicy,
    /// Requests that one instance may answer, one after another, for HTTP components; 1 gives each
    /// request a fresh instance. More is faster and lets requests share state and fate.
    pub requests_per_instance: NonZeroU32,
    /// Runs it under the deterministic profile, with this seed for its random numbers.
    pub deterministic_seed: Option<u64>,
    /// How many nodes run an invocation that says nothing else; more than one takes a seed.
    #[serde(default)]
    pub replicate: Replication,
    /// Where its replicas may go.
    #[serde(default)]
    pub placement: Constraints,
}

impl ComponentSpec {
    /// A component with one replica, default limits and no rights.
    #[must_use]
    pub fn new(name: Name, kind: ComponentKind, artifact: Digest) -> Self {
        Self {
            name,
            artifact,
            kind,
            replicas: 1,
            args: Vec::new(),
            env: BTreeMap::new(),
            config: BTreeMap::new(),
            secrets: Vec::new(),
            files: Vec::new(),
            limits: Limits::default(),
            capabilities: Vec::new(),
            routes: Vec::new(),
            subscriptions: Vec::new(),
            restart: RestartPolicy::default(),
            requests_per_instance: NonZeroU32::MIN,
            deterministic_seed: None,
            replicate: Replication::One,
            placement: Constraints::default(),
        }
    }
}

impl ComponentSpec {
    /// Whether a replica is never on two nodes at once, also if one of them is cut off.
    #[must_use]
    pub fn is_singleton(&self) -> bool {
        self.placement.singleton || self.kind == ComponentKind::Command
    }
}

/// What a component exports, and so how it is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentKind {
    /// Exports `wasi:http/incoming-handler`: one fresh instance per request.
    Http,
    /// Exports `wasi:cli/run`: runs once per start.
    Command,
    /// Exports typed functions only: runs when invoked.
    Library,
    /// Exports `wasi:messaging/incoming-handler`: one fresh instance per message.
    Worker,
}

impl ComponentKind {
    /// The kind as commands and tables print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Command => "command",
            Self::Library => "library",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happens when a replica ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Start again after a failure, with growing pauses.
    #[default]
    OnFailure,
    /// Start again whatever the end was, with growing pauses.
    Always,
    /// Never start again.
    Never,
}

/// A read-only file that the guest finds at `path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMount {
    /// Where the guest finds it.
    pub path: GuestPath,
    /// Its content.
    pub artifact: Digest,
}
