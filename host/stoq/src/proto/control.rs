//! Frames about the session itself, on the stream that the dialler opens first.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hello::Hello;
use crate::bounds::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX, RENEWALS_MAX, RENEWALS_TIME};

/// A frame about the session. New kinds are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlFrame {
    /// The first frame of each end that wants the session.
    Hello(Hello),
    /// The first and last frame of a dialler that does not want it: closing a connection before
    /// the handshake is confirmed loses the reason (RFC 9000, 10.2.3).
    Refusal {
        /// The authority's code.
        code: u32,
        /// The authority's words.
        text: String,
    },
    /// The certificate chain that speaks for the sender from now on.
    Credentials(CredentialsFrame),
}

/// A certificate chain, with proof that the sender holds the key of its leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsFrame {
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The TLS number of the signature's scheme.
    pub scheme: u16,
    /// By the leaf's key over [`credentials_message`].
    pub signature: Vec<u8>,
}

impl CredentialsFrame {
    /// Whether the chain is within its bounds.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let bytes: usize = self.chain.iter().map(Vec::len).sum();
        (1..=CHAIN_CERTIFICATES_MAX).contains(&self.chain.len()) && bytes <= CHAIN_BYTES_MAX
    }
}

/// What the key of a new certificate signs: bound to one connection by `exporter` (RFC 8446, 7.5)
/// and to one direction, so it proves nothing anywhere else.
#[must_use]
pub fn credentials_message(exporter: &[u8; 32], from_dialler: bool, chain: &[Vec<u8>]) -> Vec<u8> {
    let mut message = b"stoq/1 credentials\0".to_vec();
    message.extend_from_slice(exporter);
    message.push(u8::from(from_dialler));
    for certificate in chain {
        let length = u32::try_from(certificate.len()).unwrap_or(u32::MAX);
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(certificate);
    }
    message
}

/// How many new certificates a peer may still show.
#[derive(Debug, Default)]
pub struct RenewalBudget {
    window: Duration,
    used: u32,
}

impl RenewalBudget {
    /// Whether one more is in order, `age` after the session began.
    #[must_use]
    pub fn spend(&mut self, age: Duration) -> bool {
        if age.saturating_sub(self.window) >= RENEWALS_TIME {
            self.window = age;
            self.used = 0;
        }
        self.used = self.used.saturating_add(1);
        self.used <= RENEWALS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_bounded_per_time() {
        let mut budget = RenewalBudget::default();
        let granted = (0..100).filter(|_| budget.spend(Duration::ZERO)).count();
        assert_eq!(granted, RENEWALS_MAX as usize);
        assert!(budget.spend(RENEWALS_TIME));
    }

    #[test]
    fn a_signature_is_bound_to_connection_direction_and_chain() {
        let chain = [vec![1, 2], vec![3]];
        let message = credentials_message(&[0; 32], true, &chain);
        assert_ne!(message, credentials_message(&[1; 32], true, &chain));
        assert_ne!(message, credentials_message(&[0; 32], false, &chain));
        let moved = [vec![1], vec![2, 3]];
        assert_ne!(message, credentials_message(&[0; 32], true, &moved));
    }
}
