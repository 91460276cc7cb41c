//! The ledger as a pure state machine: `execute(state, block) -> (changes, outcomes)`.
//! Knows no clock, no entropy, no disk, no async: they arrive as arguments.

mod allowance;
mod anchor;
mod asset;
mod asset_refusal;
mod entry;
mod evidence;
mod execute;
mod fault;
mod genesis;
mod guest;
mod key;
mod liveness;
mod member;
mod node;
mod outcome;
mod plan;
mod proven;
mod rate;
mod record;
mod rules;
mod schedule;
mod space;
mod state;
mod transaction;
mod upgrade;
mod validator;
mod view;
mod words;

pub use allowance::AllowanceRecord;
pub use anchor::{ANCHORS, AnchorRecord};
pub use asset::{
    ASSETS_PER_NODE_MAX, AssetLeasesRecord, AssetOperation, AssetRecord, AssetTotalsRecord,
    HeldLease, HolderLeasesRecord, LEASES_MAX, LEASES_PER_HOLDER_MAX, LEASES_PER_NODE_MAX,
    LeaseOperation, LeaseRecord, LeaseSlot, NodeAssetsRecord,
};
pub use asset_refusal::AssetRefusal;
pub use entry::{AnyRecord, ParseStateKeyError};
pub use evidence::{Contradiction, ConvictionRecord, Evidence, SignedVote, VOTE_DOMAIN, Vote};
pub use execute::{
    BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, BlockContext, ExecuteError, Execution, execute,
};
pub use fault::{FaultOperation, FaultRecord, JoinedRecord, RECENT_FAULTS_MAX};
pub use genesis::{DecodeGenesisError, Genesis, GenesisError, quorum, witnesses};
pub use guest::{
    GuestRecord, GuestRecordsRecord, RECORD_CHANGES_PER_WINDOW_MAX, RECORD_DUE_SEARCH_BLOCKS,
    RECORD_LIFE_BLOCKS_MAX, RECORD_VALUE_BYTES_MAX, RECORD_WINDOW_BLOCKS, RECORDS_BYTES_MAX,
    RECORDS_DUE_PER_BLOCK_MAX, RecordChange, RecordFacts, RecordKey, RecordKeyError,
    RecordOperation, RecordRateRecord, RecordTotalsRecord, RecordsDueRecord,
};
pub use key::{StateKey, StateKeyError};
pub use liveness::{
    ABSENCES_CLEANED_PER_EPOCH, AbsenceRecord, AbsenceReport, AbsencesRecord, AbsentSince,
    LivenessOperation, VALIDATORS_KEPT, VOTE_KEPT_MS,
};
pub use member::{
    Admission, CANDIDATES_MAX, CERTIFICATE_LIFE_MS_MAX, CERTIFICATE_RECORD_GRACE_MS,
    CERTIFICATES_PER_MEMBER_MAX, CLOCK_TOLERANCE_MS, CandidatesRecord, CensusRecord,
    CertificateFact, CertificateOperation, CertificateRecord, INVITE_LIFE_MS_MAX, INVITES_MAX,
    InviteRecord, InvitesRecord, MEMBERS_MAX, MemberRecord, Membership, MembershipOperation,
    REASON_BYTES_MAX, ROLES_MAX, Revocation, RoleOperation, join_bytes,
};
pub use node::{
    HANDOVER_MS, LABELS_MAX, Misfit, NodeFacts, NodeOperation, NodeRecord, NodeState,
    NodeWorkloadsRecord, PLACEMENTS_PER_NODE_MAX, REPLICAS_LOOKED_AT_MAX, UNPLACED_LOOKED_AT_MAX,
    UnplacedRecord,
};
pub use outcome::{Refusal, TransactionOutcome};
pub use proven::{ProofParts, Provable, Proven};
pub use rate::{RATE_WINDOW_MS, SpentRate, TRANSACTIONS_PER_WINDOW_MAX};
pub use record::{
    DecodeRecordError, DeploymentRecord, DesiredState, FabricRecord, PlacementRecord,
    PrincipalRecord, Role, RouteRecord,
};
pub use rules::{CALIBRATION_UNITS, stake_role};
pub use space::{
    ANSWER_BLOCKS, ANSWER_MS, CHALLENGE_PAUSE_MS, KEPT_MAX, KeptContent, OpenChallenge,
    SpaceOperation, SpaceRecord,
};
pub use state::{NotLoaded, StateView, VALUE_BYTES_MAX};
pub use transaction::{
    DecodeTransactionError, Operation, SignedTransaction, TRANSACTION_BYTES_MAX, Transaction,
};
pub use upgrade::{
    KnownRules, RULES_LEAD_BLOCKS_MIN, RulesChange, RulesOperation, RulesRecord, UnknownRules,
};
pub use validator::{CommitteeRecord, PROPOSED_CHANGES_MAX, ValidatorChange, ValidatorOperation};
pub use view::{NodePlace, Placement, View};
