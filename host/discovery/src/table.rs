//! The newest record of every member. Never knows how records travel.
//!
//! Rules: only members have records; the highest sequence wins and the same one again changes
//! nothing; a sequence from further ahead than [`CLOCK_SKEW_MAX_MS`] and a record whose time is over
//! are refused; a member's next record is taken after [`RECORD_PAUSE_MS`] at the earliest; a record
//! goes when its time is over or the member does.

use std::collections::{BTreeMap, BTreeSet};

use types::NodeId;

use crate::record::{CLOCK_SKEW_MAX_MS, SignedRecord};

/// Records that are kept: half a megabyte, and more members than one node has sessions with.
pub const RECORDS_MAX: usize = 1_024;

/// Pause between two records of one member that are taken: each is passed on by everyone and
/// written down, so a member could keep all others busy. Who signs sooner is heard later.
pub const RECORD_PAUSE_MS: u64 = 1_000;

/// The records of one fabric, as one node has them.
#[derive(Debug, Clone, Default)]
pub struct Records {
    records: BTreeMap<NodeId, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    signed: SignedRecord,
    taken_at_ms: u64,
}

/// What became of a good record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is news.
    New,
    /// It, or a newer one, was here already.
    Known,
}

/// A record with a good signature that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRecord {
    /// Nodes that have not followed the ledger as far see members differently: no offence.
    #[error("the node is no member, as far as this one has followed the ledger")]
    NotAMember,
    /// Too late.
    #[error("its time is over")]
    Expired,
    /// From the future.
    #[error("it was signed more than {CLOCK_SKEW_MAX_MS} ms ahead of this node's clock")]
    TooEarly,
    /// The one before is too fresh.
    #[error("its node signed another one a moment ago")]
    TooSoon,
    /// No room for another member.
    #[error("{RECORDS_MAX} records are kept already")]
    Full,
}

impl Records {
    /// Takes a record if it is newer than the one that is here.
    ///
    /// # Errors
    /// [`RefusedRecord`].
    pub fn take(
        &mut self,
        signed: SignedRecord,
        members: &BTreeSet<NodeId>,
        now_ms: u64,
    ) -> Result<Taken, RefusedRecord> {
        let record = signed.record();
        if !members.contains(&record.node) {
            return Err(RefusedRecord::NotAMember);
        }
        if record.expires_at_ms <= now_ms {
            return Err(RefusedRecord::Expired);
        }
        if record.sequence > now_ms.saturating_add(CLOCK_SKEW_MAX_MS) {
            return Err(RefusedRecord::TooEarly);
        }
        match self.records.get(&record.node) {
            Some(known) if known.signed.record().sequence >= record.sequence => {
                return Ok(Taken::Known);
            }
            // A clock that was set, either way, is no reason to wait for long.
            Some(known) if known.taken_at_ms.abs_diff(now_ms) < RECORD_PAUSE_MS => {
                return Err(RefusedRecord::TooSoon);
            }
            None if self.records.len() >= RECORDS_MAX => return Err(RefusedRecord::Full),
            _ => {}
        }
        let entry = Entry {
            taken_at_ms: now_ms,
            signed,
        };
        self.records.insert(entry.signed.node(), entry);
        Ok(Taken::New)
    }

    /// Drops the records of those that are no members, and those whose time is over.
    pub fn prune(&mut self, members: &BTreeSet<NodeId>, now_ms: u64) {
        self.records.retain(|node, entry| {
            members.contains(node) && entry.signed.record().expires_at_ms > now_ms
        });
    }

    /// The record of a node.
    #[must_use]
    pub fn of(&self, node: &NodeId) -> Option<&SignedRecord> {
        self.records.get(node).map(|entry| &entry.signed)
    }

    /// All records, in id order.
    pub fn iter(&self) -> impl Iterator<Item = &SignedRecord> {
        self.records.values().map(|entry| &entry.signed)
    }

    pub(crate) fn sequence(&self, node: &NodeId) -> Option<u64> {
        self.of(node).map(|signed| signed.record().sequence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trust::SecretKey;
    use types::FabricId;

    use super::*;
    use crate::record::{AddressRecord, RECORD_LIFE_MS};

    const NOW_MS: u64 = 1_800_000_000_000;

    fn signed(seed: u8, sequence: u64) -> SignedRecord {
        let key = SecretKey::from_seed(&[seed; 32]);
        let record = AddressRecord {
            fabric: FabricId::of(b"fabric"),
            node: key.public(),
            sequence,
            expires_at_ms: sequence + RECORD_LIFE_MS,
            addresses: vec![([192, 0, 2, seed], 7_400).into()],
            relays: Vec::new(),
        };
        record.sign(&key).unwrap()
    }

    fn members(seeds: &[u8]) -> BTreeSet<NodeId> {
        let key = |seed: &u8| SecretKey::from_seed(&[*seed; 32]).public();
        seeds.iter().map(key).collect()
    }

    #[test]
    fn refusals_say_why() {
        let mut records = Records::default();
        let members = members(&[1]);
        let take = |records: &mut Records, signed| records.take(signed, &members, NOW_MS);
        assert_eq!(
            take(&mut records, signed(2, NOW_MS)),
            Err(RefusedRecord::NotAMember)
        );
        let old = signed(1, NOW_MS - RECORD_LIFE_MS);
        assert_eq!(take(&mut records, old), Err(RefusedRecord::Expired));
        let ahead = signed(1, NOW_MS + CLOCK_SKEW_MAX_MS + 1);
        assert_eq!(take(&mut records, ahead), Err(RefusedRecord::TooEarly));
        let ahead = signed(1, NOW_MS + CLOCK_SKEW_MAX_MS);
        assert_eq!(take(&mut records, ahead), Ok(Taken::New));
        assert_eq!(
            take(&mut records, signed(1, NOW_MS)),
            Ok(Taken::Known),
            "an older one comes late"
        );
    }

    #[test]
    fn a_member_that_signs_all_the_time_is_heard_now_and_then() {
        let mut records = Records::default();
        let members = members(&[1]);
        let mut taken = 0;
        for step_ms in 0..10_000 {
            let now_ms = NOW_MS + step_ms / 2;
            match records.take(signed(1, NOW_MS + step_ms), &members, now_ms) {
                Ok(Taken::New) => taken += 1,
                other => assert_eq!(other, Err(RefusedRecord::TooSoon)),
            }
        }
        assert_eq!(taken, 5, "in five seconds");
    }

    #[test]
    fn who_leaves_and_what_expires_goes() {
        let mut records = Records::default();
        let both = members(&[1, 2]);
        for seed in [1, 2] {
            records
                .take(signed(seed, NOW_MS + u64::from(seed)), &both, NOW_MS)
                .unwrap();
        }
        records.prune(&both, NOW_MS + 1 + RECORD_LIFE_MS);
        assert_eq!(records.iter().count(), 1);
        records.prune(&members(&[1]), NOW_MS);
        assert_eq!(records.iter().count(), 0);
    }

    proptest! {
        /// Whatever the order, the newest record of each member is what stays.
        #[test]
        fn the_newest_wins_in_any_order(offers in prop::collection::vec((1_u8..4, 0_u64..50), 1..40)) {
            let mut records = Records::default();
            let members = members(&[1, 2, 3]);
            for (turn, (seed, step)) in offers.iter().enumerate() {
                let now_ms = NOW_MS + turn as u64 * RECORD_PAUSE_MS;
                let _ = records.take(signed(*seed, NOW_MS + step), &members, now_ms).unwrap();
            }
            for seed in 1..4_u8 {
                let newest = offers.iter().filter(|offer| offer.0 == seed).map(|offer| offer.1).max();
                let node = SecretKey::from_seed(&[seed; 32]).public();
                prop_assert_eq!(records.sequence(&node), newest.map(|step| NOW_MS + step));
            }
        }
    }
}
