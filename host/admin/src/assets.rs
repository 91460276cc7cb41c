//! Assets and leases, as the admin API tells them, and the calls about them.

use serde::{Deserialize, Serialize};
use types::{
    Amount, AssetAddress, AssetFacts, AssetId, AssetPolicy, AssetType, Digest, LeaseId, Name,
    NodeId, Principal,
};
use utoipa::ToSchema;

use crate::answer::TransactionReport;
use crate::client::{Client, ClientError};

/// Assets that a node lists at most.
pub const ASSETS_LISTED_MAX: usize = 10_000;

/// All assets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssetList {
    /// Height at which this is so.
    pub height: u64,
    /// The assets, in id order; at most 10,000.
    pub assets: Vec<AssetStatus>,
    /// How many more there are.
    pub more: u64,
}

/// One asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssetStatus {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AssetId,
    /// Where it is: this only locates it.
    #[schema(value_type = String)]
    pub address: AssetAddress,
    /// The node that has it.
    #[schema(value_type = String)]
    pub host: NodeId,
    /// Who decides about it.
    #[schema(value_type = String)]
    pub owner: Principal,
    /// What its host measured last.
    #[schema(value_type = Object)]
    pub facts: AssetFacts,
    /// On what terms it is shared.
    #[schema(value_type = Object)]
    pub policy: AssetPolicy,
    /// Whether it is drained.
    pub drained: bool,
    /// Height of the block that registered it.
    pub registered_at: u64,
    /// Ledger time of the last measurement, Unix milliseconds.
    pub measured_ms: u64,
    /// How much may be leased in all, in the base unit of the type.
    #[schema(value_type = u64)]
    pub shared: Amount,
    /// How much is leased.
    #[schema(value_type = u64)]
    pub leased: Amount,
    /// The leases that hold, in the order of their grants.
    pub leases: Vec<LeaseStatus>,
    /// What its host keeps, and how it stands with challenges.
    #[serde(default)]
    pub space: SpaceStatus,
}

/// What the host of an asset keeps, and how it stands with challenges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceStatus {
    /// The contents that it committed to, in the order of the commitments.
    pub kept: Vec<KeptStatus>,
    /// Height of the challenge that is open.
    pub open_at: Option<u64>,
    /// Height of the last answer that counted.
    pub proven_at: Option<u64>,
    /// Height at which a challenge was settled against it, unless it answered one since.
    pub failed_at: Option<u64>,
}

/// One content that a host keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptStatus {
    /// Its digest.
    #[schema(value_type = String)]
    pub root: Digest,
    /// Its length.
    pub bytes: u64,
}

/// What the host of an asset shows of it now, for the proof of space of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssetAnswer {
    /// Height of the block whose beacon asked.
    pub anchor_height: u64,
    /// Digest of that block.
    #[schema(value_type = String)]
    pub anchor_digest: Digest,
    /// The signed answer in its wire form, hex.
    pub answer: String,
}

/// What a node is to keep for an asset of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepRequest {
    /// The digest of an artifact.
    #[schema(value_type = String)]
    pub root: Digest,
}

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseStatus {
    /// Its id.
    #[schema(value_type = String)]
    pub id: LeaseId,
    /// Of which asset.
    #[schema(value_type = String)]
    pub asset: AssetId,
    /// Whose it is.
    #[schema(value_type = String)]
    pub holder: Principal,
    /// How much of the asset, in the base unit of its type.
    #[schema(value_type = u64)]
    pub amount: Amount,
    /// Ledger time of the grant, Unix milliseconds.
    pub granted_ms: u64,
    /// Ledger time at which it ends, Unix milliseconds.
    pub expires_ms: u64,
    /// What is left of it, in ledger time, milliseconds.
    pub remaining_ms: u64,
}

/// The leases of one holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseList {
    /// Height at which this is so.
    pub height: u64,
    /// Those that hold, in the order of their grants.
    pub leases: Vec<LeaseStatus>,
}

/// The component that a container is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerName {
    /// The workload that is deployed.
    #[schema(value_type = String)]
    pub workload: Name,
    /// Its component.
    #[schema(value_type = String)]
    pub component: Name,
}

/// What a node is to measure and to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// What kind of thing: cpu, memory, storage, network, gpu or container.
    #[schema(value_type = String)]
    pub asset_type: AssetType,
    /// Of which component, if it is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// Who is to decide about it.
    #[schema(value_type = String)]
    pub owner: Principal,
    /// On what terms it is shared.
    #[schema(value_type = Object)]
    pub policy: AssetPolicy,
}

/// What a node registered or measured again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegisterReport {
    /// The asset.
    #[schema(value_type = String)]
    pub asset: AssetId,
    /// What was measured.
    #[schema(value_type = Object)]
    pub facts: AssetFacts,
    /// The transaction that says so.
    pub transaction: TransactionReport,
}

impl Client {
    /// All assets.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn assets(&self) -> Result<AssetList, ClientError> {
        self.get("/v1/assets").await
    }

    /// One asset with its leases.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none.
    pub async fn asset(&self, asset: &AssetId) -> Result<AssetStatus, ClientError> {
        self.get(&format!("/v1/assets/{asset}")).await
    }

    /// Lets the node measure what it has of one type, and register it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has none, or the ledger refuses it.
    pub async fn register_asset(
        &self,
        request: &RegisterRequest,
    ) -> Result<RegisterReport, ClientError> {
        self.post("/v1/assets", request).await
    }

    /// Lets the node measure an asset of its own again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is another's, or cannot be measured.
    pub async fn measure_asset(&self, asset: &AssetId) -> Result<RegisterReport, ClientError> {
        self.post(&format!("/v1/assets/{asset}/measure"), &()).await
    }

    /// What the host of an asset shows of it now; any member passes the question on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none, or its host does not answer.
    pub async fn asset_answer(&self, asset: &AssetId) -> Result<AssetAnswer, ClientError> {
        self.get(&format!("/v1/assets/{asset}/answer")).await
    }

    /// Lets the node commit to keep an artifact for an asset of its own.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has no such artifact, or the ledger refuses it.
    pub async fn keep(
        &self,
        asset: &AssetId,
        request: &KeepRequest,
    ) -> Result<TransactionReport, ClientError> {
        self.post(&format!("/v1/assets/{asset}/keep"), request)
            .await
    }

    /// One lease.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none that holds.
    pub async fn lease(&self, lease: &LeaseId) -> Result<LeaseStatus, ClientError> {
        self.get(&format!("/v1/leases/{lease}")).await
    }

    /// The leases that a principal holds.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn leases(&self, holder: &Principal) -> Result<LeaseList, ClientError> {
        self.get(&format!("/v1/holders/{holder}/leases")).await
    }
}
