//! `hypermesh:consensus`: records of the workload on the ledger, proofs, heights, a beacon. Its other
//! interface, `proofs`, is in `evidence.rs`.
//!
//! *Grant*: `capabilities.consensus = { records = N }`; without it a component that imports the
//! package is refused at deploy. *Limits*: keys, values, lifetimes and counts have the bounds of
//! the ledger behind [`crate::Consensus`]; of one replica [`SUBMISSIONS_AT_ONCE_MAX`] changes wait
//! at once and [`VERIFICATIONS_AT_ONCE_MAX`] proofs of at most [`PROOF_BYTES_MAX`] are checked, more
//! wait their turn. *Denial*: the cases of `error`, each with a text that names the bound.
//!
//! A change that was begun goes on when its instance ends: it is signed and may be final. A call
//! that waits holds nothing else, so the instance is paused and stopped as in any other call.

use std::sync::Arc;

use tokio::sync::watch;
use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::hypermesh::consensus::ledger as wit;
use super::{Grant, Package, evidence};
use crate::bounds::{PROOF_BYTES_MAX, SUBMISSIONS_AT_ONCE_MAX};
use crate::consensus::{Consensus, ConsensusError, RecordEntry, RecordWish};
use crate::errors::clipped;
use crate::host::Host;

#[cfg(doc)]
use crate::bounds::VERIFICATIONS_AT_ONCE_MAX;

pub(super) const PACKAGE: Package = Package {
    name: "hypermesh:consensus",
    version: "0.1.0",
    interfaces: &["ledger", "proofs"],
    grant: Some(Grant {
        interfaces: &["ledger", "proofs"],
        line: "capabilities.consensus = { records = N }",
        covers: |capability| matches!(capability, Capability::Consensus { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/consensus",
        world: "ledger-user",
        imports: { default: async | trappable },
        with: { "hypermesh:consensus/ledger.submission": super::Submission },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    evidence::link(linker)
}

type Ended = Option<Result<u64, ConsensusError>>;

/// A change that was begun.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Submission {
    ended: watch::Receiver<Ended>,
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn answer<T>(result: Result<T, ConsensusError>) -> Answer<T> {
    Ok(result.map_err(|error| match error {
        ConsensusError::Exists => wit::Error::Exists,
        ConsensusError::Absent => wit::Error::Absent,
        ConsensusError::Invalid(text) => wit::Error::Invalid(clipped(&text)),
        ConsensusError::Quota(text) => wit::Error::Quota(clipped(&text)),
        ConsensusError::Busy(text) => wit::Error::Busy(clipped(&text)),
        ConsensusError::Denied(text) => wit::Error::Denied(clipped(&text)),
        ConsensusError::Unavailable(text) => wit::Error::Unavailable(clipped(&text)),
    }))
}

fn entry(entry: RecordEntry) -> wit::Entry {
    let RecordEntry {
        value,
        height,
        time_ms,
        expires_at,
    } = entry;
    wit::Entry {
        value,
        height,
        time_ms,
        expires_at,
    }
}

impl Host {
    /// Begins a change, which goes on by itself.
    fn begin(&self, wish: RecordWish) -> Result<Submission, ConsensusError> {
        let agreement = &self.guest().agreement;
        let place = Arc::clone(&agreement.submissions).try_acquire_owned();
        let place = place.map_err(|_| {
            ConsensusError::Busy(format!(
                "{SUBMISSIONS_AT_ONCE_MAX} submissions wait, the most at once"
            ))
        })?;
        let submitted = agreement.get()?.submit(wish)?;
        let (end, ended) = watch::channel(None);
        tokio::spawn(async move {
            let result = submitted.await;
            drop(place);
            // The guest may have dropped it.
            let _ = end.send(Some(result));
        });
        Ok(Submission { ended })
    }

    /// Has a proof checked, in its turn; for too long for a thread that runs guests.
    pub(super) async fn checked<T: Send + 'static>(
        &mut self,
        proof: Vec<u8>,
        check: impl FnOnce(&dyn Consensus, &[u8]) -> Result<T, String> + Send + 'static,
    ) -> wasmtime::Result<Result<T, String>> {
        let agreement = &self.guest().agreement;
        let ledger = match agreement.get() {
            Ok(ledger) => Arc::clone(ledger),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if proof.len() > PROOF_BYTES_MAX {
            let bytes = proof.len();
            let text = format!("{bytes} bytes are more than a proof may have: {PROOF_BYTES_MAX}");
            return Ok(Err(text));
        }
        let turn = Arc::clone(&agreement.verifications).acquire_owned().await?;
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            check(ledger.as_ref(), &proof)
        });
        Ok(checked.await?.map_err(|text| clipped(&text)))
    }

    fn submitted(
        &mut self,
        begun: Result<Submission, ConsensusError>,
    ) -> Answer<Resource<Submission>> {
        match begun {
            Ok(submission) => Ok(Ok(self.table().push(submission)?)),
            Err(error) => answer(Err(error)),
        }
    }
}

impl wit::HostSubmission for Host {
    async fn finality(&mut self, submission: Resource<Submission>) -> Answer<u64> {
        let mut ended = self.table().get(&submission)?.ended.clone();
        let end = ended.wait_for(Option::is_some).await;
        let end = end.ok().and_then(|end| end.clone());
        // The task that knows ends only with the node.
        let lost = || Err(ConsensusError::Unavailable("the node stops".to_owned()));
        answer(end.unwrap_or_else(lost))
    }

    async fn drop(&mut self, submission: Resource<Submission>) -> wasmtime::Result<()> {
        self.table().delete(submission)?;
        Ok(())
    }
}

impl wit::Host for Host {
    async fn submit(
        &mut self,
        key: String,
        value: Vec<u8>,
        lifetime: Option<u64>,
        only_new: bool,
    ) -> Answer<Resource<Submission>> {
        let begun = self.begin(RecordWish::Put {
            key,
            value,
            lifetime,
            only_new,
        });
        self.submitted(begun)
    }

    async fn delete(&mut self, key: String) -> Answer<Resource<Submission>> {
        let begun = self.begin(RecordWish::Delete { key });
        self.submitted(begun)
    }

    async fn read(&mut self, key: String) -> Answer<wit::Reading> {
        let ledger = self.guest().agreement.get();
        let reading = ledger.and_then(|ledger| ledger.read(&key));
        answer(reading.map(|reading| wit::Reading {
            height: reading.height,
            entry: reading.entry.map(entry),
        }))
    }

    async fn prove(&mut self, key: String) -> Answer<Vec<u8>> {
        let proof = match self.guest().agreement.get() {
            Ok(ledger) => ledger.prove(&key),
            Err(error) => return answer(Err(error)),
        };
        let proof = proof.await;
        answer(proof.and_then(|proof| {
            if proof.len() <= PROOF_BYTES_MAX {
                return Ok(proof);
            }
            let bytes = proof.len();
            let text = format!("the proof has {bytes} bytes, a guest gets {PROOF_BYTES_MAX}");
            Err(ConsensusError::Busy(text))
        }))
    }

    async fn verify(&mut self, proof: Vec<u8>) -> wasmtime::Result<Result<wit::Proven, String>> {
        let checked = self.checked(proof, |ledger, proof| ledger.verify(proof));
        Ok(checked.await?.map(|proven| wit::Proven {
            workload: proven.workload,
            key: proven.key,
            height: proven.height,
            time_ms: proven.time_ms,
            entry: proven.entry.map(entry),
        }))
    }

    async fn height(&mut self) -> wasmtime::Result<u64> {
        let ledger = self.guest().agreement.get();
        Ok(ledger.map_or(0, |ledger| ledger.height()))
    }

    async fn beacon(&mut self, height: Option<u64>) -> Answer<wit::BeaconValue> {
        let beacon = match self.guest().agreement.get() {
            Ok(ledger) => ledger.beacon(height),
            Err(error) => return answer(Err(error)),
        };
        let beacon = beacon.await;
        answer(beacon.map(|beacon| wit::BeaconValue {
            height: beacon.height,
            value: beacon.value.to_vec(),
        }))
    }
}
