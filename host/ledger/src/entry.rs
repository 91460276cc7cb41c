//! Entries of the state for those who only look: which record is at a key, and keys as text.

use std::str::FromStr;

use serde::Serialize;

use crate::allowance::AllowanceRecord;
use crate::anchor::AnchorRecord;
use crate::asset::{
    AssetLeasesRecord, AssetRecord, AssetTotalsRecord, HolderLeasesRecord, LeaseRecord,
    NodeAssetsRecord,
};
use crate::evidence::ConvictionRecord;
use crate::fault::{FaultRecord, JoinedRecord};
use crate::guest::{
    GuestRecord, GuestRecordsRecord, RecordRateRecord, RecordTotalsRecord, RecordsDueRecord,
};
use crate::key::StateKey;
use crate::liveness::{AbsenceRecord, AbsencesRecord};
use crate::member::{
    CandidatesRecord, CensusRecord, CertificateRecord, InviteRecord, InvitesRecord, MemberRecord,
};
use crate::node::{NodeRecord, NodeWorkloadsRecord, UnplacedRecord};
use crate::record::{
    DecodeRecordError, DeploymentRecord, FabricRecord, PlacementRecord, PrincipalRecord,
    RouteRecord, decode,
};
use crate::space::SpaceRecord;
use crate::upgrade::RulesRecord;
use crate::validator::CommitteeRecord;

/// The record of any entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "each is the record that it is named for")]
pub enum AnyRecord {
    Fabric(FabricRecord),
    Principal(PrincipalRecord),
    Node(NodeRecord),
    Member(MemberRecord),
    Certificate(CertificateRecord),
    Invite(InviteRecord),
    Invites(InvitesRecord),
    Candidates(CandidatesRecord),
    Committee(CommitteeRecord),
    Conviction(ConvictionRecord),
    Census(CensusRecord),
    Deployment(DeploymentRecord),
    Placement(PlacementRecord),
    Route(RouteRecord),
    GuestRecord(GuestRecord),
    GuestRecords(GuestRecordsRecord),
    RecordTotals(RecordTotalsRecord),
    RecordsDue(RecordsDueRecord),
    RecordRate(RecordRateRecord),
    Rules(RulesRecord),
    Absence(AbsenceRecord),
    Absences(AbsencesRecord),
    Asset(AssetRecord),
    AssetLeases(AssetLeasesRecord),
    AssetTotals(AssetTotalsRecord),
    NodeAssets(NodeAssetsRecord),
    Lease(LeaseRecord),
    HolderLeases(HolderLeasesRecord),
    AssetSpace(SpaceRecord),
    Allowance(AllowanceRecord),
    Anchor(AnchorRecord),
    Fault(FaultRecord),
    Joined(JoinedRecord),
    NodeWorkloads(NodeWorkloadsRecord),
    Unplaced(UnplacedRecord),
}

impl AnyRecord {
    /// Reads the value at `key`; `None` for a kind of entry that this release does not know.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if this release cannot read the value.
    pub fn decode(key: &StateKey, value: &[u8]) -> Result<Option<Self>, DecodeRecordError> {
        let kind = key.as_bytes().split(|byte| *byte == b'/').next();
        Ok(Some(match kind.unwrap_or_default() {
            b"fabric" => Self::Fabric(decode(key, value)?),
            b"principal" => Self::Principal(decode(key, value)?),
            b"node" => Self::Node(decode(key, value)?),
            b"member" => Self::Member(decode(key, value)?),
            b"certificate" => Self::Certificate(decode(key, value)?),
            b"invite" => Self::Invite(decode(key, value)?),
            b"invites" => Self::Invites(decode(key, value)?),
            b"candidates" => Self::Candidates(decode(key, value)?),
            b"committee" => Self::Committee(decode(key, value)?),
            b"conviction" => Self::Conviction(decode(key, value)?),
            b"census" => Self::Census(decode(key, value)?),
            b"deployment" => Self::Deployment(decode(key, value)?),
            b"placement" => Self::Placement(decode(key, value)?),
            b"route" => Self::Route(decode(key, value)?),
            b"record" => Self::GuestRecord(decode(key, value)?),
            b"records" => Self::GuestRecords(decode(key, value)?),
            b"record-totals" => Self::RecordTotals(decode(key, value)?),
            b"records-due" => Self::RecordsDue(decode(key, value)?),
            b"record-rate" => Self::RecordRate(decode(key, value)?),
            b"rules" => Self::Rules(decode(key, value)?),
            b"absence" => Self::Absence(decode(key, value)?),
            b"absences" => Self::Absences(decode(key, value)?),
            b"asset" => Self::Asset(decode(key, value)?),
            b"asset-leases" => Self::AssetLeases(decode(key, value)?),
            b"asset-totals" => Self::AssetTotals(decode(key, value)?),
            b"node-assets" => Self::NodeAssets(decode(key, value)?),
            b"lease" => Self::Lease(decode(key, value)?),
            b"holder-leases" => Self::HolderLeases(decode(key, value)?),
            b"asset-space" => Self::AssetSpace(decode(key, value)?),
            b"allowance" => Self::Allowance(decode(key, value)?),
            b"anchor" => Self::Anchor(decode(key, value)?),
            b"fault" => Self::Fault(decode(key, value)?),
            b"joined" => Self::Joined(decode(key, value)?),
            b"node-workloads" => Self::NodeWorkloads(decode(key, value)?),
            b"unplaced" => Self::Unplaced(decode(key, value)?),
            _ => return Ok(None),
        }))
    }
}

/// Text that names no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseStateKeyError {
    /// Empty, or too long.
    #[error(transparent)]
    Length(#[from] crate::key::StateKeyError),
    /// A backslash that begins nothing.
    #[error(
        "`\\` begins `\\xNN`, `\\t`, `\\r`, `\\n`, `\\\"`, `\\'` or `\\\\` in a state key: {0:?}"
    )]
    Escape(String),
}

impl FromStr for StateKey {
    type Err = ParseStateKeyError;

    /// Reads a key as it is shown: ASCII as it is, other bytes as `\xNN`. Letters beyond ASCII may
    /// also stand for their UTF-8 bytes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseStateKeyError::Escape(text.to_owned());
        let mut key = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            key.push(match byte {
                b'\\' => match rest.next().ok_or_else(wrong)? {
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'n' => b'\n',
                    same @ (b'"' | b'\'' | b'\\') => same,
                    b'x' => {
                        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                        let (high, low) = (digit(rest.next()), digit(rest.next()));
                        let (high, low) = high.zip(low).ok_or_else(wrong)?;
                        u8::try_from(high * 16 + low).map_err(|_| wrong())?
                    }
                    _ => return Err(wrong()),
                },
                byte => byte,
            });
        }
        Ok(Self::from_bytes(key)?)
    }
}

#[cfg(test)]
mod tests {
    use types::{AssetId, AssetType, Digest, LeaseId, Name, PublicKey, Route};

    use super::*;
    use crate::guest::RecordKey;

    #[test]
    fn a_key_reads_as_it_is_shown() {
        let every_byte = StateKey::from_bytes((0..=255).collect()).unwrap();
        let name = Name::new("web").unwrap();
        let route = Route::new("a.example", "/x").unwrap();
        for key in [
            every_byte,
            StateKey::deployment(&name),
            StateKey::route(&route),
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert_eq!(
            "é".parse(),
            StateKey::from_bytes("é".into()).map_err(Into::into)
        );
        for wrong in ["a\\", "\\q", "\\x0", "\\xzz"] {
            let refused = StateKey::from_str(wrong);
            assert!(
                matches!(refused, Err(ParseStateKeyError::Escape(_))),
                "{wrong}"
            );
        }
        assert!(StateKey::from_str("").is_err());
    }

    /// Whoever adds a kind of entry adds it here: else nobody sees what is in it.
    #[test]
    fn every_kind_of_entry_is_known() {
        let (id, digest) = (PublicKey::from_bytes([9; 32]), Digest::from_bytes([8; 32]));
        let name = Name::new("a").unwrap();
        let asset = AssetId::from_parts(AssetType::Cpu, digest);
        let keys = [
            StateKey::fabric(),
            StateKey::principal(&id),
            StateKey::node(&id),
            StateKey::member(&id),
            StateKey::certificate(&digest),
            StateKey::invite(&id),
            StateKey::invites(),
            StateKey::candidates(),
            StateKey::committee(),
            StateKey::conviction(&id),
            StateKey::census(),
            StateKey::deployment(&name),
            StateKey::placement(&name, &name, 1),
            StateKey::route(&Route::new("a.example", "/").unwrap()),
            StateKey::guest_record(&name, &RecordKey::new("k/1").unwrap()),
            StateKey::guest_records(&name),
            StateKey::record_totals(),
            StateKey::records_due(7),
            StateKey::record_rate(&id),
            StateKey::rules(),
            StateKey::absence(&id),
            StateKey::absences(),
            StateKey::asset(&asset),
            StateKey::asset_leases(&asset),
            StateKey::asset_totals(),
            StateKey::node_assets(&id),
            StateKey::lease(&LeaseId::from_digest(digest)),
            StateKey::holder_leases(&id),
        ];
        for key in keys {
            let newer = AnyRecord::decode(&key, &[0xff]);
            let version = matches!(newer, Err(DecodeRecordError::Version { .. }));
            assert!(version, "{key}: {newer:?}");
        }
        let other = StateKey::from_bytes(b"something/else".to_vec()).unwrap();
        assert_eq!(AnyRecord::decode(&other, &[0xff]), Ok(None));
    }

    #[test]
    fn a_record_is_read_by_its_key() {
        let name = Name::new("web").unwrap();
        let record = RouteRecord {
            workload: name.clone(),
            component: name,
        };
        let key = StateKey::route(&Route::new("a.example", "/").unwrap());
        let read = AnyRecord::decode(&key, &crate::record::encode(&record));
        assert_eq!(read, Ok(Some(AnyRecord::Route(record))));
    }
}
