//! The ledger as guests of this node use it: records of their workload, signed with the node's
//! identity; proofs; a beacon. Never knows what a record means, and gives no guest a key.

use std::sync::Arc;

use consensus::{EntryProof, Ledger, SubmitError, read_block};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ledger::{
    AnyRecord, GuestRecord, Operation, RECORD_LIFE_BLOCKS_MAX, RECORD_VALUE_BYTES_MAX,
    RecordChange, RecordKey, RecordOperation, Refusal, StateKey,
};
use orchestrator::ReplicaKey;
use runtime::{
    Beacon, Consensus, ConsensusError, ProvenExecution, ProvenRecord, RecordEntry, RecordReading,
    RecordWish, RequestSpaceError, ShownSpace, Submitted,
};
use types::{Capability, ComponentSpec};

use crate::beacon::{BeaconError, beacon};
use crate::guest_proofs;
use crate::shared::Shared;
use crate::signer::SignError;

/// Shortest life of a record: a shorter one could be over before its block is final.
const RECORD_LIFETIME_BLOCKS_MIN: u64 = 16;

/// The ledger for one replica.
pub(crate) struct GuestLedger {
    shared: Arc<Shared>,
    replica: ReplicaKey,
}

/// What a component's replica gets of the ledger, by its grants.
pub(crate) fn of(
    shared: &Arc<Shared>,
    replica: &ReplicaKey,
    spec: &ComponentSpec,
) -> Option<Arc<dyn Consensus>> {
    let mut rights = spec.capabilities.iter();
    let granted = rights.any(|right| matches!(right, Capability::Consensus { .. }));
    granted.then(|| {
        let (shared, replica) = (Arc::clone(shared), replica.clone());
        Arc::new(GuestLedger { shared, replica }) as Arc<dyn Consensus>
    })
}

impl std::fmt::Debug for GuestLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestLedger").field(&self.replica).finish()
    }
}

fn unavailable(error: impl std::fmt::Display) -> ConsensusError {
    ConsensusError::Unavailable(error.to_string())
}

fn key_of(text: impl Into<String>) -> Result<RecordKey, ConsensusError> {
    RecordKey::new(text).map_err(|error| ConsensusError::Invalid(error.to_string()))
}

fn entry(record: GuestRecord) -> RecordEntry {
    RecordEntry {
        value: record.value,
        height: record.written_at,
        time_ms: record.written_ms,
        expires_at: record.expires_at,
    }
}

/// A change that keeps the ledger's bounds: what breaks them is told at once and costs no block.
fn checked(wish: RecordWish) -> Result<Change, ConsensusError> {
    let (key, value, lifetime, only_new) = match wish {
        RecordWish::Delete { key } => return Ok(Change::Delete(key_of(key)?)),
        RecordWish::Put {
            key,
            value,
            lifetime,
            only_new,
        } => (key_of(key)?, value, lifetime, only_new),
    };
    if value.len() > RECORD_VALUE_BYTES_MAX {
        let bytes = value.len();
        let text =
            format!("the value has {bytes} bytes, at most {RECORD_VALUE_BYTES_MAX} are kept");
        return Err(ConsensusError::Invalid(text));
    }
    let lives = RECORD_LIFETIME_BLOCKS_MIN..=RECORD_LIFE_BLOCKS_MAX;
    if let Some(blocks) = lifetime.filter(|blocks| !lives.contains(blocks)) {
        let (min, max) = (lives.start(), lives.end());
        let text = format!("a record lives for {min} to {max} blocks, not {blocks}");
        return Err(ConsensusError::Invalid(text));
    }
    Ok(Change::Put {
        key,
        value,
        lifetime,
        only_new,
    })
}

enum Change {
    Put {
        key: RecordKey,
        value: Vec<u8>,
        lifetime: Option<u64>,
        only_new: bool,
    },
    Delete(RecordKey),
}

impl Change {
    /// As it is signed when the last block that is known has this height.
    fn at(self, height: u64) -> RecordChange {
        match self {
            Self::Put {
                key,
                value,
                lifetime,
                only_new,
            } => RecordChange::Put {
                key,
                value,
                expires_at: lifetime.map(|blocks| height.saturating_add(blocks)),
                only_new,
            },
            Self::Delete(key) => RecordChange::Delete { key },
        }
    }
}

/// Signs a change, and waits until its block is final and followed here.
async fn submit(
    shared: &Shared,
    replica: &ReplicaKey,
    change: Change,
) -> Result<u64, ConsensusError> {
    // One after the other: two at once would race for one nonce.
    let _turn = shared.signer.record_turn.lock().await;
    let height = shared.state().view.height();
    let operation = Operation::Record(RecordOperation {
        workload: replica.workload.clone(),
        component: replica.component.clone(),
        index: replica.index,
        change: change.at(height),
    });
    let signed = shared.signer.submit(shared, operation).await;
    let height = signed.map_err(refused)?.height;
    let mut revision = shared.revision.subscribe();
    let followed = revision.wait_for(|_| shared.state().view.height() >= height);
    followed.await.map_err(unavailable)?;
    Ok(height)
}

fn refused(error: SignError) -> ConsensusError {
    let refusal = match error {
        SignError::Refused(refusal) => refusal,
        SignError::Submit(
            error @ (SubmitError::Full { .. } | SubmitError::PrincipalFull { .. }),
        ) => {
            return ConsensusError::Busy(error.to_string());
        }
        SignError::Submit(error) => return unavailable(error),
    };
    let text = refusal.to_string();
    match refusal {
        Refusal::RecordExists(_) => ConsensusError::Exists,
        Refusal::UnknownRecord(_) => ConsensusError::Absent,
        Refusal::RecordQuota { .. } | Refusal::RecordsFull { .. } => ConsensusError::Quota(text),
        Refusal::RecordRate { .. }
        | Refusal::Rate { .. }
        | Refusal::Nonce { .. }
        | Refusal::TooMany { .. } => ConsensusError::Busy(text),
        Refusal::RecordTooLarge { .. } | Refusal::RecordLife { .. } => {
            ConsensusError::Invalid(text)
        }
        Refusal::Expired { .. } => ConsensusError::Unavailable(text),
        _ => ConsensusError::Denied(text),
    }
}

impl Consensus for GuestLedger {
    fn height(&self) -> u64 {
        self.shared.state().view.height()
    }

    fn read(&self, key: &str) -> Result<RecordReading, ConsensusError> {
        let key = key_of(key)?;
        let state = self.shared.state();
        let record = state.view.guest_record(&self.replica.workload, &key);
        Ok(RecordReading {
            height: state.view.height(),
            entry: record.map_err(unavailable)?.map(entry),
        })
    }

    fn submit(&self, wish: RecordWish) -> Result<Submitted, ConsensusError> {
        let change = checked(wish)?;
        let (shared, replica) = (Arc::clone(&self.shared), self.replica.clone());
        Ok(async move { submit(&shared, &replica, change).await }.boxed())
    }

    fn prove(&self, key: &str) -> BoxFuture<'static, Result<Vec<u8>, ConsensusError>> {
        let key = key_of(key).map(|key| StateKey::guest_record(&self.replica.workload, &key));
        let shared = Arc::clone(&self.shared);
        async move {
            let key = key?;
            let proof = shared.ledger.entry_proof(&shared.genesis, &key).await;
            let proof = proof.map_err(unavailable)?;
            let none = || unavailable("the newest blocks wait for their certificates: try again");
            proof.map(|proof| proof.encode()).ok_or_else(none)
        }
        .boxed()
    }

    fn verify(&self, proof: &[u8]) -> Result<ProvenRecord, String> {
        let proof = EntryProof::decode(proof).map_err(|error| error.to_string())?;
        let proven = proof.verify(&self.shared.fabric);
        let proven = proven.map_err(|error| error.to_string())?;
        agrees(
            &self.shared,
            &self.shared.ledger,
            &proof,
            proven.header.height,
        )?;
        let about = proven.key.as_guest_record();
        let (workload, key) = about.ok_or_else(|| {
            let key = &proven.key;
            format!("the proof is about `{key}`, which is no record of a guest")
        })?;
        let record = proven
            .value
            .map(|value| AnyRecord::decode(&proven.key, &value));
        let record = record.transpose().map_err(|error| error.to_string())?;
        let record = record.flatten().and_then(|record| match record {
            AnyRecord::GuestRecord(record) => Some(record),
            _ => None,
        });
        Ok(ProvenRecord {
            workload: workload.to_string(),
            key: key.to_string(),
            height: proven.header.height,
            time_ms: proven.header.time_ms,
            entry: record.map(entry),
        })
    }

    fn beacon(&self, height: Option<u64>) -> BoxFuture<'static, Result<Beacon, ConsensusError>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let height = height.unwrap_or_else(|| shared.state().view.height());
            let value = beacon(&shared, height).await.map_err(|error| match error {
                BeaconError::NoBlock(_) => ConsensusError::Invalid(error.to_string()),
                error => unavailable(error),
            })?;
            Ok(Beacon {
                height,
                value: *value.as_bytes(),
            })
        }
        .boxed()
    }

    fn request_space(&self, asset: &str) -> BoxFuture<'static, Result<Vec<u8>, RequestSpaceError>> {
        let (shared, asset) = (Arc::clone(&self.shared), asset.to_owned());
        async move { guest_proofs::request_space(&shared, &asset).await }.boxed()
    }

    fn verify_space(&self, proof: &[u8]) -> Result<ShownSpace, String> {
        guest_proofs::verify_space(&self.shared, proof)
    }

    fn verify_execution(&self, proof: &[u8]) -> Result<ProvenExecution, String> {
        guest_proofs::verify_execution(&self.shared, proof)
    }
}

/// Refuses a proof that goes another way from the genesis than this node came: old keys of
/// validators who left may sign another history, and this node knows the true one.
fn agrees(shared: &Shared, ledger: &Ledger, proof: &EntryProof, height: u64) -> Result<(), String> {
    let mut ours = ledger.handovers();
    ours.retain(|handover| {
        let header = read_block(&shared.genesis, &handover.block);
        header.is_ok_and(|header| header.height < height)
    });
    let same = ours
        .iter()
        .zip(&proof.handovers)
        .all(|(ours, theirs)| ours.block == theirs.block);
    if same && ours.len() <= proof.handovers.len() {
        Ok(())
    } else {
        Err("the proof names other validators than those whom this node followed".to_owned())
    }
}
