//! What became of a transaction in its block.

use serde::{Deserialize, Serialize};
use types::{Digest, Name, NodeId, Principal, PublicKey, Route, WorkloadError};

use crate::asset_refusal::AssetRefusal;
use crate::guest::{
    RECORD_CHANGES_PER_WINDOW_MAX, RECORD_LIFE_BLOCKS_MAX, RECORD_WINDOW_BLOCKS, RecordKey,
};
use crate::node::Misfit;
use crate::rate::{RATE_WINDOW_MS, TRANSACTIONS_PER_WINDOW_MAX};
use crate::record::Role;
use crate::upgrade::RULES_LEAD_BLOCKS_MIN;

/// The fate of a transaction that is in a final block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionOutcome {
    /// Its changes are part of the state.
    Applied,
    /// It changed nothing but the signer's nonce and rate, where the signer was admitted.
    Refused(Refusal),
}

/// Why a transaction changed nothing. New reasons are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The signer is not on the ledger.
    #[error("principal {0} is not known to this fabric")]
    UnknownPrincipal(Principal),
    /// Replayed, or signed against an older state.
    #[error("the transaction carries nonce {found}, the next one of its signer is {expected}")]
    Nonce {
        /// What the ledger wants.
        expected: u64,
        /// What the transaction says.
        found: u64,
    },
    /// Its time is over.
    #[error("the transaction expired at height {expires_at}, this block is {height}")]
    Expired {
        /// Last height at which it was good.
        expires_at: u64,
        /// The block's height.
        height: u64,
    },
    /// The workload breaks a rule of its own.
    #[error("the workload is not valid: {0}")]
    Workload(String),
    /// A deployment of that name is not there.
    #[error("no deployment is called `{0}`")]
    UnknownDeployment(Name),
    /// A deployment of that name is there already.
    #[error("a deployment called `{name}` exists at generation {generation}")]
    Exists {
        /// Its name.
        name: Name,
        /// Its generation.
        generation: u64,
    },
    /// The deployment changed since the signer looked.
    #[error("deployment `{name}` is at generation {found}, the transaction replaces {expected}")]
    Generation {
        /// Its name.
        name: Name,
        /// What the transaction says.
        expected: u64,
        /// What the ledger has.
        found: u64,
    },
    /// The deployment has no such component.
    #[error("deployment `{workload}` has no component `{component}`")]
    UnknownComponent {
        /// The deployment.
        workload: Name,
        /// What it lacks.
        component: Name,
    },
    /// Another component has the route.
    #[error("route `{route}` belongs to component `{component}` of deployment `{workload}`")]
    RouteTaken {
        /// The route.
        route: Route,
        /// Its owner's workload.
        workload: Name,
        /// Its owner.
        component: Name,
    },
    /// The fabric is full.
    #[error("the fabric has {count} deployments, which is its bound")]
    TooManyDeployments {
        /// How many there are.
        count: u32,
    },
    /// The record would be larger than an entry may be.
    #[error("the deployment takes {bytes} bytes, an entry holds at most {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// There is nothing to pause, resume or restart.
    #[error("deployment `{0}` is stopped: start it first")]
    Stopped(Name),
    /// There is nothing to resume.
    #[error("deployment `{0}` is not paused")]
    NotPaused(Name),
    /// A paused deployment is started by resuming it.
    #[error("deployment `{0}` is paused: resume it")]
    Paused(Name),
    /// The signer may not do this.
    #[error("principal {} has role {role}, this takes role {needed}", principal.short())]
    Role {
        /// The signer.
        principal: Principal,
        /// What it has.
        role: Role,
        /// What it lacks.
        needed: Role,
    },
    /// Nodes get their role by joining.
    #[error("role {0} cannot be granted: admin, deployer and viewer can")]
    NotGrantable(Role),
    /// Who has a role cannot change it: so an admin is always left.
    #[error("nobody changes the own role: another admin can")]
    OwnRole,
    /// A node's key is no operator's.
    #[error("{0} is a node: give operators keys of their own")]
    IsNode(Principal),
    /// A bound of the fabric.
    #[error("the fabric allows at most {max} {what}")]
    TooMany {
        /// Of what.
        what: String,
        /// The bound.
        max: u32,
    },
    /// A text is too long.
    #[error("the reason has {bytes} bytes, at most {max} are kept")]
    ReasonTooLong {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// Not a member, or no longer.
    #[error("node {0} is not a member of this fabric")]
    NotAMember(NodeId),
    /// A member already.
    #[error("{0} is known to this fabric already")]
    IsMember(NodeId),
    /// Put out for good.
    #[error("node {} was evicted ({reason}): join with a new identity", node.short())]
    Evicted {
        /// Which node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Founders carry placements and votes.
    #[error("node {0} is a founder of the fabric: it holds placements or a vote and cannot go")]
    Founder(NodeId),
    /// Only validators vote.
    #[error("{0} is not a validator")]
    NotAValidator(PublicKey),
    /// Too few validators want the node.
    #[error("{votes} validators approved this node, {needed} are needed")]
    Votes {
        /// So many did.
        votes: u32,
        /// So many must.
        needed: u32,
    },
    /// No such ticket: never opened, withdrawn, or forgotten long after its time.
    #[error("the ticket is not known to this fabric: it was withdrawn or is long over")]
    UnknownInvite,
    /// One ticket, one node.
    #[error("the ticket was used by node {}", by.short())]
    InviteUsed {
        /// By whom.
        by: NodeId,
    },
    /// Too late.
    #[error("the ticket expired {} s ago", block_ms.saturating_sub(*expires_at_ms) / 1000)]
    InviteExpired {
        /// Its last moment, Unix milliseconds.
        expires_at_ms: u64,
        /// Ledger time.
        block_ms: u64,
    },
    /// A ticket lives for a while.
    #[error("a ticket must expire in the future and within 30 days")]
    InviteLife {
        /// The wish, Unix milliseconds.
        expires_at_ms: u64,
        /// Ledger time.
        block_ms: u64,
    },
    /// A ticket is opened once.
    #[error("a ticket with this key exists already")]
    InviteExists,
    /// The joiner does not have the ticket's secret.
    #[error("the ticket's secret did not sign for this node")]
    TicketSignature,
    /// No such certificate.
    #[error("certificate {0} was never logged, or is long over")]
    UnknownCertificate(Digest),
    /// A certificate is logged once.
    #[error("certificate {0} is logged already")]
    CertificateExists(Digest),
    /// The signer's clock and ledger time differ.
    #[error("the certificate is {skew_ms} ms off ledger time: check the node's clock")]
    Clock {
        /// By how much; positive if the node's clock is ahead.
        skew_ms: i64,
        /// Ledger time, Unix milliseconds.
        block_ms: u64,
    },
    /// A day at most.
    #[error("the certificate lives for {life_ms} ms, more than {max_ms} or not at all")]
    CertificateLife {
        /// Its life.
        life_ms: u64,
        /// The bound.
        max_ms: u64,
    },
    /// It votes already, or will.
    #[error("node {} is a validator, or becomes one with the next epoch", .0.short())]
    IsValidator(NodeId),
    /// Somebody must vote.
    #[error("node {} is the last validator of the fabric", .0.short())]
    LastValidator(NodeId),
    /// Who broke the rules of voting never votes again.
    #[error("node {} was convicted of contradictory votes at height {at}", node.short())]
    Convicted {
        /// Which node.
        node: NodeId,
        /// Height of the block that convicted it.
        at: u64,
    },
    /// An honest validator may cast both votes.
    #[error("the two votes do not contradict each other")]
    NoContradiction,
    /// The accused did not cast them.
    #[error("the votes are not signed by {0}")]
    VoteSignature(PublicKey),
    /// Only who hosts a guest signs for it.
    #[error("replica {index} of {workload}/{component} is not placed on node {}", node.short())]
    NotPlaced {
        /// Who signed.
        node: NodeId,
        /// The workload.
        workload: Name,
        /// Its component.
        component: Name,
        /// Which replica of that.
        index: u16,
    },
    /// The manifest does not give the right.
    #[error("{workload}/{component} has no right to records: `capabilities.consensus` grants it")]
    RecordsNotGranted {
        /// The workload.
        workload: Name,
        /// Its component.
        component: Name,
    },
    /// It was to be new.
    #[error("record `{0}` exists already")]
    RecordExists(RecordKey),
    /// There is nothing to free.
    #[error("there is no record `{0}`")]
    UnknownRecord(RecordKey),
    /// The workload has as many as it may.
    #[error("workload {workload} has as many records as it is granted: {quota}")]
    RecordQuota {
        /// The workload.
        workload: Name,
        /// What the asking component is granted.
        quota: u32,
    },
    /// A value is too large.
    #[error("the record's value has {bytes} bytes, at most {max} are kept")]
    RecordTooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// All workloads together have as much as the fabric keeps.
    #[error("the records of all workloads take {max} bytes, which is the fabric's bound")]
    RecordsFull {
        /// The bound.
        max: u64,
    },
    /// A record expires in a later block, and not in ages.
    #[error(
        "a record that expires does so 1 to {RECORD_LIFE_BLOCKS_MAX} blocks from now: not at \
         {expires_at}, this block is {height}"
    )]
    RecordLife {
        /// The wish.
        expires_at: u64,
        /// The block's height.
        height: u64,
    },
    /// One node's guests write too often.
    #[error(
        "node {} changed {RECORD_CHANGES_PER_WINDOW_MAX} records in {RECORD_WINDOW_BLOCKS} \
         blocks: it may again from height {until} on",
        node.short()
    )]
    RecordRate {
        /// Which node.
        node: NodeId,
        /// Height of the first block of the next window.
        until: u64,
    },
    /// Versions of the rules rise by one.
    #[error("the next rules are {expected}, not {version}")]
    RulesVersion {
        /// The wish.
        version: u32,
        /// What can follow.
        expected: u32,
    },
    /// Nodes must hear of new rules before these are in force.
    #[error(
        "rules change {RULES_LEAD_BLOCKS_MIN} blocks ahead or more: at height {least}, not {height}"
    )]
    RulesHeight {
        /// The wish.
        height: u64,
        /// The lowest that this block allows.
        least: u64,
    },
    /// There is nothing left to vote on.
    #[error("rules {version} from height {height} on are decided already")]
    RulesDecided {
        /// The version.
        version: u32,
        /// The first block under it.
        height: u64,
    },
    /// Neither a decision nor a vote to take back.
    #[error("no change of the rules is decided, and this validator has no vote to take back")]
    NoRulesDecided,
    /// The signer signs too often. Its nonce is not spent: what was refused may be in a later block
    /// until it expires. To try again, sign with another expiry: nodes remember for a while what
    /// became of these very bytes.
    #[error(
        "principal {} has signed {TRANSACTIONS_PER_WINDOW_MAX} transactions within {seconds} s, the \
         most that count: try again within {seconds} s, from ledger time {until_ms} ms on",
        principal.short(),
        seconds = RATE_WINDOW_MS / 1000
    )]
    Rate {
        /// The signer.
        principal: Principal,
        /// Ledger time at which the next window begins, Unix milliseconds.
        until_ms: u64,
    },
    /// Whoever can say that it is gone is not.
    #[error("no node reports that it is gone itself")]
    AboutItself,
    /// One report is enough.
    #[error("this validator reports already that node {} is gone", .0.short())]
    Reported(NodeId),
    /// There is no report to take back.
    #[error("the signer has no report about node {} to take back", .0.short())]
    NotReported(NodeId),
    /// A rule about assets and leases.
    #[error(transparent)]
    Asset(#[from] AssetRefusal),
    /// No node takes a replica.
    #[error("component `{component}`: {}", said_of_places(*replicas, reasons))]
    NoPlace {
        /// Whose they are.
        component: Name,
        /// How many of them.
        replicas: u32,
        /// How many nodes take none, for each reason.
        reasons: Vec<(Misfit, u32)>,
    },
}

/// How many replicas have no place, and the reasons with the nodes that have them.
fn said_of_places(replicas: u32, reasons: &[(Misfit, u32)]) -> String {
    let said = |(misfit, nodes): &(Misfit, u32)| match nodes {
        1 => format!("1 node is {misfit}"),
        nodes => format!("{nodes} nodes are {misfit}"),
    };
    let said: Vec<String> = reasons.iter().map(said).collect();
    let replicas = match replicas {
        1 => "1 replica has".to_owned(),
        replicas => format!("{replicas} replicas have"),
    };
    format!("{replicas} no place: {}", said.join(", "))
}

impl Refusal {
    /// The reason for programs: stable, in kebab case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownPrincipal(_) => "unknown-principal",
            Self::Nonce { .. } => "nonce",
            Self::Expired { .. } => "expired",
            Self::Workload(_) => "workload",
            Self::UnknownDeployment(_) => "unknown-deployment",
            Self::Exists { .. } => "exists",
            Self::Generation { .. } => "generation",
            Self::UnknownComponent { .. } => "unknown-component",
            Self::RouteTaken { .. } => "route-taken",
            Self::TooManyDeployments { .. } => "too-many-deployments",
            Self::TooLarge { .. } => "too-large",
            Self::Stopped(_) => "stopped",
            Self::NotPaused(_) => "not-paused",
            Self::Paused(_) => "paused",
            Self::Role { .. } => "role",
            Self::NotGrantable(_) => "not-grantable",
            Self::OwnRole => "own-role",
            Self::IsNode(_) => "is-node",
            Self::TooMany { .. } => "too-many",
            Self::ReasonTooLong { .. } => "reason-too-long",
            Self::NotAMember(_) => "not-a-member",
            Self::IsMember(_) => "is-member",
            Self::Evicted { .. } => "evicted",
            Self::Founder(_) => "founder",
            Self::NotAValidator(_) => "not-a-validator",
            Self::Votes { .. } => "votes",
            Self::UnknownInvite => "unknown-ticket",
            Self::InviteUsed { .. } => "ticket-used",
            Self::InviteExpired { .. } => "ticket-expired",
            Self::InviteLife { .. } => "ticket-life",
            Self::InviteExists => "ticket-exists",
            Self::TicketSignature => "ticket-signature",
            Self::UnknownCertificate(_) => "unknown-certificate",
            Self::CertificateExists(_) => "certificate-exists",
            Self::Clock { .. } => "clock",
            Self::CertificateLife { .. } => "certificate-life",
            Self::IsValidator(_) => "is-validator",
            Self::LastValidator(_) => "last-validator",
            Self::Convicted { .. } => "convicted",
            Self::NoContradiction => "no-contradiction",
            Self::VoteSignature(_) => "vote-signature",
            Self::NotPlaced { .. } => "not-placed",
            Self::RecordsNotGranted { .. } => "records-not-granted",
            Self::RecordExists(_) => "record-exists",
            Self::UnknownRecord(_) => "unknown-record",
            Self::RecordQuota { .. } => "record-quota",
            Self::RecordTooLarge { .. } => "record-too-large",
            Self::RecordsFull { .. } => "records-full",
            Self::RecordLife { .. } => "record-life",
            Self::RecordRate { .. } => "record-rate",
            Self::RulesVersion { .. } => "rules-version",
            Self::RulesHeight { .. } => "rules-height",
            Self::RulesDecided { .. } => "rules-decided",
            Self::NoRulesDecided => "no-rules-decided",
            Self::Rate { .. } => "rate",
            Self::AboutItself => "about-itself",
            Self::Reported(_) => "reported",
            Self::NotReported(_) => "not-reported",
            Self::Asset(refusal) => refusal.name(),
            Self::NoPlace { .. } => "no-place",
        }
    }
}

impl From<WorkloadError> for Refusal {
    fn from(error: WorkloadError) -> Self {
        Self::Workload(error.to_string())
    }
}
