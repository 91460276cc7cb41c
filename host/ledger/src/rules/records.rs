//! Records of guests: who may change them, how many, how often, and when they go.
//!
//! A node signs for the replicas that are placed on it. So a record attests that this node said so
//! while it hosted the workload: the node could also write what its guest never asked for, as it
//! could run another program in the guest's place.

use types::{Capability, Name, NodeId, Principal};

use crate::execute::{BlockContext, Stop};
use crate::guest::{
    GuestRecord, GuestRecordsRecord, RECORD_CHANGES_PER_WINDOW_MAX, RECORD_DUE_SEARCH_BLOCKS,
    RECORD_LIFE_BLOCKS_MAX, RECORD_VALUE_BYTES_MAX, RECORD_WINDOW_BLOCKS, RECORDS_BYTES_MAX,
    RECORDS_DUE_PER_BLOCK_MAX, RecordChange, RecordFacts, RecordKey, RecordOperation,
    RecordRateRecord, RecordTotalsRecord, RecordsDueRecord,
};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::record::{DeploymentRecord, PlacementRecord};
use crate::state::{Draft, NotLoaded, StateView};

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    operation: &RecordOperation,
) -> Result<(), Stop> {
    let quota = granted(draft, signer, operation)?;
    count_change(draft, block, signer)?;
    let mut records = Records::read(draft, &operation.workload)?;
    match &operation.change {
        RecordChange::Put {
            key,
            value,
            expires_at,
            only_new,
        } => {
            let there = records.position(key).is_ok();
            if there && *only_new {
                return Err(Refusal::RecordExists(key.clone()).into());
            }
            if there {
                records.free(draft, key)?;
            } else if records.index.records.len() >= quota as usize {
                let workload = operation.workload.clone();
                return Err(Refusal::RecordQuota { workload, quota }.into());
            }
            let record = GuestRecord {
                value: value.clone(),
                written_at: block.height,
                written_ms: block.time_ms,
                by: signer,
                expires_at: due(draft, block, &operation.workload, key, *expires_at)?,
            };
            records.keep(draft, key, &record)?;
        }
        RecordChange::Delete { key } => {
            if !records.free(draft, key)? {
                return Err(Refusal::UnknownRecord(key.clone()).into());
            }
        }
    }
    records.write(draft);
    Ok(())
}

/// The quota that the component has, if the signer hosts the replica that asks.
fn granted<V: StateView>(
    draft: &Draft<'_, V>,
    signer: NodeId,
    operation: &RecordOperation,
) -> Result<u32, Stop> {
    let RecordOperation {
        workload,
        component,
        index,
        ..
    } = operation;
    let deployment: Option<DeploymentRecord> = draft.read(&StateKey::deployment(workload))?;
    let Some(deployment) = deployment else {
        return Err(Refusal::UnknownDeployment(workload.clone()).into());
    };
    let place = StateKey::placement(workload, component, *index);
    let placement: Option<PlacementRecord> = draft.read(&place)?;
    if placement.is_none_or(|placement| placement.node != signer) {
        return Err(Refusal::NotPlaced {
            node: signer,
            workload: workload.clone(),
            component: component.clone(),
            index: *index,
        }
        .into());
    }
    let components = deployment.spec.components.iter();
    let mut rights = components
        .filter(|each| each.name == *component)
        .flat_map(|each| &each.capabilities);
    let quota = rights.find_map(|right| match right {
        Capability::Consensus { records } => Some(*records),
        _ => None,
    });
    quota.ok_or_else(|| {
        let (workload, component) = (workload.clone(), component.clone());
        Refusal::RecordsNotGranted {
            workload,
            component,
        }
        .into()
    })
}

fn count_change<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: NodeId,
) -> Result<(), Stop> {
    let key = StateKey::record_rate(&signer);
    let known: RecordRateRecord = draft.read(&key)?.unwrap_or_default();
    let window = block.height / RECORD_WINDOW_BLOCKS;
    let changes = if known.window == window {
        known.changes
    } else {
        0
    };
    if changes >= RECORD_CHANGES_PER_WINDOW_MAX {
        let until = (window + 1) * RECORD_WINDOW_BLOCKS;
        return Err(Refusal::RecordRate {
            node: signer,
            until,
        }
        .into());
    }
    let changes = changes + 1;
    draft.write(key, &RecordRateRecord { window, changes });
    Ok(())
}

/// Notes when a record is to be freed: at the height asked for or, where that block frees as much
/// as it may, a little later.
fn due<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    workload: &Name,
    key: &RecordKey,
    expires_at: Option<u64>,
) -> Result<Option<u64>, Stop> {
    let Some(expires_at) = expires_at else {
        return Ok(None);
    };
    let height = block.height;
    let life = expires_at.saturating_sub(height);
    if !(1..=RECORD_LIFE_BLOCKS_MAX).contains(&life) {
        return Err(Refusal::RecordLife { expires_at, height }.into());
    }
    for at in expires_at..=expires_at + RECORD_DUE_SEARCH_BLOCKS {
        let entry = StateKey::records_due(at);
        let mut due: RecordsDueRecord = draft.read(&entry)?.unwrap_or_default();
        if due.due.len() < RECORDS_DUE_PER_BLOCK_MAX {
            due.due.push((workload.clone(), key.clone()));
            draft.write(entry, &due);
            return Ok(Some(at));
        }
    }
    Err(Refusal::TooMany {
        what: "records that expire about then".to_owned(),
        max: u32::try_from(RECORDS_DUE_PER_BLOCK_MAX).unwrap_or(u32::MAX),
    }
    .into())
}

/// The first step of a block: frees what is due in it.
pub(crate) fn expire<V: StateView>(draft: &mut Draft<'_, V>, height: u64) -> Result<(), NotLoaded> {
    let entry = StateKey::records_due(height);
    let Some(RecordsDueRecord { due }) = draft.read(&entry)? else {
        return Ok(());
    };
    for (workload, key) in due {
        let mut records = Records::read(draft, &workload)?;
        records.remove(draft, &key);
        records.write(draft);
    }
    draft.remove(entry);
    Ok(())
}

/// Frees all records of a workload that is removed.
pub(super) fn clear<V: StateView>(
    draft: &mut Draft<'_, V>,
    workload: &Name,
) -> Result<(), NotLoaded> {
    let mut records = Records::read(draft, workload)?;
    if records.index.records.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = records
        .index
        .records
        .iter()
        .map(|(key, _)| key.clone())
        .collect();
    for key in keys {
        records.free(draft, &key)?;
    }
    records.write(draft);
    Ok(())
}

/// What is counted of a workload's records, and of all.
struct Records {
    workload: Name,
    index: GuestRecordsRecord,
    totals: RecordTotalsRecord,
}

impl Records {
    fn read<V: StateView>(draft: &Draft<'_, V>, workload: &Name) -> Result<Self, NotLoaded> {
        let index = draft.read(&StateKey::guest_records(workload))?;
        Ok(Self {
            workload: workload.clone(),
            index: index.unwrap_or_default(),
            totals: draft.read(&StateKey::record_totals())?.unwrap_or_default(),
        })
    }

    fn write<V: StateView>(&self, draft: &mut Draft<'_, V>) {
        let key = StateKey::guest_records(&self.workload);
        if self.index.records.is_empty() {
            draft.remove(key);
        } else {
            draft.write(key, &self.index);
        }
        if self.totals.records == 0 {
            draft.remove(StateKey::record_totals());
        } else {
            draft.write(StateKey::record_totals(), &self.totals);
        }
    }

    /// Where a key stands in the index, or would.
    fn position(&self, key: &RecordKey) -> Result<usize, usize> {
        let records = &self.index.records;
        records.binary_search_by(|(known, _)| known.cmp(key))
    }

    /// Writes a record that is not there.
    fn keep<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        key: &RecordKey,
        record: &GuestRecord,
    ) -> Result<(), Refusal> {
        let (value, max) = (record.value.len(), RECORD_VALUE_BYTES_MAX);
        let bytes = u32::try_from(key.as_str().len() + value).ok();
        let Some(bytes) = bytes.filter(|_| value <= max) else {
            let (bytes, max) = (value as u64, max as u64);
            return Err(Refusal::RecordTooLarge { bytes, max });
        };
        self.totals.records += 1;
        self.totals.bytes += u64::from(bytes);
        if self.totals.bytes > RECORDS_BYTES_MAX {
            let max = RECORDS_BYTES_MAX;
            return Err(Refusal::RecordsFull { max });
        }
        let facts = RecordFacts {
            bytes,
            expires_at: record.expires_at,
        };
        let (Ok(at) | Err(at)) = self.position(key);
        self.index.records.insert(at, (key.clone(), facts));
        draft.write(StateKey::guest_record(&self.workload, key), record);
        Ok(())
    }

    /// Frees a record and forgets when it was due. Whether it was there.
    fn free<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        key: &RecordKey,
    ) -> Result<bool, NotLoaded> {
        let Some(facts) = self.remove(draft, key) else {
            return Ok(false);
        };
        if let Some(at) = facts.expires_at {
            let entry = StateKey::records_due(at);
            let mut due: RecordsDueRecord = draft.read(&entry)?.unwrap_or_default();
            due.due
                .retain(|(workload, other)| *workload != self.workload || other != key);
            if due.due.is_empty() {
                draft.remove(entry);
            } else {
                draft.write(entry, &due);
            }
        }
        Ok(true)
    }

    fn remove<V: StateView>(
        &mut self,
        draft: &mut Draft<'_, V>,
        key: &RecordKey,
    ) -> Option<RecordFacts> {
        let at = self.position(key).ok()?;
        let (_, facts) = self.index.records.remove(at);
        self.totals.records -= 1;
        self.totals.bytes -= u64::from(facts.bytes);
        draft.remove(StateKey::guest_record(&self.workload, key));
        Some(facts)
    }
}
