//! Membership, certificates and roles: what transactions ask for and what the state says of them.
//! Never knows a socket, an X.509 structure or a ticket's text.

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId, Principal, PublicKey, Signature};

use crate::allowance::AllowanceRecord;
use crate::genesis::quorum;
use crate::record::{Record, Role};

const JOIN_DOMAIN: &[u8] = b"hypermesh/join/1\0";

/// Longest life of a TLS certificate: a day, so that a stolen key is of little use.
pub const CERTIFICATE_LIFE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// How far a certificate's beginning may lie ahead of ledger time, and its end beyond a day from
/// it: what clocks may differ.
pub const CLOCK_TOLERANCE_MS: u64 = 5 * 60 * 1000;
/// Certificates of one member that have a record: two while it renews, the rest for rotation by
/// hand. One more drops the oldest.
pub const CERTIFICATES_PER_MEMBER_MAX: usize = 8;
/// How long a certificate's record outlives it: within this a peer learns "expired" or "revoked"
/// rather than "never logged".
pub const CERTIFICATE_RECORD_GRACE_MS: u64 = 24 * 60 * 60 * 1000;
/// Tickets that may be open at once: the list is one entry.
pub const INVITES_MAX: usize = 256;
/// Longest life of a ticket.
pub const INVITE_LIFE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// Most members, founders included.
pub const MEMBERS_MAX: u32 = 1_024;
/// Nodes that validators may vote on at once.
pub const CANDIDATES_MAX: usize = 64;
/// Longest text that says why someone was evicted or a certificate revoked.
pub const REASON_BYTES_MAX: usize = 256;
/// Most principals that were ever given a role.
pub const ROLES_MAX: u32 = 4_096;

/// The bytes that a ticket's key signs so that `node` may join `fabric`.
#[must_use]
pub fn join_bytes(fabric: &FabricId, node: &NodeId) -> Vec<u8> {
    [JOIN_DOMAIN, fabric.as_bytes(), node.as_bytes()].concat()
}

/// Who belongs to the fabric. New operations are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipOperation {
    /// Opens a ticket: one node that shows its secret may join. By an admin.
    Invite {
        /// The public half of the ticket's secret.
        ticket: PublicKey,
        /// Last ledger time at which it is good, Unix milliseconds.
        expires_at_ms: u64,
    },
    /// Closes a ticket that was not used. By an admin.
    Withdraw {
        /// Which one.
        ticket: PublicKey,
    },
    /// A vote that a node may join without a ticket. By a validator.
    Approve {
        /// Which node.
        node: NodeId,
    },
    /// Becomes a member. By the node itself.
    Join {
        /// What lets it in.
        admission: Admission,
        /// Its first certificate.
        certificate: CertificateFact,
    },
    /// Is a member no longer; may join again. By the node itself.
    Leave,
    /// Ends another's membership for good: its identity never returns. By an admin.
    Evict {
        /// Which node.
        node: NodeId,
        /// Why, for people; at most [`REASON_BYTES_MAX`] bytes.
        reason: String,
    },
}

/// What lets a node join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// A ticket: its secret signed [`join_bytes`] for this node, so that who sees the transaction
    /// cannot use it for another.
    Ticket {
        /// The public half of the ticket's secret.
        ticket: PublicKey,
        /// Over [`join_bytes`].
        signature: Signature,
    },
    /// More than two thirds of the validators approved.
    Vote,
}

/// What the ledger knows of one TLS certificate when it is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFact {
    /// BLAKE3 of its DER bytes.
    pub fingerprint: Digest,
    /// First moment at which it is good, Unix milliseconds.
    pub not_before_ms: u64,
    /// Last moment at which it is good, Unix milliseconds.
    pub not_after_ms: u64,
}

/// Which certificates are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateOperation {
    /// Logs a new certificate of the signer. By a member node.
    Issue {
        /// The certificate.
        certificate: CertificateFact,
    },
    /// Ends a certificate early. By the member whose it is, or an admin.
    Revoke {
        /// BLAKE3 of its DER bytes.
        fingerprint: Digest,
        /// Why, for people; at most [`REASON_BYTES_MAX`] bytes.
        reason: String,
    },
}

/// What principals may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleOperation {
    /// Gives a role to a principal, or another than it has. By an admin, to someone else.
    Grant {
        /// To whom.
        principal: Principal,
        /// Which one: admin, deployer or viewer.
        role: Role,
    },
    /// Takes a principal's role away. By an admin, from someone else: so one admin is always left.
    Revoke {
        /// From whom.
        principal: Principal,
    },
    /// Says what a principal may hold at once, and what bond it has. By an admin.
    Allow {
        /// Whom.
        principal: Principal,
        /// How much.
        allowance: AllowanceRecord,
    },
}

/// How a node stands to the fabric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// It belongs.
    Member,
    /// It left by itself and may join again.
    Left {
        /// Height of the block in which it left.
        at: u64,
    },
    /// It was put out for good.
    Evicted {
        /// Height of the block.
        at: u64,
        /// Why.
        reason: String,
    },
}

/// One node that is, or was, a member. A founder has one once it logged a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// How it stands.
    pub membership: Membership,
    /// Height of the block in which it joined; 0 for a founder.
    pub joined_at: u64,
    /// Its certificates, oldest first; at most [`CERTIFICATES_PER_MEMBER_MAX`].
    pub certificates: Vec<Digest>,
}

impl MemberRecord {
    /// A founder that logged nothing yet.
    #[must_use]
    pub const fn founder() -> Self {
        Self {
            membership: Membership::Member,
            joined_at: 0,
            certificates: Vec::new(),
        }
    }
}

/// One logged certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Whose it is.
    pub node: NodeId,
    /// First moment at which it is good, Unix milliseconds.
    pub not_before_ms: u64,
    /// Last moment at which it is good, Unix milliseconds.
    pub not_after_ms: u64,
    /// Height of the block that logged it.
    pub issued_at: u64,
    /// When and why it was revoked.
    pub revoked: Option<Revocation>,
}

/// The end of a certificate before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Height of the block that revoked it.
    pub at: u64,
    /// Why.
    pub reason: String,
}

/// One ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRecord {
    /// Last ledger time at which it is good.
    pub expires_at_ms: u64,
    /// Who opened it.
    pub by: Principal,
    /// Who used it.
    pub used_by: Option<NodeId>,
}

/// The tickets that have a record, so that old ones can be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitesRecord {
    /// Each with its expiry, oldest first; at most [`INVITES_MAX`].
    pub open: Vec<(PublicKey, u64)>,
}

/// Who voted for nodes that have no ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidatesRecord {
    /// Node and its votes, oldest first; at most [`CANDIDATES_MAX`] nodes.
    pub candidates: Vec<(NodeId, Vec<PublicKey>)>,
}

impl CandidatesRecord {
    /// Those of `validators` that voted for a node.
    pub(crate) fn votes(&self, node: &NodeId, validators: &[PublicKey]) -> usize {
        let candidate = self.candidates.iter().find(|(id, _)| id == node);
        candidate.map_or(0, |(_, votes)| {
            votes
                .iter()
                .filter(|vote| validators.contains(vote))
                .count()
        })
    }

    /// Whether those are enough.
    pub(crate) fn approves(&self, node: &NodeId, validators: &[PublicKey]) -> bool {
        self.votes(node, validators) >= quorum(validators.len())
    }
}

/// How many there are of what is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusRecord {
    /// Members that joined and did not leave; founders are not counted.
    pub joined: u32,
    /// Principals that were given a role.
    pub roles: u32,
}

impl Record for MemberRecord {}
impl Record for CertificateRecord {}
impl Record for InviteRecord {}
impl Record for InvitesRecord {}
impl Record for CandidatesRecord {}
impl Record for CensusRecord {}
