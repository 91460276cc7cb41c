//! Tickets: what a newcomer is given to join a fabric, as text that can be pasted. Never knows
//! whether a ticket is still good: the ledger does.
//!
//! ```text
//! hm1 + base32 (lower case, no padding) of:
//! version (1) | fabric (32) | secret (16) | expires_at_s (4, big endian)
//! addresses: count (1), then each: family (1: 4 or 6), address (4 or 16), port (2, big endian)
//! check (4): the first bytes of BLAKE3 over a domain tag and all before
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, DecodePartial};
use types::FabricId;
use zeroize::Zeroizing;

use crate::identity::{IdentityError, SecretKey};

const PREFIX: &str = "hm1";
const VERSION: u8 = 1;
const CHECK_DOMAIN: &[u8] = b"hypermesh/ticket-check/1\0";
const SECRET_CONTEXT: &str = "hypermesh 2026-11 ticket secret 1";
const SECRET_BYTES: usize = 16;
const CHECK_BYTES: usize = 4;
/// Most addresses of one ticket: it must stay short enough to paste.
pub const ADDRESSES_MAX: usize = 8;
/// Longest text: the prefix and the largest payload in base32.
const TEXT_BYTES_MAX: usize = 512;

/// An invitation into a fabric. Its `Debug` shows no secret; its `Display` is the secret text.
pub struct Ticket {
    /// The fabric to join.
    pub fabric: FabricId,
    /// Where members listen.
    pub addresses: Vec<SocketAddr>,
    /// Last moment at which it is good, Unix seconds.
    pub expires_at_s: u32,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

/// A text that is no ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTicketError {
    /// Something else altogether.
    #[error(
        "this is not a ticket: one begins with `{PREFIX}` and comes from `nexus fabric invite`"
    )]
    NotATicket,
    /// Mistyped or cut off.
    #[error("the ticket is mistyped or incomplete: copy it again, whole")]
    Mistyped,
    /// Made by a newer release.
    #[error("the ticket is of version {0}, this release reads version {VERSION}: update nexus")]
    Version(u8),
    /// Right checksum, wrong content.
    #[error("the ticket names {0}, which no release does")]
    Content(&'static str),
}

impl Ticket {
    /// A ticket with a fresh secret. The first [`ADDRESSES_MAX`] addresses are kept.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`] if the system has no randomness.
    pub fn generate(
        fabric: FabricId,
        mut addresses: Vec<SocketAddr>,
        expires_at_s: u32,
    ) -> Result<Self, IdentityError> {
        addresses.truncate(ADDRESSES_MAX);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(secret.as_mut_slice())
            .map_err(|error| IdentityError::Entropy(error.to_string()))?;
        Ok(Self {
            fabric,
            addresses,
            expires_at_s,
            secret,
        })
    }

    /// The key that stands for the ticket on the ledger: its public half is invited, its secret
    /// half signs who joins.
    #[must_use]
    pub fn key(&self) -> SecretKey {
        let context = blake3::derive_key(SECRET_CONTEXT, self.secret.as_slice());
        SecretKey::from_seed(&Zeroizing::new(context))
    }

    fn payload(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![VERSION]);
        bytes.extend_from_slice(self.fabric.as_bytes());
        bytes.extend_from_slice(self.secret.as_slice());
        bytes.extend_from_slice(&self.expires_at_s.to_be_bytes());
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend_from_slice(&ip.octets());
                }
            }
            bytes.extend_from_slice(&address.port().to_be_bytes());
        }
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }
}

fn check(payload: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CHECK_DOMAIN).update(payload);
    let mut check = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Zeroizing::new(BASE32_NOPAD.encode(&self.payload()));
        write!(f, "{PREFIX}{}", text.to_ascii_lowercase())
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fabric = self.fabric.short();
        write!(f, "Ticket(of fabric {fabric}, {:?})", self.addresses)
    }
}

impl FromStr for Ticket {
    type Err = ParseTicketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        let body = lower
            .strip_prefix(PREFIX)
            .ok_or(ParseTicketError::NotATicket)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseTicketError::Mistyped);
        }
        let upper = Zeroizing::new(body.to_ascii_uppercase());
        let mistyped = |_| ParseTicketError::Mistyped;
        let length = BASE32_NOPAD.decode_len(upper.len()).map_err(mistyped)?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        let decoded = BASE32_NOPAD.decode_mut(upper.as_bytes(), &mut bytes);
        decoded.map_err(|DecodePartial { .. }| ParseTicketError::Mistyped)?;
        let split = bytes.len().checked_sub(CHECK_BYTES);
        let (payload, found) = bytes.split_at(split.ok_or(ParseTicketError::Mistyped)?);
        if check(payload) != found {
            return Err(ParseTicketError::Mistyped);
        }
        read(payload)
    }
}

/// Reads a payload whose checksum was right.
fn read(payload: &[u8]) -> Result<Ticket, ParseTicketError> {
    let mut reader = Reader(payload);
    let [version] = reader.take()?;
    if version != VERSION {
        return Err(ParseTicketError::Version(version));
    }
    let fabric = FabricId::from_bytes(reader.take()?);
    let secret = Zeroizing::new(reader.take()?);
    let expires_at_s = u32::from_be_bytes(reader.take()?);
    let [count] = reader.take()?;
    if usize::from(count) > ADDRESSES_MAX {
        return Err(ParseTicketError::Content("too many addresses"));
    }
    let mut addresses = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let ip: IpAddr = match reader.take()? {
            [4] => reader.take::<4>()?.into(),
            [6] => reader.take::<16>()?.into(),
            _ => return Err(ParseTicketError::Content("an unknown kind of address")),
        };
        let port = u16::from_be_bytes(reader.take()?);
        addresses.push(SocketAddr::new(ip, port));
    }
    if !reader.0.is_empty() {
        return Err(ParseTicketError::Content("more than a ticket holds"));
    }
    Ok(Ticket {
        fabric,
        addresses,
        expires_at_s,
        secret,
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ParseTicketError> {
        let short = ParseTicketError::Content("less than a ticket holds");
        let (taken, rest) = self.0.split_first_chunk().ok_or(short)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            fabric: FabricId::of(b"fabric"),
            addresses: vec![
                "192.0.2.1:7400".parse().unwrap(),
                "[2001:db8::1]:7400".parse().unwrap(),
            ],
            expires_at_s: 1_795_392_000,
            secret: Zeroizing::new([7; SECRET_BYTES]),
        }
    }

    /// People hold printed tickets: a change here makes them worthless.
    #[test]
    fn a_ticket_is_this_text() {
        let text = ticket().to_string();
        assert_eq!(text, PINNED);
        let read: Ticket = format!("  {}\n", text.to_ascii_uppercase())
            .parse()
            .unwrap();
        assert_eq!(read.fabric, ticket().fabric);
        assert_eq!(read.addresses, ticket().addresses);
        assert_eq!(read.expires_at_s, ticket().expires_at_s);
        assert_eq!(read.key().public(), ticket().key().public());
    }

    const PINNED: &str = "hm1ahcz7khjccap3u6u4bh3glvtmz5tjmku6odgo6uhoxy4vieaxbihcbyha4dqobyha4dqobyha4dqob3laobaaaqeyaaaeai45adcaainxaaaaaaaaaaaaaaaaaaachhidms6dni";

    #[test]
    fn any_mistyped_character_is_noticed() {
        let text = ticket().to_string();
        for at in PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "b" { "c" } else { "b" };
            let changed = [&text[..at], other, &text[at + 1..]].concat();
            assert_eq!(
                changed.parse::<Ticket>().unwrap_err(),
                ParseTicketError::Mistyped,
                "{at}"
            );
            assert!(text[..at].parse::<Ticket>().is_err());
        }
        assert_eq!(
            "hello".parse::<Ticket>().unwrap_err(),
            ParseTicketError::NotATicket
        );
        let endless = format!("{PREFIX}{}", "a".repeat(1 << 20));
        assert_eq!(
            endless.parse::<Ticket>().unwrap_err(),
            ParseTicketError::Mistyped
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = ticket().to_string();
        let secret = &text[PREFIX.len() + 53..PREFIX.len() + 78];
        assert!(!format!("{:?}", ticket()).contains(secret));
        assert!(!format!("{:?}", ticket()).contains("07"));
    }

    proptest! {
        #[test]
        fn any_payload_is_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let sealed = [payload.as_slice(), &check(&payload)].concat();
            let text = format!("{PREFIX}{}", BASE32_NOPAD.encode(&sealed));
            if let Ok(read) = text.parse::<Ticket>() {
                prop_assert_eq!(read.to_string().to_ascii_uppercase(), text.to_ascii_uppercase());
            }
        }
    }
}
