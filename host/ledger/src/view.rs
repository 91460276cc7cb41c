//! Finalised state as a node keeps it in memory: typed reads, changed block by block.

mod assets;
mod nodes;

pub use nodes::NodePlace;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use types::{Digest, Name, NodeId, Principal, PublicKey, Route};

use crate::evidence::ConvictionRecord;
use crate::guest::{GuestRecord, GuestRecordsRecord, RecordKey};
use crate::key::StateKey;
use crate::liveness::AbsenceRecord;
use crate::member::{CandidatesRecord, CertificateRecord, InviteRecord, MemberRecord};
use crate::record::{
    self, DecodeRecordError, DeploymentRecord, FabricRecord, PlacementRecord, PrincipalRecord,
    Record, RouteRecord,
};
use crate::upgrade::RulesRecord;
use crate::validator::CommitteeRecord;

/// One placed replica with its address in the deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placement {
    /// The deployment.
    pub workload: Name,
    /// Its component.
    pub component: Name,
    /// Which replica of it.
    pub index: u16,
    /// Where it runs.
    pub node: NodeId,
    /// The generation that placed it.
    pub generation: u64,
}

/// The state after one final block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    height: u64,
    time_ms: u64,
    entries: BTreeMap<StateKey, Vec<u8>>,
    /// Deployments among the entries, read once: a fabric has thousands, and every block asks.
    deployments: BTreeMap<StateKey, Result<Arc<DeploymentRecord>, DecodeRecordError>>,
}

const DEPLOYMENTS: &str = "deployment/";

impl View {
    /// Takes the state that storage holds at `height`.
    #[must_use]
    pub fn new(height: u64, time_ms: u64, entries: BTreeMap<StateKey, Vec<u8>>) -> Self {
        let mut view = Self {
            height,
            time_ms,
            entries: BTreeMap::new(),
            deployments: BTreeMap::new(),
        };
        for (key, value) in entries {
            view.set(key, Some(value));
        }
        view
    }

    /// Height of the last block.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// Time of the last block, Unix milliseconds.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Goes on to the next final block.
    ///
    /// # Panics
    /// If `height` is not the next one: a gap would show a state that never was.
    pub fn advance(
        &mut self,
        height: u64,
        time_ms: u64,
        changes: impl IntoIterator<Item = (StateKey, Option<Vec<u8>>)>,
    ) {
        assert_eq!(height, self.height + 1, "blocks arrive in order");
        self.height = height;
        self.time_ms = time_ms;
        for (key, value) in changes {
            self.set(key, value);
        }
    }

    /// What leads from these entries to `entries`, in key order.
    #[must_use]
    pub fn changes_to(
        &self,
        entries: BTreeMap<StateKey, Vec<u8>>,
    ) -> Vec<(StateKey, Option<Vec<u8>>)> {
        let gone = |key: &&StateKey| !entries.contains_key(*key);
        let gone = self.entries.keys().filter(gone).cloned();
        let mut changes: Vec<_> = gone.map(|key| (key, None)).collect();
        let others = entries
            .into_iter()
            .filter(|(key, value)| self.entries.get(key) != Some(value));
        changes.extend(others.map(|(key, value)| (key, Some(value))));
        changes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        changes
    }

    /// Goes on from the state at `height`, whose blocks before were not seen.
    ///
    /// # Panics
    /// If `height` is below the last one: a final block stays.
    pub fn skip(
        &mut self,
        height: u64,
        time_ms: u64,
        changes: impl IntoIterator<Item = (StateKey, Option<Vec<u8>>)>,
    ) {
        assert!(height >= self.height, "no state leads back");
        self.height = height;
        self.time_ms = time_ms;
        for (key, value) in changes {
            self.set(key, value);
        }
    }

    fn set(&mut self, key: StateKey, value: Option<Vec<u8>>) {
        if key.as_bytes().starts_with(DEPLOYMENTS.as_bytes()) {
            match &value {
                Some(value) => {
                    let decoded = record::decode(&key, value).map(Arc::new);
                    self.deployments.insert(key.clone(), decoded)
                }
                None => self.deployments.remove(&key),
            };
        }
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        };
    }

    /// The fabric's record; none before the first block.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn fabric(&self) -> Result<Option<FabricRecord>, DecodeRecordError> {
        self.read(&StateKey::fabric())
    }

    /// What the ledger knows of a signer.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn principal(&self, id: &Principal) -> Result<Option<PrincipalRecord>, DecodeRecordError> {
        self.read(&StateKey::principal(id))
    }

    /// All signers with their roles, in key order.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn principals(&self) -> Result<Vec<(Principal, PrincipalRecord)>, DecodeRecordError> {
        self.keyed("principal/", |text| text.parse().ok())
    }

    /// How a node stands to the fabric. A founder that never logged a certificate is a member
    /// without any.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn member(&self, node: &NodeId) -> Result<Option<MemberRecord>, DecodeRecordError> {
        if let Some(record) = self.read(&StateKey::member(node))? {
            return Ok(Some(record));
        }
        let founders = self
            .fabric()?
            .map(|fabric| fabric.nodes)
            .unwrap_or_default();
        Ok(founders.contains(node).then(MemberRecord::founder))
    }

    /// Whether enough validators voted that a node may join without a ticket.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote the votes.
    pub fn is_approved(&self, node: &NodeId) -> Result<bool, DecodeRecordError> {
        let Some(fabric) = self.fabric()? else {
            return Ok(false);
        };
        let votes: Option<CandidatesRecord> = self.read(&StateKey::candidates())?;
        Ok(votes.is_some_and(|votes| votes.approves(node, &fabric.validators)))
    }

    /// All nodes that are or were members, in id order, founders included.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn members(&self) -> Result<BTreeMap<NodeId, MemberRecord>, DecodeRecordError> {
        let founders = self
            .fabric()?
            .map(|fabric| fabric.nodes)
            .unwrap_or_default();
        let mut members: BTreeMap<_, _> = founders
            .into_iter()
            .map(|node| (node, MemberRecord::founder()))
            .collect();
        members.extend(self.keyed("member/", |text| text.parse().ok())?);
        Ok(members)
    }

    /// Who votes from the next epoch on, and votes about it.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn committee(&self) -> Result<CommitteeRecord, DecodeRecordError> {
        Ok(self.read(&StateKey::committee())?.unwrap_or_default())
    }

    /// The rules in force, those decided on, and votes about them.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn rules(&self) -> Result<RulesRecord, DecodeRecordError> {
        Ok(self.read(&StateKey::rules())?.unwrap_or_default())
    }

    /// The validators that were convicted, with the proof.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn convictions(&self) -> Result<BTreeMap<PublicKey, ConvictionRecord>, DecodeRecordError> {
        let convictions = self.keyed("conviction/", |text| text.parse().ok())?;
        Ok(convictions.into_iter().collect())
    }

    /// The nodes that witnesses report as gone, with the reports.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn absences(&self) -> Result<BTreeMap<NodeId, AbsenceRecord>, DecodeRecordError> {
        let absences = self.keyed("absence/", |text| text.parse().ok())?;
        Ok(absences.into_iter().collect())
    }

    /// A logged certificate.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn certificate(
        &self,
        fingerprint: &Digest,
    ) -> Result<Option<CertificateRecord>, DecodeRecordError> {
        self.read(&StateKey::certificate(fingerprint))
    }

    /// One ticket.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn invite(&self, ticket: &PublicKey) -> Result<Option<InviteRecord>, DecodeRecordError> {
        self.read(&StateKey::invite(ticket))
    }

    /// All tickets that have a record, in key order.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn invites(&self) -> Result<Vec<(PublicKey, InviteRecord)>, DecodeRecordError> {
        self.keyed("invite/", |text| text.parse().ok())
    }

    /// Every record below `prefix` with what its key names.
    fn keyed<K, R: Record>(
        &self,
        prefix: &str,
        parse: impl Fn(&str) -> Option<K>,
    ) -> Result<Vec<(K, R)>, DecodeRecordError> {
        self.below(prefix)
            .map(|(key, value)| {
                let record = record::decode(key, value)?;
                let text = std::str::from_utf8(&key.as_bytes()[prefix.len()..]).ok();
                let name = text.and_then(&parse);
                let malformed = || DecodeRecordError::Malformed { key: key.clone() };
                Ok((name.ok_or_else(malformed)?, record))
            })
            .collect()
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn deployment(
        &self,
        name: &Name,
    ) -> Result<Option<Arc<DeploymentRecord>>, DecodeRecordError> {
        let found = self.deployments.get(&StateKey::deployment(name));
        found.cloned().transpose()
    }

    /// All deployments, in name order.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn deployments(&self) -> Result<Vec<Arc<DeploymentRecord>>, DecodeRecordError> {
        self.deployments.values().cloned().collect()
    }

    /// All placements, ordered by workload, component and index.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn placements(&self) -> Result<Vec<Placement>, DecodeRecordError> {
        self.placements_below("placement/")
    }

    /// The placements of one workload, ordered by component and index.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn placements_of(&self, workload: &Name) -> Result<Vec<Placement>, DecodeRecordError> {
        self.placements_below(&format!("placement/{workload}/"))
    }

    fn placements_below(&self, prefix: &str) -> Result<Vec<Placement>, DecodeRecordError> {
        self.below(prefix)
            .map(|(key, value)| {
                let record: PlacementRecord = record::decode(key, value)?;
                let malformed = || DecodeRecordError::Malformed { key: key.clone() };
                let text = std::str::from_utf8(key.as_bytes()).map_err(|_| malformed())?;
                let mut parts = text.split('/').skip(1);
                let mut name = || Name::new(parts.next().unwrap_or_default()).ok();
                let (workload, component) = (name(), name());
                let index = parts.next().and_then(|index| index.parse().ok());
                Ok(Placement {
                    workload: workload.ok_or_else(malformed)?,
                    component: component.ok_or_else(malformed)?,
                    index: index.ok_or_else(malformed)?,
                    node: record.node,
                    generation: record.generation,
                })
            })
            .collect()
    }

    /// What a guest of `workload` wrote down under `key`.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn guest_record(
        &self,
        workload: &Name,
        key: &RecordKey,
    ) -> Result<Option<GuestRecord>, DecodeRecordError> {
        self.read(&StateKey::guest_record(workload, key))
    }

    /// The records of a workload.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn guest_records(&self, workload: &Name) -> Result<GuestRecordsRecord, DecodeRecordError> {
        let records = self.read(&StateKey::guest_records(workload))?;
        Ok(records.unwrap_or_default())
    }

    /// Whose a route is.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn route(&self, route: &Route) -> Result<Option<RouteRecord>, DecodeRecordError> {
        self.read(&StateKey::route(route))
    }

    /// The value of any entry.
    #[must_use]
    pub fn value(&self, key: &StateKey) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    /// Every entry whose key begins with `prefix`, in key order.
    pub fn entries<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a StateKey, &'a [u8])> {
        let from = StateKey::from_bytes(prefix.to_vec());
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        self.entries
            .range((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.as_bytes().starts_with(prefix))
            .map(|(key, value)| (key, value.as_slice()))
    }

    fn read<R: Record>(&self, key: &StateKey) -> Result<Option<R>, DecodeRecordError> {
        self.entries
            .get(key)
            .map(|value| record::decode(key, value))
            .transpose()
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a StateKey, &'a Vec<u8>)> {
        self.entries
            .range(StateKey::prefix(prefix)..)
            .take_while(move |(key, _)| key.as_bytes().starts_with(prefix.as_bytes()))
    }
}
