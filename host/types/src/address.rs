//! Where an asset is: `hm://FABRIC/NODE/ASSET#FINGERPRINT`, and the same as an IPv6 address. An address
//! only locates; who may use what it names is for capabilities to say.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{hex, unhex};
use crate::{AssetId, Digest, FabricId, NodeId};

const SCHEME: &str = "hm://";
const DOMAIN: &[u8] = b"hypermesh/types/address/1\0";

/// Bytes of a fingerprint: what an IPv6 address has beside its first.
const FINGERPRINT_BYTES: usize = 15;

/// First byte of IPv6 addresses that are unique without being assigned (RFC 4193, `L` set).
const LOCAL_PREFIX: u8 = 0xfd;

/// The place of an asset: the fabric, the node that hosts it, its id.
///
/// The fingerprint is the first 15 bytes of BLAKE3 over
/// `"hypermesh/types/address/1\0" | fabric (32) | node (32) | asset`, the last as its text. In a text
/// it shows that the rest was copied whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetAddress {
    /// The fabric.
    pub fabric: FabricId,
    /// The node that hosts it.
    pub node: NodeId,
    /// What it hosts.
    pub asset: AssetId,
}

/// A text that is not the address of an asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// Of another form.
    #[error("`{text}` is not the address of an asset: expected hm://FABRIC/NODE/ASSET#FINGERPRINT")]
    Form {
        /// Its beginning.
        text: String,
    },
    /// One part is none of its kind.
    #[error("the {part} of the address is malformed: copy the address again, whole")]
    Part {
        /// Which part.
        part: &'static str,
    },
    /// The parts are not those that were fingerprinted.
    #[error("the address has fingerprint {found}, its parts have {made}: copy it again, whole")]
    Fingerprint {
        /// What it says.
        found: String,
        /// What it should say.
        made: String,
    },
}

impl AssetAddress {
    fn fingerprint(&self) -> [u8; FINGERPRINT_BYTES] {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(self.fabric.as_bytes());
        bytes.extend(self.node.as_bytes());
        bytes.extend(self.asset.to_string().as_bytes());
        let digest = Digest::of(&bytes);
        let (front, _) = digest.as_bytes().split_at(FINGERPRINT_BYTES);
        let mut fingerprint = [0; FINGERPRINT_BYTES];
        fingerprint.copy_from_slice(front);
        fingerprint
    }

    /// The address as IPv6: `fd`, then the fingerprint. Nothing routes to it; it is a name that
    /// programs can keep where they keep addresses.
    ///
    /// It is one way: who has one finds the asset by comparing it with the IPv6 forms of those that
    /// the ledger lists ([`AssetAddress::is_at`]). Somebody who makes 2^60 assets can have two with
    /// one form, so it must never decide a right.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        let mut octets = [LOCAL_PREFIX; 16];
        let (_, rest) = octets.split_at_mut(16 - FINGERPRINT_BYTES);
        rest.copy_from_slice(&self.fingerprint());
        Ipv6Addr::from(octets)
    }

    /// Whether `ip` is its IPv6 form: all 128 bits count.
    #[must_use]
    pub fn is_at(&self, ip: &Ipv6Addr) -> bool {
        self.ipv6() == *ip
    }
}

impl fmt::Display for AssetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fabric,
            node,
            asset,
        } = self;
        let fingerprint = hex(&self.fingerprint());
        write!(f, "{SCHEME}{}/{node}/{asset}#{fingerprint}", fabric.hex())
    }
}

impl fmt::Debug for AssetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AssetAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = || {
            let (path, fingerprint) = text.strip_prefix(SCHEME)?.split_once('#')?;
            let (fabric, path) = path.split_once('/')?;
            let (node, asset) = path.split_once('/')?;
            Some((fabric, node, asset, fingerprint))
        };
        let (fabric, node, asset, fingerprint) =
            parts().ok_or_else(|| ParseAddressError::Form {
                text: text.chars().take(80).collect(),
            })?;
        let malformed = |part| ParseAddressError::Part { part };
        let fabric = unhex(fabric).ok_or(malformed("fabric"))?;
        let address = Self {
            fabric: Digest::from_bytes(fabric),
            node: node.parse().map_err(|_| malformed("node"))?,
            asset: asset.parse().map_err(|_| malformed("asset"))?,
        };
        let found: [u8; FINGERPRINT_BYTES] = unhex(fingerprint).ok_or(malformed("fingerprint"))?;
        let made = address.fingerprint();
        if found == made {
            Ok(address)
        } else {
            let (found, made) = (hex(&found), hex(&made));
            Err(ParseAddressError::Fingerprint { found, made })
        }
    }
}

/// Its text form everywhere: it is written down by people and read by nobody else.
impl Serialize for AssetAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AssetAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::AssetType;

    fn address(fabric: u8, node: u8, asset_type: AssetType, asset: u8) -> AssetAddress {
        AssetAddress {
            fabric: Digest::from_bytes([fabric; 32]),
            node: NodeId::from_bytes([node; 32]),
            asset: AssetId::from_parts(asset_type, Digest::from_bytes([asset; 32])),
        }
    }

    #[test]
    fn an_address_is_this_text_and_this_ip() {
        let address = address(1, 2, AssetType::Memory, 3);
        let parts = format!(
            "hm://{}/{}/memory-{}#",
            "01".repeat(32),
            "02".repeat(32),
            "03".repeat(32)
        );
        let text = address.to_string();
        let fingerprint = text.strip_prefix(&parts).unwrap();
        assert_eq!(fingerprint, PINNED);
        let ip = address.ipv6();
        assert_eq!(hex(&ip.octets()), format!("fd{fingerprint}"));
        assert!(ip.is_unique_local() && address.is_at(&ip));
        let json = serde_json::to_string(&address).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<AssetAddress>(&json).unwrap(),
            address
        );
    }

    const PINNED: &str = "80de1befccf828598180d6c129750d";

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let text = address(1, 2, AssetType::Memory, 3).to_string();
        let refuse = |text: &str| text.parse::<AssetAddress>().unwrap_err();
        for bad in ["", "hm://", "http://a/b/c#d", &text[..text.len() - 31]] {
            assert!(
                matches!(refuse(bad), ParseAddressError::Form { .. }),
                "{bad}"
            );
        }
        let part = |from: &str, to: &str| refuse(&text.replacen(from, to, 1));
        assert_eq!(part("01", "0x"), ParseAddressError::Part { part: "fabric" });
        assert_eq!(part("02", "0"), ParseAddressError::Part { part: "node" });
        assert_eq!(
            part("memory", "ram"),
            ParseAddressError::Part { part: "asset" }
        );
        let longer = format!("{text}0");
        let part = "fingerprint";
        assert_eq!(refuse(&longer), ParseAddressError::Part { part });
        let changed = refuse(&text.replacen("02", "12", 1));
        assert!(matches!(changed, ParseAddressError::Fingerprint { .. }));
    }

    proptest! {
        #[test]
        fn addresses_round_trip_and_differ_wherever_a_part_does(
            one in (any::<u8>(), any::<u8>(), 0..6_usize, any::<u8>()),
            other in (any::<u8>(), any::<u8>(), 0..6_usize, any::<u8>()),
        ) {
            let of = |(fabric, node, kind, asset): (u8, u8, usize, u8)| {
                address(fabric, node, AssetType::ALL[kind], asset)
            };
            let (first, second) = (of(one), of(other));
            prop_assert_eq!(first.to_string().parse(), Ok(first));
            prop_assert_eq!(first == second, first.ipv6() == second.ipv6());
            prop_assert_eq!(first == second, first.is_at(&second.ipv6()));
        }

        #[test]
        fn any_change_of_a_character_is_noticed(at in 0..260_usize, with in "[0-9a-g/#]") {
            let text = address(1, 2, AssetType::Memory, 3).to_string();
            let at = at % text.len();
            let changed = [&text[..at], &with, &text[at + 1..]].concat();
            prop_assert_eq!(changed.parse::<AssetAddress>().is_ok(), changed == text);
        }
    }
}
