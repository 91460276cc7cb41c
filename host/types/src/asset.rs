//! Assets: what kinds there are, in what units they are counted, what is said of them and how they
//! are named. Knows neither how anything is measured nor who may use it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::asset_facts::AssetFacts;
use crate::digest::unhex;
use crate::{ByteSize, Digest, NodeId};

const ID_DOMAIN: &[u8] = b"hypermesh/types/asset/1\0";

/// What kind of thing an asset is. The order is wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssetType {
    /// Time of processors, counted in thousandths of a core.
    Cpu,
    /// Working memory, counted in bytes.
    Memory,
    /// Room on a disk, counted in bytes.
    Storage,
    /// Transport between nodes, counted in bytes per second.
    Network,
    /// Graphics and tensor processors, counted in thousandths of a device.
    Gpu,
    /// Running instances of a deployment, counted one by one.
    Container,
}

/// Who may use an asset, from nobody else to everybody. The order is wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    /// Its owner only.
    Private,
    /// Those whom its owner named.
    PrivateNetwork,
    /// Members to whom its owner gives a lease, one by one.
    P2p,
    /// Every member of the fabric.
    PublicNetwork,
    /// Everybody.
    FullPublic,
}

/// A text that is none of the words of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: expected one of {words}")]
pub struct ParseAssetWordError {
    text: String,
    what: &'static str,
    words: &'static str,
}

/// The words of an enum: text for people, in the order of its variants.
macro_rules! words {
    ($kind:ident, $what:literal, $words:literal, [$($variant:ident = $word:literal),+]) => {
        impl $kind {
            /// Every one, in the order of the wire format.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it, in kebab-case.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $kind {
            type Err = ParseAssetWordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|one| one.word() == text);
                found.copied().ok_or_else(|| ParseAssetWordError {
                    text: text.chars().take(40).collect(),
                    what: $what,
                    words: $words,
                })
            }
        }
    };
}

words!(
    AssetType,
    "type of asset",
    "cpu, memory, storage, network, gpu, container",
    [
        Cpu = "cpu",
        Memory = "memory",
        Storage = "storage",
        Network = "network",
        Gpu = "gpu",
        Container = "container"
    ]
);

words!(
    Privacy,
    "privacy",
    "private, private-network, p2p, public-network, full-public",
    [
        Private = "private",
        PrivateNetwork = "private-network",
        P2p = "p2p",
        PublicNetwork = "public-network",
        FullPublic = "full-public"
    ]
);

/// How much of an asset, in the base unit of its type (see [`AssetType`]).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(pub u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, unless it is beyond counting.
    #[must_use]
    pub const fn checked_add(self, more: Self) -> Option<Self> {
        match self.0.checked_add(more.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, unless `less` is more than there is.
    #[must_use]
    pub const fn checked_sub(self, less: Self) -> Option<Self> {
        match self.0.checked_sub(less.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// The amount with the unit that it has for `asset_type`: `1.5 cores`, `64MiB`, `2 instances`.
    #[must_use]
    pub const fn of(self, asset_type: AssetType) -> AmountOf {
        AmountOf {
            amount: self,
            asset_type,
        }
    }
}

/// An amount of something, to be printed: exact, in units that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmountOf {
    amount: Amount,
    asset_type: AssetType,
}

impl fmt::Display for AmountOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.amount.0;
        let text = match self.asset_type {
            AssetType::Cpu => thousandths(count, "core"),
            AssetType::Gpu => thousandths(count, "device"),
            AssetType::Memory | AssetType::Storage => ByteSize::bytes(count).to_string(),
            AssetType::Network => format!("{}/s", ByteSize::bytes(count)),
            AssetType::Container if count == 1 => "1 instance".to_owned(),
            AssetType::Container => format!("{count} instances"),
        };
        f.pad(&text)
    }
}

/// `count` thousandths of `what`, with as many decimals as it takes.
fn thousandths(count: u64, what: &str) -> String {
    let (whole, rest) = (count / 1_000, count % 1_000);
    let number = format!("{whole}.{rest:03}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    let plural = if count == 1_000 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The name of a registered asset: its type and the digest of its registration, written
/// `cpu-<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId {
    asset_type: AssetType,
    digest: Digest,
}

impl AssetId {
    /// The id of what `host` registers with `facts`. The registrant chooses `nonce`, so that two
    /// equal things of one host have two names.
    ///
    /// The digest is BLAKE3 of `"hypermesh/types/asset/1\0" | host (32) | nonce (8, little-endian) |
    /// facts`, the last in their canonical form.
    #[must_use]
    pub fn new(host: &NodeId, facts: &AssetFacts, nonce: u64) -> Self {
        let mut bytes = ID_DOMAIN.to_vec();
        bytes.extend(host.as_bytes());
        bytes.extend(nonce.to_le_bytes());
        bytes.extend(facts.encode());
        Self {
            asset_type: facts.asset_type(),
            digest: Digest::of(&bytes),
        }
    }

    /// An id from its parts; whether such an asset is registered is for the ledger to say.
    #[must_use]
    pub const fn from_parts(asset_type: AssetType, digest: Digest) -> Self {
        Self { asset_type, digest }
    }

    /// What kind of thing it names.
    #[must_use]
    pub const fn asset_type(&self) -> AssetType {
        self.asset_type
    }

    /// The digest of the registration.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The type and 12 hex digits: enough for people, never for machines.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}-{}", self.asset_type, self.digest.short())
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.asset_type, self.digest.hex())
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the id of an asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not the id of an asset: expected a type of asset, `-` and 64 lower-case hex digits"
)]
pub struct ParseAssetIdError {
    text: String,
}

impl FromStr for AssetId {
    type Err = ParseAssetIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (asset_type, hex) = text.split_once('-')?;
            let digest = Digest::from_bytes(unhex(hex)?);
            Some(Self::from_parts(asset_type.parse().ok()?, digest))
        };
        read().ok_or_else(|| ParseAssetIdError {
            text: text.chars().take(80).collect(),
        })
    }
}

/// As text its text form; in binary the type, then the bare hash.
impl Serialize for AssetId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.asset_type, self.digest).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for AssetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let (asset_type, digest) = Deserialize::deserialize(deserializer)?;
            Ok(Self::from_parts(asset_type, digest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset_facts::{CpuFacts, FactText, MemoryFacts};

    #[test]
    fn words_round_trip_and_their_order_is_wire_format() {
        for (at, one) in AssetType::ALL.iter().enumerate() {
            assert_eq!(one.word().parse(), Ok(*one));
            assert_eq!(usize::from(postcard::to_allocvec(one).unwrap()[0]), at);
            assert_eq!(serde_json::to_string(one).unwrap(), format!("\"{one}\""));
        }
        for (at, one) in Privacy::ALL.iter().enumerate() {
            assert_eq!(one.word().parse(), Ok(*one));
            assert_eq!(usize::from(postcard::to_allocvec(one).unwrap()[0]), at);
            assert_eq!(serde_json::to_string(one).unwrap(), format!("\"{one}\""));
        }
        let words: Vec<_> = AssetType::ALL.iter().map(|one| one.word()).collect();
        assert_eq!(words.join(" "), "cpu memory storage network gpu container");
        let words: Vec<_> = Privacy::ALL.iter().map(|one| one.word()).collect();
        let expected = "private private-network p2p public-network full-public";
        assert_eq!(words.join(" "), expected);
        assert!("CPU".parse::<AssetType>().is_err());
        assert!("public".parse::<Privacy>().is_err());
    }

    #[test]
    fn amounts_are_written_in_the_units_of_their_type() {
        let written = |count, asset_type| Amount(count).of(asset_type).to_string();
        assert_eq!(written(1_500, AssetType::Cpu), "1.5 cores");
        assert_eq!(written(1_000, AssetType::Cpu), "1 core");
        assert_eq!(written(1, AssetType::Cpu), "0.001 cores");
        assert_eq!(written(0, AssetType::Cpu), "0 cores");
        assert_eq!(written(100_000, AssetType::Cpu), "100 cores");
        assert_eq!(written(64 << 20, AssetType::Memory), "64MiB");
        assert_eq!(written(1_000, AssetType::Storage), "1kB");
        assert_eq!(written(125_000_000, AssetType::Network), "125MB/s");
        assert_eq!(written(250, AssetType::Gpu), "0.25 devices");
        assert_eq!(written(1, AssetType::Container), "1 instance");
        assert_eq!(written(3, AssetType::Container), "3 instances");
        assert_eq!(
            written(u64::MAX, AssetType::Memory),
            "18446744073709551615B"
        );
    }

    #[test]
    fn amounts_never_wrap() {
        assert_eq!(Amount(u64::MAX).checked_add(Amount(1)), None);
        assert_eq!(Amount(1).checked_sub(Amount(2)), None);
        assert_eq!(Amount(3).checked_sub(Amount(2)), Some(Amount(1)));
    }

    #[test]
    fn an_id_depends_on_host_facts_and_nonce() {
        let memory = |bytes| AssetFacts::Memory(MemoryFacts { bytes });
        let host = NodeId::from_bytes([7; 32]);
        let id = AssetId::new(&host, &memory(1), 0);
        assert_eq!(id.asset_type(), AssetType::Memory);
        assert_ne!(
            id,
            AssetId::new(&NodeId::from_bytes([8; 32]), &memory(1), 0)
        );
        assert_ne!(id, AssetId::new(&host, &memory(2), 0));
        assert_ne!(id, AssetId::new(&host, &memory(1), 1));
        let cpu = AssetFacts::Cpu(CpuFacts {
            cores_milli: 2_000,
            calibrated: 9,
            architecture: FactText::new("x86_64").unwrap(),
        });
        assert_eq!(
            AssetId::new(&host, &cpu, 3).to_string(),
            "cpu-6c42c685d75928153bf98e36248908e54d639fe2893dcd0b2ccf95cc81e5e223"
        );
    }

    #[test]
    fn an_id_has_one_text_and_one_binary_form() {
        let id = AssetId::from_parts(AssetType::Gpu, Digest::from_bytes([0xab; 32]));
        let text = format!("gpu-{}", "ab".repeat(32));
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(id.short(), "gpu-abababababab");
        let mut bytes = vec![4];
        bytes.extend([0xab; 32]);
        assert_eq!(postcard::to_allocvec(&id).unwrap(), bytes);
        assert_eq!(postcard::from_bytes(&bytes), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<AssetId>(&json).unwrap(), id);
        for bad in ["", "gpu", "gpu-", "gpu-ab", "disk-ab", &text.to_uppercase()] {
            assert!(bad.parse::<AssetId>().is_err(), "{bad}");
        }
    }
}
