//! The admin API as both sides see it: paths, requests, answers, errors and the client.
//! Knows no server and no terminal.

mod answer;
mod assets;
mod client;
mod error;
mod executions;
mod fabric;
mod fabric_client;
mod ledger;
mod ledger_client;
mod request;
mod validators;

pub use answer::{
    Acceptance, Activity, ArtifactReport, ArtifactsStatus, CheckReport, CheckpointStatus,
    ComponentStatus, HttpsCertificateStatus, ImportProblem, Inspection, InvokeAnswer, LogLine,
    LogStream, NodeMisfit, NodeStatus, PlannedReplica, PrincipalStatus, PublishAnswer,
    QuorumStatus, ReplicaState, ReplicaStatus, SecretList, TransactionReport, WorkloadList,
    WorkloadState, WorkloadStatus,
};
pub use assets::{
    ASSETS_LISTED_MAX, AssetAnswer, AssetList, AssetStatus, ContainerName, KeepRequest, KeptStatus,
    LeaseList, LeaseStatus, RegisterReport, RegisterRequest, SpaceStatus,
};
pub use client::{Client, ClientError, Dial, Dialling, LineReader, Wire};
pub use error::{ApiError, ErrorCode};
pub use executions::{
    ChallengeReport, ChallengeRequest, DrawAnswer, DrawRequest, JudgedReceipt, NodeOutcome,
    NodeVerdict, ReceiptDifference, ReceiptVerdict, ReplicationReport, SecondRun,
};
pub use fabric::{
    AddressStatus, BlockProof, CertificateStatus, FabricStatus, InviteStatus, MeasuredStatus,
    MemberStatus, RoleList, RoleStatus, SessionStatus, StateProof, StoqStatus,
};
pub use ledger::{
    BlockContents, BlockList, BlockSummary, BlocksQuery, EntryChange, EntryQuery, EntryStatus,
    FinalTransaction, KeyList, KeysQuery, LedgerStatus, NextRules, RulesStatus, RulesVote,
    WatchQuery, WatchedBlock,
};
pub use request::{
    ArtifactQuery, ArtifactUse, CapQuery, InvokeRequest, ListQuery, LogQuery, PublishQuery,
    StatusQuery,
};
pub use validators::{
    Absence, Conviction, HandoverList, ProposedChange, ValidatorList, ValidatorStatus,
};

/// Name of the admin socket in a node's data directory.
pub const SOCKET_FILE: &str = "admin.sock";

/// Name of the operator's key file in a node's data directory.
pub const OPERATOR_KEY_FILE: &str = "operator.key";

/// Largest artifact that a node takes.
pub const ARTIFACT_BYTES_MAX: usize = 256 * 1024 * 1024;
