//! Names of state entries. One entry, one key, one place that spells it.

use std::fmt;

use crate::guest::RecordKey;
use types::{AssetId, Digest, LeaseId, Name, NodeId, Principal, PublicKey, Route};

/// The name of one entry of the ledger's state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(Vec<u8>);

/// Bytes that cannot name an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a state key has 1 to {max} bytes, not {bytes}", max = StateKey::BYTES_MAX)]
pub struct StateKeyError {
    bytes: usize,
}

impl StateKey {
    /// Longest key: a route of a 253-byte host and a 256-byte path fits.
    pub const BYTES_MAX: usize = 640;

    /// Takes a key back from storage.
    ///
    /// # Errors
    /// [`StateKeyError`] if `bytes` is empty or too long.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, StateKeyError> {
        if (1..=Self::BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(StateKeyError { bytes: bytes.len() })
        }
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the entry says how a node stands: its membership, a certificate.
    #[must_use]
    pub fn is_about_standing(&self) -> bool {
        self.0.starts_with(b"member/") || self.0.starts_with(b"certificate/")
    }

    /// Whether the entry says what the host of an asset keeps.
    #[must_use]
    pub fn is_about_space(&self) -> bool {
        self.0.starts_with(b"asset-space/")
    }

    /// The workload that this entry is of, if it is a deployment or a placement.
    #[must_use]
    pub fn workload(&self) -> Option<Name> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let mut parts = text.split('/');
        match parts.next()? {
            "deployment" | "placement" => Name::new(parts.next()?).ok(),
            _ => None,
        }
    }

    fn text(text: String) -> Self {
        debug_assert!((1..=Self::BYTES_MAX).contains(&text.len()), "{text}");
        Self(text.into_bytes())
    }

    /// The least key that can begin with `prefix`.
    pub(crate) fn prefix(prefix: &str) -> Self {
        Self::text(prefix.to_owned())
    }

    /// The fabric itself: [`crate::FabricRecord`].
    #[must_use]
    pub fn fabric() -> Self {
        Self::text("fabric".to_owned())
    }

    /// A signer: [`crate::PrincipalRecord`].
    #[must_use]
    pub fn principal(principal: &Principal) -> Self {
        Self::text(format!("principal/{principal}"))
    }

    /// A member node: [`crate::NodeRecord`].
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self::text(format!("node/{node}"))
    }

    /// The workloads with replicas on a node: [`crate::NodeWorkloadsRecord`].
    #[must_use]
    pub fn node_workloads(node: &NodeId) -> Self {
        Self::text(format!("node-workloads/{node}"))
    }

    /// The workloads of which a replica is not where it should be: [`crate::UnplacedRecord`].
    #[must_use]
    pub fn unplaced() -> Self {
        Self::text("unplaced".to_owned())
    }

    /// How a node stands to the fabric: [`crate::MemberRecord`].
    #[must_use]
    pub fn member(node: &NodeId) -> Self {
        Self::text(format!("member/{node}"))
    }

    /// A logged certificate: [`crate::CertificateRecord`].
    #[must_use]
    pub fn certificate(fingerprint: &Digest) -> Self {
        Self::text(format!("certificate/{}", fingerprint.hex()))
    }

    /// A ticket: [`crate::InviteRecord`].
    #[must_use]
    pub fn invite(ticket: &PublicKey) -> Self {
        Self::text(format!("invite/{ticket}"))
    }

    /// The tickets that have a record: [`crate::InvitesRecord`].
    #[must_use]
    pub fn invites() -> Self {
        Self::text("invites".to_owned())
    }

    /// Votes for nodes without a ticket: [`crate::CandidatesRecord`].
    #[must_use]
    pub fn candidates() -> Self {
        Self::text("candidates".to_owned())
    }

    /// Who will have a vote, and votes about it: [`crate::CommitteeRecord`].
    #[must_use]
    pub fn committee() -> Self {
        Self::text("committee".to_owned())
    }

    /// Which rules are in force, and votes about them: [`crate::RulesRecord`].
    #[must_use]
    pub fn rules() -> Self {
        Self::text("rules".to_owned())
    }

    /// What a validator was convicted of: [`crate::ConvictionRecord`].
    #[must_use]
    pub fn conviction(validator: &PublicKey) -> Self {
        Self::text(format!("conviction/{validator}"))
    }

    /// Who says that a node is gone: [`crate::AbsenceRecord`].
    #[must_use]
    pub fn absence(node: &NodeId) -> Self {
        Self::text(format!("absence/{node}"))
    }

    /// The nodes of which that is said: [`crate::AbsencesRecord`].
    #[must_use]
    pub fn absences() -> Self {
        Self::text("absences".to_owned())
    }

    /// What is counted: [`crate::CensusRecord`].
    #[must_use]
    pub fn census() -> Self {
        Self::text("census".to_owned())
    }

    /// A deployment: [`crate::DeploymentRecord`].
    #[must_use]
    pub fn deployment(workload: &Name) -> Self {
        Self::text(format!("deployment/{workload}"))
    }

    /// One placed replica: [`crate::PlacementRecord`].
    #[must_use]
    pub fn placement(workload: &Name, component: &Name, index: u16) -> Self {
        Self::text(format!("placement/{workload}/{component}/{index:05}"))
    }

    /// What a guest wrote down: [`crate::GuestRecord`].
    #[must_use]
    pub fn guest_record(workload: &Name, key: &RecordKey) -> Self {
        Self::text(format!("record/{workload}/{key}"))
    }

    /// The records of one workload: [`crate::GuestRecordsRecord`].
    #[must_use]
    pub fn guest_records(workload: &Name) -> Self {
        Self::text(format!("records/{workload}"))
    }

    /// The records of all workloads: [`crate::RecordTotalsRecord`].
    #[must_use]
    pub fn record_totals() -> Self {
        Self::text("record-totals".to_owned())
    }

    /// What the block at `height` has to free: [`crate::RecordsDueRecord`].
    #[must_use]
    pub fn records_due(height: u64) -> Self {
        Self::text(format!("records-due/{height:020}"))
    }

    /// How often a node changed records of late: [`crate::RecordRateRecord`].
    #[must_use]
    pub fn record_rate(node: &NodeId) -> Self {
        Self::text(format!("record-rate/{node}"))
    }

    /// Something that a node has: [`crate::AssetRecord`].
    #[must_use]
    pub fn asset(asset: &AssetId) -> Self {
        Self::text(format!("asset/{asset}"))
    }

    /// The leases of an asset: [`crate::AssetLeasesRecord`].
    #[must_use]
    pub fn asset_leases(asset: &AssetId) -> Self {
        Self::text(format!("asset-leases/{asset}"))
    }

    /// The assets of all nodes: [`crate::AssetTotalsRecord`].
    #[must_use]
    pub fn asset_totals() -> Self {
        Self::text("asset-totals".to_owned())
    }

    /// The assets of one node: [`crate::NodeAssetsRecord`].
    #[must_use]
    pub fn node_assets(node: &NodeId) -> Self {
        Self::text(format!("node-assets/{node}"))
    }

    /// A lease: [`crate::LeaseRecord`].
    #[must_use]
    pub fn lease(lease: &LeaseId) -> Self {
        Self::text(format!("lease/{lease}"))
    }

    /// The leases of one holder: [`crate::HolderLeasesRecord`].
    #[must_use]
    pub fn holder_leases(holder: &Principal) -> Self {
        Self::text(format!("holder-leases/{holder}"))
    }

    /// What the host of an asset keeps: [`crate::SpaceRecord`].
    #[must_use]
    pub fn asset_space(asset: &AssetId) -> Self {
        Self::text(format!("asset-space/{asset}"))
    }

    /// What is on record against a node: [`crate::FaultRecord`].
    #[must_use]
    pub fn fault(node: &NodeId) -> Self {
        Self::text(format!("fault/{node}"))
    }

    /// Members that joined: [`crate::JoinedRecord`].
    #[must_use]
    pub fn joined() -> Self {
        Self::text("joined".to_owned())
    }

    /// What a principal may hold: [`crate::AllowanceRecord`].
    #[must_use]
    pub fn allowance(principal: &Principal) -> Self {
        Self::text(format!("allowance/{principal}"))
    }

    /// A recent block: [`crate::AnchorRecord`]. Heights share places, [`crate::ANCHORS`] apart.
    #[must_use]
    pub fn anchor(height: u64) -> Self {
        Self::text(format!("anchor/{:03}", height % crate::ANCHORS))
    }

    /// Workload and key, if the entry is what a guest wrote down.
    #[must_use]
    pub fn as_guest_record(&self) -> Option<(Name, RecordKey)> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let (workload, key) = text.strip_prefix("record/")?.split_once('/')?;
        Some((Name::new(workload).ok()?, RecordKey::new(key).ok()?))
    }

    /// A route taken by a component: [`crate::RouteRecord`].
    #[must_use]
    pub fn route(route: &Route) -> Self {
        Self::text(format!("route/{}{}", route.host(), route.path()))
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
