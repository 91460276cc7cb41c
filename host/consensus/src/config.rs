//! What starts one node's ledger. Knows no file format and no engine type beyond the key.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{Signer as _, ed25519};

use crate::links::Links;

/// How one node's ledger runs. A node that the genesis names as a validator votes; any other
/// follows.
#[derive(Debug)]
pub struct Config {
    /// Directory that consensus owns wholly; created when missing.
    pub data_dir: PathBuf,
    /// The node's identity, with which a validator votes.
    pub secret_key: SecretKey,
    /// What the fabric began with.
    pub genesis: ledger::Genesis,
    /// The rules that this program executes; [`ledger::KnownRules::RELEASED`] but in tests.
    pub rules: ledger::KnownRules,
    /// Longest silence between blocks; [`Config::HEARTBEAT`] unless there is a reason.
    pub heartbeat: Duration,
    /// Blocks that this node may be behind its peers before it takes their state over instead of
    /// executing what it missed; [`Config::SYNC_BEYOND_BLOCKS`] unless there is a reason.
    pub sync_beyond_blocks: u64,
    /// What it keeps of the past; [`Retention::USUAL`] but in tests.
    pub retention: Retention,
    /// The way to other nodes, of [`crate::links`]. A fabric's only validator works without; a
    /// node that follows needs one.
    pub links: Option<Links>,
}

impl Config {
    /// Default pace of empty blocks.
    ///
    /// One empty block writes about 97 kB (whole pages of two dozen files), and an idle node may
    /// write 10 kB a minute: one block in a quarter of an hour is 6.5 kB a minute.
    pub const HEARTBEAT: Duration = Duration::from_secs(15 * 60);
    /// Default of [`Config::sync_beyond_blocks`]: what is executed in some ten seconds.
    pub const SYNC_BEYOND_BLOCKS: u64 = 4096;
}

/// What a node keeps of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Final blocks kept, for peers that catch up and for people who look back; the state needs
    /// none of them. At least as many as an epoch has.
    pub blocks: u64,
    /// Blocks and certificates per file, which goes as a whole. Part of the disk format: files that
    /// were written with another number do not open.
    pub file_blocks: NonZeroU64,
}

impl Retention {
    /// What every node keeps: with an old block up to 4,095 older ones.
    pub const USUAL: Self = Self {
        blocks: 1 << 16,
        file_blocks: NonZeroU64::MIN.saturating_add(4095),
    };

    /// The lowest block that is kept for peers once the one at `height` is final.
    pub(crate) const fn kept_from(&self, height: u64) -> u64 {
        height.saturating_sub(self.blocks).saturating_add(1)
    }
}

/// An ed25519 signing key that `Debug` never prints and that is wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(ed25519::PrivateKey);

impl SecretKey {
    /// The key of an ed25519 seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519::PrivateKey::decode(Copying(seed));
        Self(key.expect("any 32 bytes are an ed25519 seed"))
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> types::PublicKey {
        public_key_bytes(&self.0.public_key())
    }

    pub(crate) fn signer(&self) -> ed25519::PrivateKey {
        self.0.clone()
    }
}

impl From<[u8; 32]> for SecretKey {
    fn from(seed: [u8; 32]) -> Self {
        Self::from_seed(&seed)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public_key())
    }
}

/// The engine's key type as ours.
pub(crate) fn public_key_bytes(key: &ed25519::PublicKey) -> types::PublicKey {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.as_ref());
    types::PublicKey::from_bytes(bytes)
}

/// Our key type as the engine's; `None` for 32 bytes that are no key.
pub(crate) fn engine_key(key: &types::PublicKey) -> Option<ed25519::PublicKey> {
    ed25519::PublicKey::decode(Copying(key.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1: the engine and every other ed25519 agree about a seed.
    #[test]
    fn seed_gives_the_key_of_the_rfc() {
        let seed: [u8; 32] = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = SecretKey::from(seed).public_key().to_string();
        assert_eq!(
            key,
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn debug_shows_only_the_public_half() {
        let key = SecretKey::from([7; 32]);
        assert_eq!(
            format!("{key:?}"),
            format!("SecretKey(of {})", key.public_key())
        );
    }
}
