//! What was measured of an asset, and its canonical bytes. Knows no way to measure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Amount, AssetType, Name};

/// What was measured of one asset. The order of types and of fields is wire format.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssetFacts {
    /// Processors.
    Cpu(CpuFacts),
    /// Working memory.
    Memory(MemoryFacts),
    /// Room on a disk.
    Storage(StorageFacts),
    /// Transport between nodes.
    Network(NetworkFacts),
    /// A graphics processor.
    Gpu(GpuFacts),
    /// Instances of a deployment.
    Container(ContainerFacts),
}

/// Processors that one process may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CpuFacts {
    /// Thousandths of a core.
    pub cores_milli: u64,
    /// Units of calibration that one core computes in a second.
    pub calibrated: u64,
    /// The instruction set, such as `x86_64`.
    pub architecture: FactText,
}

/// Working memory that one process may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// Bytes that it may have.
    pub bytes: u64,
}

/// Room on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StorageFacts {
    /// Bytes that are free.
    pub bytes: u64,
    /// Bytes of fresh data that were written and flushed in a second.
    pub write_bytes_per_s: u64,
    /// Bytes that were read in a second.
    pub read_bytes_per_s: u64,
    /// How long a flush of little data takes, in microseconds.
    pub flush_us: u64,
}

/// Transport to the nodes that one node has sessions with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Bytes that were carried in a second.
    pub bytes_per_s: u64,
    /// Round trip in microseconds.
    pub rtt_us: u64,
    /// Packets lost of a million.
    pub loss_ppm: u32,
    /// Sessions that this was read from.
    pub sessions: u32,
}

/// One graphics processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Who made it.
    pub vendor: FactText,
    /// What it is called.
    pub model: FactText,
    /// Its own memory.
    pub memory_bytes: u64,
    /// Its maker's name for this very device.
    pub uuid: FactText,
}

/// Instances of one component of a deployment that live on one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// The workload that is deployed.
    pub workload: Name,
    /// Its component.
    pub component: Name,
    /// How many live.
    pub instances: u32,
}

/// Bytes that are not the facts of an asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFactsError {
    /// More than facts ever take.
    #[error(
        "{bytes} bytes are too many for the facts of an asset: at most {}",
        AssetFacts::BYTES_MAX
    )]
    TooLong {
        /// How many there were.
        bytes: usize,
    },
    /// Nothing that this release knows, or not in canonical form.
    #[error("the bytes are not the canonical form of the facts of an asset")]
    NotCanonical,
}

impl AssetFacts {
    /// Longest canonical form: three texts of a graphics processor and a number, with room for
    /// another such text.
    pub const BYTES_MAX: usize = 320;

    /// What kind of thing this is said of.
    #[must_use]
    pub const fn asset_type(&self) -> AssetType {
        match self {
            Self::Cpu(_) => AssetType::Cpu,
            Self::Memory(_) => AssetType::Memory,
            Self::Storage(_) => AssetType::Storage,
            Self::Network(_) => AssetType::Network,
            Self::Gpu(_) => AssetType::Gpu,
            Self::Container(_) => AssetType::Container,
        }
    }

    /// How much there is, in the base unit of the type.
    #[must_use]
    pub fn capacity(&self) -> Amount {
        /// A device is leased in thousandths.
        const DEVICE: u64 = 1_000;
        Amount(match self {
            Self::Cpu(facts) => facts.cores_milli,
            Self::Memory(facts) => facts.bytes,
            Self::Storage(facts) => facts.bytes,
            Self::Network(facts) => facts.bytes_per_s,
            Self::Gpu(_) => DEVICE,
            Self::Container(facts) => facts.instances.into(),
        })
    }

    /// Whether both are said of one thing, if they are of one host: it has one processor set, one
    /// memory, one disk for its data and one network, but may have many devices and deployments.
    #[must_use]
    pub fn same_thing(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gpu(one), Self::Gpu(other)) => one.uuid == other.uuid,
            (Self::Container(one), Self::Container(other)) => {
                one.workload == other.workload && one.component == other.component
            }
            (one, other) => one.asset_type() == other.asset_type(),
        }
    }

    /// The canonical bytes: postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self)
            .unwrap_or_else(|error| panic!("facts must be serialisable: {error}"))
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`DecodeFactsError`] if the bytes are too many or not in canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFactsError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(DecodeFactsError::TooLong { bytes: bytes.len() });
        }
        let facts: Self =
            postcard::from_bytes(bytes).map_err(|_| DecodeFactsError::NotCanonical)?;
        // Numbers and lengths have longer forms, and bytes may follow: one thing has one form.
        if facts.encode() == bytes {
            Ok(facts)
        } else {
            Err(DecodeFactsError::NotCanonical)
        }
    }
}

/// A short text out of a machine: 1 to 64 printable ASCII characters, no space at either end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FactText(String);

/// A text that does not fit in [`FactText`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot stand in the facts of an asset: use 1 to {} printable ASCII characters, no space at either end",
    FactText::BYTES_MAX
)]
pub struct FactTextError {
    text: String,
}

impl FactText {
    /// Longer than any name of a device that makers gave so far.
    pub const BYTES_MAX: usize = 64;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`FactTextError`] if it is empty, too long, or has anything but printable ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, FactTextError> {
        let text = text.into();
        let valid = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.bytes().all(|c| (b' '..=b'~').contains(&c))
            && text.trim() == text;
        if valid {
            Ok(Self(text))
        } else {
            Err(FactTextError {
                text: text.chars().take(80).collect(),
            })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FactText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FactText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for FactText {
    type Err = FactTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for FactText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> FactText {
        FactText::new(text).unwrap()
    }

    /// One of each type, with its pinned bytes in hex.
    fn pinned() -> Vec<(AssetFacts, Vec<u8>)> {
        let with = |head: &[u8], texts: &[&str], tail: &[u8]| {
            let mut bytes = head.to_vec();
            for text in texts {
                bytes.push(u8::try_from(text.len()).unwrap());
                bytes.extend(text.as_bytes());
            }
            bytes.extend(tail);
            bytes
        };
        let cpu = CpuFacts {
            cores_milli: 1_500,
            calibrated: 7,
            architecture: text("x86_64"),
        };
        let storage = StorageFacts {
            bytes: 1,
            write_bytes_per_s: 2,
            read_bytes_per_s: 3,
            flush_us: 4,
        };
        let network = NetworkFacts {
            bytes_per_s: 1,
            rtt_us: 2,
            loss_ppm: 3,
            sessions: 4,
        };
        let gpu = GpuFacts {
            vendor: text("NVIDIA"),
            model: text("H100"),
            memory_bytes: 5,
            uuid: text("GPU-1"),
        };
        let container = ContainerFacts {
            workload: Name::new("web").unwrap(),
            component: Name::new("api").unwrap(),
            instances: 2,
        };
        let gpu_bytes = b"\x04\x06NVIDIA\x04H100\x05\x05GPU-1".to_vec();
        vec![
            (
                AssetFacts::Cpu(cpu),
                with(&[0, 0xdc, 0x0b, 7], &["x86_64"], &[]),
            ),
            (
                AssetFacts::Memory(MemoryFacts { bytes: 128 }),
                vec![1, 0x80, 1],
            ),
            (AssetFacts::Storage(storage), vec![2, 1, 2, 3, 4]),
            (AssetFacts::Network(network), vec![3, 1, 2, 3, 4]),
            (AssetFacts::Gpu(gpu), gpu_bytes),
            (
                AssetFacts::Container(container),
                with(&[5], &["web", "api"], &[2]),
            ),
        ]
    }

    #[test]
    fn bytes_are_pinned_and_only_they_are_read() {
        for ((facts, bytes), asset_type) in pinned().into_iter().zip(AssetType::ALL) {
            assert_eq!(facts.asset_type(), *asset_type);
            assert_eq!(facts.encode(), bytes, "{facts:?}");
            assert_eq!(AssetFacts::decode(&bytes), Ok(facts.clone()));
            let json = serde_json::to_string(&facts).unwrap();
            assert_eq!(serde_json::from_str::<AssetFacts>(&json).unwrap(), facts);
            let mut longer = bytes.clone();
            longer.push(0);
            let refused = Err(DecodeFactsError::NotCanonical);
            assert_eq!(AssetFacts::decode(&longer), refused);
            assert_eq!(AssetFacts::decode(&bytes[..bytes.len() - 1]), refused);
        }
        // 128 in one byte more than it takes.
        let refused = Err(DecodeFactsError::NotCanonical);
        assert_eq!(AssetFacts::decode(&[1, 0x80, 0x81, 0]), refused);
        assert_eq!(AssetFacts::decode(&[6, 0]), refused);
    }

    #[test]
    fn the_longest_facts_fit_the_bound() {
        let long = text(&"x".repeat(FactText::BYTES_MAX));
        let facts = AssetFacts::Gpu(GpuFacts {
            vendor: long.clone(),
            model: long.clone(),
            memory_bytes: u64::MAX,
            uuid: long,
        });
        let bytes = facts.encode();
        assert!(bytes.len() <= AssetFacts::BYTES_MAX, "{}", bytes.len());
        assert_eq!(AssetFacts::decode(&bytes), Ok(facts));
        let bytes = AssetFacts::BYTES_MAX + 1;
        let refused = Err(DecodeFactsError::TooLong { bytes });
        assert_eq!(AssetFacts::decode(&vec![0; bytes]), refused);
    }

    #[test]
    fn capacity_is_in_the_base_unit_of_the_type() {
        let capacities: Vec<u64> = pinned()
            .iter()
            .map(|(facts, _)| facts.capacity().0)
            .collect();
        assert_eq!(capacities, [1_500, 128, 1, 1, 1_000, 2]);
    }

    #[test]
    fn texts_are_short_and_printable() {
        for good in ["x", "NVIDIA GeForce RTX 4090", &"x".repeat(64)] {
            assert!(FactText::new(good).is_ok(), "{good}");
        }
        for bad in ["", " x", "x ", "a\nb", "a\u{1b}[0m", "ä", &"x".repeat(65)] {
            assert!(FactText::new(bad).is_err(), "{bad}");
        }
        // Also where it comes as bytes.
        assert!(AssetFacts::decode(b"\x00\x01\x01\x02a\n").is_err());
    }
}
