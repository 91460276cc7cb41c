//! What a node says about where it is reached, signed by its identity. Never knows who is a member,
//! nor whether anybody answers there.
//!
//! A record is canonical postcard: fabric (32), node (32), sequence (varint), expiry (varint),
//! addresses (count, each: family, address, port), relays (count, each 32), signature (64). What is
//! signed is the domain tag and all before the signature.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use trust::SecretKey;
use types::{FabricId, NodeId, Signature};

/// Addresses of one record: a dial tries each, so more would be an attack on others.
pub const ADDRESSES_MAX: usize = 8;

/// Relays of one record: the second and third are for when the first is gone.
pub const RELAYS_MAX: usize = 3;

/// Longest time between signing and expiry. A node renews its record long before; who was away for
/// longer is found at the addresses that others remember.
pub const RECORD_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;

/// How far a clock may be ahead of the reader's: a sequence from further ahead is refused, because
/// none that is signed later by a right clock could outrank it.
pub const CLOCK_SKEW_MAX_MS: u64 = 10 * 60 * 1_000;

/// Longest encoding: all addresses IPv6, all relays, the longest numbers.
pub const RECORD_BYTES_MAX: usize = 512;

const DOMAIN: &[u8] = b"hypermesh/address-record/1\0";

/// Where one node says that it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The fabric that it is for.
    pub fabric: FabricId,
    /// The node that it is about, which signs it.
    pub node: NodeId,
    /// Which of a node's records is newer: Unix milliseconds at signing, and always more than in
    /// the one before.
    pub sequence: u64,
    /// Last moment at which it is good, Unix milliseconds.
    pub expires_at_ms: u64,
    /// Where the node listens, the best first; none if it only dials out. At most
    /// [`ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// Members through which the node is reached when no address answers, the best first. At most
    /// [`RELAYS_MAX`].
    pub relays: Vec<NodeId>,
}

/// A record whose rules and signature were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    record: AddressRecord,
    signature: Signature,
}

/// A rule that a record breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// Too many addresses.
    #[error("{0} addresses, at most {ADDRESSES_MAX} are allowed")]
    Addresses(usize),
    /// Too many relays.
    #[error("{0} relays, at most {RELAYS_MAX} are allowed")]
    Relays(usize),
    /// Nobody can be dialled there.
    #[error("{0} is not an address that a node can be dialled at")]
    Address(SocketAddr),
    /// The same thing twice, or a node that relays for itself.
    #[error("an address or a relay is named twice, or the node is its own relay")]
    Repeated,
    /// It would be good for longer than any record may be, or for no time.
    #[error(
        "a record is good for at most {RECORD_LIFE_MS} ms after it is signed, this one for {0}"
    )]
    Life(u64),
}

/// Bytes that are no good record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRecordError {
    /// Not one record in its one encoding.
    #[error("these bytes are not one record")]
    Malformed,
    /// Another fabric's.
    #[error("the record is for fabric {found}, this one is {expected}")]
    OtherFabric {
        /// The reader's.
        expected: FabricId,
        /// The record's.
        found: FabricId,
    },
    /// It breaks a rule.
    #[error("the record of {node}: {problem}")]
    Problem {
        /// Whom it is about.
        node: NodeId,
        /// Which rule.
        problem: RecordProblem,
    },
    /// The node did not sign it.
    #[error("the record of {node} was not signed by it")]
    Signature {
        /// Whom it is about.
        node: NodeId,
    },
}

/// The order of the bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Encoded {
    record: AddressRecord,
    signature: Signature,
}

impl AddressRecord {
    /// Checks every rule that needs neither clock nor signature.
    ///
    /// # Errors
    /// [`RecordProblem`]: the first rule that is broken.
    pub fn check(&self) -> Result<(), RecordProblem> {
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(RecordProblem::Addresses(self.addresses.len()));
        }
        if self.relays.len() > RELAYS_MAX {
            return Err(RecordProblem::Relays(self.relays.len()));
        }
        if let Some(address) = self.addresses.iter().find(|address| !is_dialled(address)) {
            return Err(RecordProblem::Address(*address));
        }
        let repeats = repeats(&self.addresses) || repeats(&self.relays);
        if repeats || self.relays.contains(&self.node) {
            return Err(RecordProblem::Repeated);
        }
        let life_ms = self.expires_at_ms.saturating_sub(self.sequence);
        match life_ms {
            1..=RECORD_LIFE_MS => Ok(()),
            _ => Err(RecordProblem::Life(life_ms)),
        }
    }

    /// Signs the record with the identity of its node.
    ///
    /// # Errors
    /// [`RecordProblem`] if it breaks a rule.
    ///
    /// # Panics
    /// If `key` is not the identity of [`AddressRecord::node`].
    pub fn sign(self, key: &SecretKey) -> Result<SignedRecord, RecordProblem> {
        assert_eq!(key.public(), self.node, "a node signs for itself only");
        self.check()?;
        let signature = key.sign(&self.signing_bytes());
        Ok(SignedRecord {
            record: self,
            signature,
        })
    }

    fn signing_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        // Writing to memory does not fail, and every field has an encoding.
        if let Ok(record) = postcard::to_allocvec(self) {
            bytes.extend_from_slice(&record);
        }
        bytes
    }
}

impl SignedRecord {
    /// What it says.
    #[must_use]
    pub const fn record(&self) -> &AddressRecord {
        &self.record
    }

    /// Whom it is about.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.record.node
    }

    /// The one encoding of this record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.encoded()).unwrap_or_default()
    }

    /// Reads a record of `fabric` and checks its rules and its signature; its age is the table's
    /// affair.
    ///
    /// # Errors
    /// [`DecodeRecordError`].
    pub fn decode(fabric: &FabricId, bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(DecodeRecordError::Malformed);
        }
        let malformed = |_| DecodeRecordError::Malformed;
        let encoded: Encoded = postcard::from_bytes(bytes).map_err(malformed)?;
        if postcard::to_allocvec(&encoded).map_err(malformed)? != bytes {
            return Err(DecodeRecordError::Malformed);
        }
        encoded.checked(fabric)
    }

    pub(crate) fn encoded(&self) -> Encoded {
        Encoded {
            record: self.record.clone(),
            signature: self.signature,
        }
    }
}

impl Encoded {
    pub(crate) const fn node(&self) -> &NodeId {
        &self.record.node
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.record.sequence
    }

    /// The record, if it is for `fabric`, keeps the rules and is signed by its node.
    pub(crate) fn checked(self, fabric: &FabricId) -> Result<SignedRecord, DecodeRecordError> {
        let Self { record, signature } = self;
        let node = record.node;
        if record.fabric != *fabric {
            return Err(DecodeRecordError::OtherFabric {
                expected: *fabric,
                found: record.fabric,
            });
        }
        let checked = record.check();
        checked.map_err(|problem| DecodeRecordError::Problem { node, problem })?;
        let verified = node.verify(&record.signing_bytes(), &signature);
        verified.map_err(|_| DecodeRecordError::Signature { node })?;
        Ok(SignedRecord { record, signature })
    }
}

/// What a record may hold of the addresses of a node, the best first: those at which it can be
/// dialled, and those of its machine alone only if there are no others.
#[must_use]
pub fn advertisable(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_local = |address: &SocketAddr| address.ip().is_loopback();
    let dialled = || addresses.iter().filter(|address| is_dialled(address));
    let only_local = dialled().all(is_local);
    let mut chosen = Vec::new();
    for address in dialled().filter(|address| only_local || !is_local(address)) {
        if !chosen.contains(address) && chosen.len() < ADDRESSES_MAX {
            chosen.push(*address);
        }
    }
    chosen
}

/// Whether one node can be dialled at an address, written in its shortest form.
pub(crate) fn is_dialled(address: &SocketAddr) -> bool {
    let ip = address.ip();
    let nobody = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        // The link is not part of an address on the wire.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let plain = ip.to_canonical() == ip;
    plain && !nobody && !ip.is_unspecified() && !ip.is_multicast() && address.port() != 0
}

fn repeats<T: PartialEq>(list: &[T]) -> bool {
    let mut rest = list;
    while let Some((first, others)) = rest.split_first() {
        if others.contains(first) {
            return true;
        }
        rest = others;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn fabric() -> FabricId {
        FabricId::of(b"fabric")
    }

    fn record() -> AddressRecord {
        AddressRecord {
            fabric: fabric(),
            node: key(1).public(),
            sequence: 1_800_000_000_000,
            expires_at_ms: 1_800_000_000_000 + RECORD_LIFE_MS,
            addresses: vec![
                "192.0.2.1:7400".parse().unwrap(),
                "[2001:db8::1]:7400".parse().unwrap(),
            ],
            relays: vec![key(2).public()],
        }
    }

    /// Other releases read these bytes.
    #[test]
    fn the_bytes_of_a_record_are_pinned() {
        let signed = record().sign(&key(1)).unwrap();
        let bytes = signed.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let pinned = concat!(
            "c59fa8e91080fdd3d4e04fb32eb3667b34b154f386677a8775f1caa080b85071", // fabric
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c", // node
            "80a0f1c2b13480d88aecb134", // sequence and expiry
            "02",                       // two addresses:
            "00c0000201e839",           // IPv4
            "0120010db8000000000000000000000001e839", // IPv6
            "018139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394", // one relay
            "7b96a51e5ab7aae829b85cba0870f847ffa16eae42becd1d6d0a680c4e990097", // signature
            "6d750c5ec5ee057c0ca407e7ec5dc8918fac7242e1806802e4e5ee3d88039e00",
        );
        assert_eq!(hex, pinned);
        assert_eq!(SignedRecord::decode(&fabric(), &bytes), Ok(signed));
    }

    #[test]
    fn the_longest_record_fits() {
        let longest = AddressRecord {
            sequence: u64::MAX - 1,
            expires_at_ms: u64::MAX,
            addresses: (1..=8)
                .map(|port| {
                    format!("[2001:db8:ffff::1]:6553{}", port % 6)
                        .parse()
                        .unwrap()
                })
                .collect(),
            relays: (2..=4).map(|seed| key(seed).public()).collect(),
            ..record()
        };
        let encoded = Encoded {
            record: longest,
            signature: Signature::from_bytes([255; 64]),
        };
        assert!(postcard::to_allocvec(&encoded).unwrap().len() <= RECORD_BYTES_MAX);
    }

    #[test]
    fn a_record_that_somebody_else_signed_or_changed_is_refused() {
        let signed = record().sign(&key(1)).unwrap();
        let node = signed.node();
        let refused = Err(DecodeRecordError::Signature { node });
        let forged = Encoded {
            record: record(),
            signature: key(2).sign(&record().signing_bytes()),
        };
        assert_eq!(forged.checked(&fabric()), refused);
        let mut moved = signed.encoded();
        moved.record.addresses.truncate(1);
        assert_eq!(moved.checked(&fabric()), refused);
        let mut relayed = signed.encoded();
        relayed.record.relays.clear();
        assert_eq!(relayed.checked(&fabric()), refused);
        let other = FabricId::of(b"other");
        assert!(matches!(
            SignedRecord::decode(&other, &signed.encode()),
            Err(DecodeRecordError::OtherFabric { .. })
        ));
    }

    #[test]
    fn rules_are_kept() {
        let bad = |change: &dyn Fn(&mut AddressRecord)| {
            let mut record = record();
            change(&mut record);
            let problem = record.check();
            assert!(problem.is_err(), "{record:?}");
            // Who signs such a thing nevertheless is not heard.
            let signature = key(1).sign(&record.signing_bytes());
            let checked = Encoded { record, signature }.checked(&fabric());
            assert!(matches!(checked, Err(DecodeRecordError::Problem { .. })));
        };
        for address in [
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.251:5353",
            "[ff02::fb]:5353",
            "192.0.2.1:0",
            "255.255.255.255:1",
            "[::ffff:192.0.2.1]:1",
            "[fe80::1]:1",
            "192.0.2.1:7400",
        ] {
            bad(&|record| record.addresses.push(address.parse().unwrap()));
        }
        bad(&|record| {
            let ports = 1..=9;
            record.addresses = ports.map(|port| ([192, 0, 2, 1], port).into()).collect();
        });
        bad(&|record| record.relays = (2..=5).map(|seed| key(seed).public()).collect());
        bad(&|record| record.relays.push(key(2).public()));
        bad(&|record| record.relays.push(record.node));
        bad(&|record| record.expires_at_ms = record.sequence);
        bad(&|record| record.expires_at_ms += 1);
    }

    #[test]
    fn addresses_of_one_machine_are_told_if_there_are_no_others() {
        let chosen = |texts: &[&str]| {
            let addresses: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let chosen = advertisable(&addresses);
            chosen.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let both = ["192.0.2.1:1", "192.0.2.1:1", "0.0.0.0:1", "127.0.0.1:1"];
        assert_eq!(chosen(&both), ["192.0.2.1:1"]);
        assert_eq!(
            chosen(&["127.0.0.1:1", "[::1]:1"]),
            ["127.0.0.1:1", "[::1]:1"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_record_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(SignedRecord::decode(&fabric(), &bytes).is_err());
        }

        #[test]
        fn any_flipped_bit_is_refused(at in 0_usize..10_000, bit in 0_u8..8) {
            let mut bytes = record().sign(&key(1)).unwrap().encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(SignedRecord::decode(&fabric(), &bytes).is_err());
        }
    }
}
