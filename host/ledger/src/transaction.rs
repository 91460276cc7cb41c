//! Transactions: what a principal signs. Canonical bytes, bound to one fabric.

use std::sync::Arc;

use crate::asset::{AssetOperation, LeaseOperation};
use crate::evidence::Evidence;
use crate::fault::FaultOperation;
use crate::guest::RecordOperation;
use crate::liveness::LivenessOperation;
use crate::member::{CertificateOperation, MembershipOperation, RoleOperation};
use crate::node::NodeOperation;
use crate::proven::Proven;
use crate::space::SpaceOperation;
use crate::upgrade::RulesOperation;
use crate::validator::ValidatorOperation;
use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, Name, Principal, Signature, VerifyError, WorkloadSpec};

const DOMAIN: &[u8] = b"hypermesh/transaction/1\0";

/// Largest transaction: a deployment of 32 components with their texts fits.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024;

/// What a transaction does. New operations are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Admits a workload, or replaces one.
    Deploy {
        /// The workload.
        spec: WorkloadSpec,
        /// The generation that it replaces; none if the name must be free.
        replaces: Option<u64>,
    },
    /// Changes a component's number of replicas.
    Scale {
        /// Of this deployment.
        workload: Name,
        /// This component.
        component: Name,
        /// To so many.
        replicas: u16,
    },
    /// Stops a deployment; it keeps its name and routes.
    Stop {
        /// Which one.
        workload: Name,
    },
    /// Starts a stopped deployment.
    Start {
        /// Which one.
        workload: Name,
    },
    /// Removes a deployment and all that belongs to it.
    Remove {
        /// Which one.
        workload: Name,
    },
    /// Halts a running deployment; its placements and all that its instances hold stay.
    Pause {
        /// Which one.
        workload: Name,
    },
    /// Lets a paused deployment go on where it was.
    Resume {
        /// Which one.
        workload: Name,
    },
    /// Replaces every replica of a deployment by a fresh one on the same node, and runs it.
    Restart {
        /// Which one.
        workload: Name,
    },
    /// Who belongs to the fabric.
    Membership(MembershipOperation),
    /// Which TLS certificates of members are good.
    Certificate(CertificateOperation),
    /// What principals may do.
    Role(RoleOperation),
    /// Who has a vote.
    Validator(ValidatorOperation),
    /// Proof that a validator broke the rules of voting.
    Evidence(Evidence),
    /// What guests write down.
    Record(RecordOperation),
    /// Which rules are in force, from when on.
    Rules(RulesOperation),
    /// Who is there.
    Liveness(LivenessOperation),
    /// What there is to be leased.
    Asset(Proven<AssetOperation>),
    /// Who may use what.
    Lease(Proven<LeaseOperation>),
    /// Whether it is where it is said to be.
    Space(SpaceOperation),
    /// Whether what ran gave what was signed.
    Fault(FaultOperation),
    /// Where replicas may go.
    Node(NodeOperation),
}

/// One operation with what makes it valid once, here, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The only fabric it is good for.
    pub fabric: FabricId,
    /// Who signs it.
    pub principal: Principal,
    /// The signer's count of transactions before this one.
    pub nonce: u64,
    /// Last height at which it may be in a block.
    pub expires_at: u64,
    /// What it does.
    pub operation: Operation,
}

impl Transaction {
    /// The bytes that the principal signs: domain tag, then the canonical body.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, DOMAIN.to_vec())
            .unwrap_or_else(|error| panic!("a transaction must be serialisable: {error}"))
    }

    /// The wire form: version, body, signature.
    #[must_use]
    pub fn encode_signed(self, signature: &Signature) -> Vec<u8> {
        postcard::to_allocvec(&Envelope::V1 {
            transaction: self,
            signature: *signature,
        })
        .unwrap_or_else(|error| panic!("a transaction must be serialisable: {error}"))
    }
}

#[derive(Serialize, Deserialize)]
enum Envelope {
    V1 {
        transaction: Transaction,
        signature: Signature,
    },
}

/// A transaction whose form, fabric and signature were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    id: Digest,
    bytes: Arc<[u8]>,
    transaction: Transaction,
}

/// Bytes that no block may carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeTransactionError {
    /// Over the bound.
    #[error("the transaction has {bytes} bytes, at most {max} are allowed", max = TRANSACTION_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a transaction of a version that this release knows, or not in canonical form.
    #[error("the bytes are not a canonical transaction of version 1")]
    Malformed,
    /// Meant for another fabric.
    #[error("the transaction is for fabric {found}, this one is {expected}")]
    OtherFabric {
        /// This fabric.
        expected: FabricId,
        /// The transaction's.
        found: FabricId,
    },
    /// Not signed by its principal.
    #[error("the transaction is not authentic: {0}")]
    Signature(#[from] VerifyError),
}

impl SignedTransaction {
    /// Decodes and checks everything that needs no state.
    ///
    /// # Errors
    /// [`DecodeTransactionError`]; such bytes make a block invalid.
    pub fn decode(fabric: &FabricId, bytes: &[u8]) -> Result<Self, DecodeTransactionError> {
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(DecodeTransactionError::TooLarge { bytes: bytes.len() });
        }
        let malformed = |_| DecodeTransactionError::Malformed;
        let envelope: Envelope = postcard::from_bytes(bytes).map_err(malformed)?;
        if postcard::to_allocvec(&envelope).map_err(malformed)? != bytes {
            return Err(DecodeTransactionError::Malformed);
        }
        let Envelope::V1 {
            transaction,
            signature,
        } = envelope;
        if transaction.fabric != *fabric {
            let (expected, found) = (*fabric, transaction.fabric);
            return Err(DecodeTransactionError::OtherFabric { expected, found });
        }
        transaction
            .principal
            .verify(&transaction.signing_bytes(), &signature)?;
        Ok(Self {
            id: Digest::of(bytes),
            bytes: bytes.into(),
            transaction,
        })
    }

    /// The digest of the wire form.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// The wire form.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was signed.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}
