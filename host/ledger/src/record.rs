//! Values of state entries and their canonical bytes: one version byte, then postcard.
//!
//! Versions are never reused. A new layout gets the next number and the old one stays readable.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::{Name, NodeId, Principal, PublicKey, WorkloadSpec};

use crate::fault::JoinedRecord;
use crate::key::StateKey;
use crate::rate::SpentRate;

/// A value that can be stored.
pub(crate) trait Record: Serialize + DeserializeOwned {}

const VERSION: u8 = 1;

/// Stored bytes that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRecordError {
    /// Written by a newer release.
    #[error("state entry `{key}` has version {version}: this release reads up to {VERSION}")]
    Version {
        /// Which entry.
        key: StateKey,
        /// The version it carries.
        version: u8,
    },
    /// Not what any release wrote.
    #[error("state entry `{key}` does not decode")]
    Malformed {
        /// Which entry.
        key: StateKey,
    },
}

pub(crate) fn encode<R: Record>(record: &R) -> Vec<u8> {
    // Serialising to a growing buffer fails only for types that postcard does not know.
    postcard::to_extend(record, vec![VERSION])
        .unwrap_or_else(|error| panic!("a record must be serialisable: {error}"))
}

pub(crate) fn decode<R: Record>(key: &StateKey, bytes: &[u8]) -> Result<R, DecodeRecordError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body)
            .map_err(|_| DecodeRecordError::Malformed { key: key.clone() }),
        Some((&version, _)) => Err(DecodeRecordError::Version {
            key: key.clone(),
            version,
        }),
        None => Err(DecodeRecordError::Malformed { key: key.clone() }),
    }
}

/// Decodes what this state machine wrote itself, under a state root that was checked.
pub(crate) fn read_trusted<R: Record>(key: &StateKey, bytes: &[u8]) -> R {
    decode(key, bytes).unwrap_or_else(|error| panic!("authenticated state is unreadable: {error}"))
}

/// The fabric as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricRecord {
    /// Members, in id order; bounded by [`FabricRecord::NODES_MAX`].
    pub nodes: Vec<NodeId>,
    /// Nodes with a vote.
    pub validators: Vec<PublicKey>,
    /// Live deployments.
    pub deployments: u32,
}

impl FabricRecord {
    /// Most member nodes: the list is one entry and read by every deployment.
    pub const NODES_MAX: usize = 1_024;
    /// Most deployments of a fabric.
    pub const DEPLOYMENTS_MAX: u32 = 10_000;

    /// All that belong to the fabric, founders and those that `joined`, in id order.
    pub(crate) fn members(&self, joined: &JoinedRecord) -> Vec<NodeId> {
        let joined = joined.nodes.iter().map(|(node, _)| node);
        let mut members: Vec<NodeId> = self.nodes.iter().chain(joined).copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }
}

/// What a principal may do. New roles are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything: membership, certificates and roles too.
    Admin,
    /// Deploys, changes and removes workloads.
    Deployer,
    /// Looks.
    Viewer,
    /// A member node: speaks for itself only.
    Node,
    /// Had a role once. The record stays for its nonce.
    Nothing,
}

impl Role {
    /// Whether who has `self` may do what needs `needed`.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        match needed {
            Self::Admin => self == Self::Admin,
            Self::Deployer => matches!(self, Self::Admin | Self::Deployer),
            Self::Viewer => matches!(self, Self::Admin | Self::Deployer | Self::Viewer),
            Self::Node => self == Self::Node,
            Self::Nothing => true,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Deployer => "deployer",
            Self::Viewer => "viewer",
            Self::Node => "node",
            Self::Nothing => "nothing",
        })
    }
}

/// A signer that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalRecord {
    /// What it may do.
    pub role: Role,
    /// The nonce that its next transaction must carry.
    pub nonce: u64,
    /// What it has spent of its rate.
    pub rate: SpentRate,
}

impl PrincipalRecord {
    /// Of one that has signed nothing yet.
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            nonce: 0,
            rate: SpentRate::default(),
        }
    }
}

/// Whether a deployment is meant to run. New states are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesiredState {
    /// Its replicas are placed and started.
    Running,
    /// It keeps its name and routes, and nothing of it runs.
    Stopped,
    /// Its replicas are placed and there, and do nothing.
    Paused,
}

impl DesiredState {
    /// Whether its replicas have places.
    #[must_use]
    pub const fn is_placed(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What was deployed, by whom, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// The workload.
    pub spec: WorkloadSpec,
    /// Height of the block that admitted or last changed it: unique and growing.
    pub generation: u64,
    /// Height of the block that first admitted it.
    pub created_at: u64,
    /// Who deployed it last.
    pub owner: Principal,
    /// Whether it is meant to run.
    pub desired: DesiredState,
}

/// The fact that one replica runs on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRecord {
    /// Where.
    pub node: NodeId,
    /// The deployment's generation that placed it: a node that runs an older one replaces it.
    pub generation: u64,
}

/// The fact that a route leads to one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// Of this workload.
    pub workload: Name,
    /// This component.
    pub component: Name,
}

impl Record for FabricRecord {}
impl Record for PrincipalRecord {}
impl Record for DeploymentRecord {}
impl Record for PlacementRecord {}
impl Record for RouteRecord {}
