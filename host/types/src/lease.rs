//! Leases of assets: how they are named, and on what terms an asset is shared. Knows neither who
//! holds one nor what is free.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::asset_facts::FactText;
use crate::digest::unhex;
use crate::{Amount, AssetId, Digest, Name, Principal, Privacy};

const ID_DOMAIN: &[u8] = b"hypermesh/types/lease/1\0";

/// The name of a lease, written `lease-<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(Digest);

impl LeaseId {
    /// The id of the lease of `asset` that `signer` asked for in its transaction with `nonce`. A
    /// signer uses a nonce once in a fabric, so a fabric never names two leases alike.
    ///
    /// The digest is BLAKE3 of `"hypermesh/types/lease/1\0" | signer (32) | nonce (8,
    /// little-endian) | asset`, the last as its text.
    #[must_use]
    pub fn new(signer: &Principal, nonce: u64, asset: &AssetId) -> Self {
        let mut bytes = ID_DOMAIN.to_vec();
        bytes.extend(signer.as_bytes());
        bytes.extend(nonce.to_le_bytes());
        bytes.extend(asset.to_string().as_bytes());
        Self(Digest::of(&bytes))
    }

    /// An id from its digest; whether there is such a lease is for the ledger to say.
    #[must_use]
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }

    /// The word and 12 hex digits: enough for people, never for machines.
    #[must_use]
    pub fn short(&self) -> String {
        format!("lease-{}", self.0.short())
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease-{}", self.0.hex())
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the id of a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a lease: expected `lease-` and 64 lower-case hex digits")]
pub struct ParseLeaseIdError {
    text: String,
}

impl FromStr for LeaseId {
    type Err = ParseLeaseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = text.strip_prefix("lease-").and_then(unhex);
        let id = digest.map(|digest| Self(Digest::from_bytes(digest)));
        id.ok_or_else(|| ParseLeaseIdError {
            text: text.chars().take(80).collect(),
        })
    }
}

/// As text its text form; in binary the bare hash.
impl Serialize for LeaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for LeaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self(Digest::deserialize(deserializer)?))
        }
    }
}

/// On what terms an asset is shared. The order of fields is wire format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetPolicy {
    /// Who may use it.
    pub privacy: Privacy,
    /// How much of what was measured may be leased, in percent.
    pub share_percent: u8,
    /// Most leases of it at once.
    pub concurrency: u16,
    /// Longest term of a lease, in milliseconds from its grant or renewal.
    pub term_ms_max: u64,
    /// Whom the owner named, for privacy `private-network`.
    pub peers: BTreeSet<Principal>,
    /// What its owner says of it; no rule reads them.
    pub labels: BTreeMap<Name, FactText>,
    /// What of its holder's bond each lease ties, in the fabric's unit.
    pub bond: u64,
}

/// Terms that no asset can be shared on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetPolicyError {
    /// Nothing, or more than there is.
    #[error("the share is 1 to 100 percent, not {0}")]
    Share(u8),
    /// None, or more than one entry of the ledger lists.
    #[error(
        "an asset has 1 to {max} leases at once, not {0}",
        max = AssetPolicy::CONCURRENCY_MAX
    )]
    Concurrency(u16),
    /// No time, or too much of it.
    #[error(
        "the longest term of a lease is {least} s to {most} days, not {0} ms",
        least = AssetPolicy::TERM_MS_MIN / 1_000,
        most = AssetPolicy::TERM_MS_MAX / 86_400_000
    )]
    Term(u64),
    /// Too long a list.
    #[error(
        "the policy names {0} peers, at most {max} are kept", max = AssetPolicy::PEERS_MAX
    )]
    Peers(usize),
    /// Too long a list.
    #[error(
        "the policy has {0} labels, at most {max} are kept", max = AssetPolicy::LABELS_MAX
    )]
    Labels(usize),
}

impl AssetPolicy {
    /// Most leases of one asset at once: a list of them is one entry of the ledger.
    pub const CONCURRENCY_MAX: u16 = 1_024;
    /// Shortest term: blocks of a quiet fabric are seconds apart.
    pub const TERM_MS_MIN: u64 = 1_000;
    /// Longest term: nobody can cut a lease short, so this is how long a machine is promised away.
    pub const TERM_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
    /// Most peers that one policy names.
    pub const PEERS_MAX: usize = 64;
    /// Most labels of one asset.
    pub const LABELS_MAX: usize = 16;

    /// The terms of an asset that nobody but its owner uses: all of it, for a day at most.
    #[must_use]
    pub const fn private() -> Self {
        Self {
            privacy: Privacy::Private,
            share_percent: 100,
            concurrency: 64,
            term_ms_max: 24 * 60 * 60 * 1_000,
            peers: BTreeSet::new(),
            labels: BTreeMap::new(),
            bond: 0,
        }
    }

    /// Whether an asset can be shared on these terms.
    ///
    /// # Errors
    /// [`AssetPolicyError`] if one of them is out of its bounds.
    pub fn check(&self) -> Result<(), AssetPolicyError> {
        if !(1..=100).contains(&self.share_percent) {
            return Err(AssetPolicyError::Share(self.share_percent));
        }
        if !(1..=Self::CONCURRENCY_MAX).contains(&self.concurrency) {
            return Err(AssetPolicyError::Concurrency(self.concurrency));
        }
        if !(Self::TERM_MS_MIN..=Self::TERM_MS_MAX).contains(&self.term_ms_max) {
            return Err(AssetPolicyError::Term(self.term_ms_max));
        }
        if self.peers.len() > Self::PEERS_MAX {
            return Err(AssetPolicyError::Peers(self.peers.len()));
        }
        if self.labels.len() > Self::LABELS_MAX {
            return Err(AssetPolicyError::Labels(self.labels.len()));
        }
        Ok(())
    }

    /// How much of `capacity` may be leased, rounded down.
    #[must_use]
    pub fn share_of(&self, capacity: Amount) -> Amount {
        let share = u128::from(capacity.0) * u128::from(self.share_percent.min(100)) / 100;
        Amount(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AssetType, PublicKey};

    fn lease(nonce: u64) -> LeaseId {
        let asset = AssetId::from_parts(AssetType::Memory, Digest::from_bytes([3; 32]));
        LeaseId::new(&PublicKey::from_bytes([5; 32]), nonce, &asset)
    }

    #[test]
    fn an_id_depends_on_its_parts_and_has_one_text_and_one_binary_form() {
        assert_ne!(lease(1), lease(2));
        let id = LeaseId::from_digest(Digest::from_bytes([0xcd; 32]));
        let text = format!("lease-{}", "cd".repeat(32));
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(id.short(), "lease-cdcdcdcdcdcd");
        assert_eq!(postcard::to_allocvec(&id).unwrap(), [0xcd; 32]);
        assert_eq!(postcard::from_bytes(&[0xcd; 32]), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<LeaseId>(&json).unwrap(), id);
        for bad in ["", "lease-", "lease-cd", "cpu-cd", &text.to_uppercase()] {
            assert!(bad.parse::<LeaseId>().is_err(), "{bad}");
        }
        assert_eq!(
            lease(7).to_string(),
            "lease-83c01c61f8364e0b80eeecd8daeceb33827122fe456be19dd5c20a2c1e9d0838"
        );
    }

    #[test]
    fn each_bound_of_a_policy_is_checked() {
        let policy = AssetPolicy::private();
        assert_eq!(policy.check(), Ok(()));
        let with = |change: fn(&mut AssetPolicy)| {
            let mut changed = policy.clone();
            change(&mut changed);
            changed.check().unwrap_err()
        };
        assert_eq!(with(|it| it.share_percent = 0), AssetPolicyError::Share(0));
        let over = with(|it| it.share_percent = 101);
        assert_eq!(over, AssetPolicyError::Share(101));
        let none = with(|it| it.concurrency = 0);
        assert_eq!(none, AssetPolicyError::Concurrency(0));
        let over = with(|it| it.concurrency = AssetPolicy::CONCURRENCY_MAX + 1);
        assert_eq!(over, AssetPolicyError::Concurrency(1_025));
        assert_eq!(with(|it| it.term_ms_max = 999), AssetPolicyError::Term(999));
        let long = with(|it| it.term_ms_max = AssetPolicy::TERM_MS_MAX + 1);
        assert!(matches!(long, AssetPolicyError::Term(_)));
        let crowd = with(|it| {
            let keys = (0..65).map(|seed| PublicKey::from_bytes([seed; 32]));
            it.peers = keys.collect();
        });
        assert_eq!(crowd, AssetPolicyError::Peers(65));
        let labelled = with(|it| {
            let names = (0..17).map(|at| Name::new(format!("l{at}")).unwrap());
            let text = FactText::new("x").unwrap();
            it.labels = names.map(|name| (name, text.clone())).collect();
        });
        assert_eq!(labelled, AssetPolicyError::Labels(17));
    }

    #[test]
    fn a_share_is_rounded_down_and_never_wraps() {
        let mut policy = AssetPolicy::private();
        policy.share_percent = 33;
        assert_eq!(policy.share_of(Amount(100)), Amount(33));
        assert_eq!(policy.share_of(Amount(2)), Amount(0));
        policy.share_percent = 100;
        assert_eq!(policy.share_of(Amount(u64::MAX)), Amount(u64::MAX));
    }
}
