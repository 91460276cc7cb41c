//! What nodes answer about the fabric: members, certificates, tickets, roles, sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId, Principal, PublicKey};
use utoipa::ToSchema;

/// Who belongs to a fabric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FabricStatus {
    /// The fabric.
    #[schema(value_type = String)]
    pub fabric: FabricId,
    /// Height at which this is so.
    pub height: u64,
    /// Everyone who is or was a member, in id order.
    pub members: Vec<MemberStatus>,
    /// Tickets that are still remembered.
    pub invites: Vec<InviteStatus>,
}

/// One node that is or was a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberStatus {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// `member`, `left` or `evicted`.
    pub membership: String,
    /// Why it was evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it founded the fabric.
    pub founder: bool,
    /// Whether it has a vote.
    pub validator: bool,
    /// Height of the block in which it joined; 0 for a founder.
    pub joined_at: u64,
    /// Its logged certificates, oldest first.
    pub certificates: Vec<CertificateStatus>,
    /// `alive`, `suspect`, `down` or `unknown`, as the answering node believes now; no part of the
    /// ledger.
    pub liveness: String,
    /// When the answering node itself heard it last, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at_ms: Option<u64>,
    /// Where the answering node knows it to be, the best first.
    pub addresses: Vec<AddressStatus>,
    /// Members through which it says that it is reached, the best first.
    #[schema(value_type = Vec<String>)]
    pub relays: Vec<NodeId>,
    /// Replicas that are placed on it.
    pub placements: u32,
    /// Whether it takes more: `open`, `cordoned` or `draining`; `gone` if more than a third of the
    /// validators say that it is.
    pub takes: String,
    /// What constraints of components may ask for.
    pub labels: BTreeMap<String, String>,
}

/// One address of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddressStatus {
    /// `IP:PORT`.
    pub address: String,
    /// Who says so: `record` (the member itself, signed), `ticket` (a ticket or an operator), `lan`
    /// (somebody on the local network), `own` (the answering node about itself).
    pub source: String,
}

/// One logged certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateStatus {
    /// BLAKE3 of its DER bytes.
    #[schema(value_type = String)]
    pub fingerprint: Digest,
    /// `good`, `expired`, `not yet valid` or `revoked`, by the answering node's clock.
    pub state: String,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// First moment at which it is good, Unix milliseconds.
    pub not_before_ms: u64,
    /// Last moment at which it is good, Unix milliseconds.
    pub not_after_ms: u64,
    /// Height of the block that logged it.
    pub issued_at: u64,
}

/// One ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteStatus {
    /// The public half of its secret.
    #[schema(value_type = String)]
    pub ticket: PublicKey,
    /// Last moment at which it is good, Unix milliseconds.
    pub expires_at_ms: u64,
    /// Who opened it.
    #[schema(value_type = String)]
    pub by: Principal,
    /// Who used it.
    #[schema(value_type = Option<String>)]
    pub used_by: Option<NodeId>,
}

/// Everyone who may sign transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleList {
    /// In key order.
    pub principals: Vec<RoleStatus>,
}

/// What one principal may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleStatus {
    /// The principal.
    #[schema(value_type = String)]
    pub principal: Principal,
    /// `admin`, `deployer`, `viewer`, `node` or `nothing`.
    pub role: String,
}

/// A final block with what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockProof {
    /// The block's canonical bytes, hex.
    pub block: String,
    /// Its certificate of finality, hex; none where a later block's covers it.
    pub certificate: Option<String>,
}

/// What an entry of the state is, or that there is none, with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateProof {
    /// Height of the block whose state this is.
    pub height: u64,
    /// Root of that state, hex.
    pub state_root: String,
    /// The proof's bytes, hex.
    pub proof: String,
}

/// Where a node is reached by others, and whom it has sessions with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoqStatus {
    /// Where it listens for peers, if it does.
    pub listening: Option<String>,
    /// Addresses that peers may try, best first.
    pub addresses: Vec<String>,
    /// Fingerprint of the certificate that it shows.
    #[schema(value_type = Option<String>)]
    pub certificate: Option<Digest>,
    /// Its sessions, in order of peers.
    pub sessions: Vec<SessionStatus>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionStatus {
    /// The peer.
    #[schema(value_type = String)]
    pub peer: PublicKey,
    /// `member`, `unlogged`, `stranger` or `operator`.
    pub standing: String,
    /// Where the peer is, or the node that relays for it.
    pub remote: String,
    /// The member that relays the session, if the two cannot reach each other.
    #[schema(value_type = Option<String>)]
    pub via: Option<PublicKey>,
    /// `dialled` if this node opened it, else `accepted`.
    pub direction: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Round-trip time, microseconds.
    pub rtt_us: u64,
    /// Lost packets per million sent.
    pub loss_ppm: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// The class of its link, by what was measured: `100 Mb/s`, `1 Gb/s`, `2.5 Gb/s`,
    /// `above 2.5 Gb/s`.
    pub tier: String,
    /// What its path showed; nothing as long as it carried too little to tell.
    pub measured: Option<MeasuredStatus>,
    /// Most bytes per second towards the peer, if an operator capped it.
    pub cap_bytes_per_s: Option<u64>,
}

/// What the path of a session showed that it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeasuredStatus {
    /// Bytes that it carried in a second, in one direction.
    pub bytes_per_s: u64,
    /// Round-trip time, microseconds.
    pub rtt_us: u64,
    /// Lost packets per million sent, of the last million or so.
    pub loss_ppm: u32,
    /// When `bytes_per_s` was read, Unix milliseconds.
    pub at_ms: u64,
}
