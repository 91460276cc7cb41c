//! The question that STOQ asks of others: whose certificates are these, and may they come in?

use rustls::pki_types::CertificateDer;
use types::NodeId;

use crate::proto::ServiceSet;

/// Says who a certificate chain belongs to. STOQ has checked that the peer holds the key of the
/// leaf, and nothing else: validity, membership and revocation are the authority's to judge.
///
/// It is asked within the handshake and for every session at each recheck: it must answer from
/// memory, without waiting.
pub trait PeerAuthority: Send + Sync + 'static {
    /// Who shows `chain` (leaf first, one to four certificates).
    ///
    /// # Errors
    /// [`PeerRefusal`]; the connection is closed with it, and both ends learn it.
    fn judge(&self, chain: &[CertificateDer<'_>], occasion: Occasion) -> Result<Peer, PeerRefusal>;
}

/// Why the authority is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// This node dialled the peer.
    Dialled,
    /// The peer dialled this node, in a full or a resumed handshake.
    Accepted,
    /// The peer shows a new chain within a session.
    Renewed,
    /// [`Endpoint::recheck`](crate::Endpoint::recheck): something about standing has changed.
    Rechecked,
}

/// A peer that may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its identity; it stays the same for the life of a session.
    pub id: NodeId,
    /// The services that it may open here.
    pub services: ServiceSet,
    /// What people call it.
    pub label: String,
    /// Whether it has one session at a time, as nodes do. A key that several programs use at once
    /// has many.
    pub single: bool,
    /// When what it showed ends, Unix milliseconds by the authority's clock; `None` if time alone
    /// ends nothing. STOQ has no such clock: see
    /// [`Endpoint::first_end_ms`](crate::Endpoint::first_end_ms).
    pub valid_until_ms: Option<u64>,
}

impl Peer {
    /// A node: one session at a time, valid until the authority says otherwise.
    #[must_use]
    pub fn node(id: NodeId, services: ServiceSet, label: impl Into<String>) -> Self {
        Self {
            id,
            services,
            label: label.into(),
            single: true,
            valid_until_ms: None,
        }
    }
}

/// A peer that may not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} (code {code})")]
pub struct PeerRefusal {
    /// The authority's own number for the reason.
    pub code: u32,
    /// The reason in words; the first 256 bytes travel.
    pub text: String,
}
