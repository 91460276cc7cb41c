//! What STOQ asks about peers, answered from the ledger as far as this node has followed it.

use std::collections::BTreeMap;
use std::sync::{OnceLock, PoisonError, RwLock, Weak};

use consensus::Blame;
use ledger::{Membership, Role};
use stoq::{CertificateDer, Occasion, Peer, PeerAuthority, PeerRefusal, Service, ServiceSet};
use tokio::sync::watch;
use trust::{LoggedCertificate, MemberFact, Registry, Standing};
use types::{Digest, FabricId, NodeId, Principal};

use crate::clock::{Clock, unix_ms};
use crate::shared::Shared;

/// Judges peers by certificate, ledger and clock. Before the ledger runs, every node of the fabric
/// is a stranger.
pub(crate) struct Authority {
    fabric: FabricId,
    clock: Clock,
    shared: RwLock<Weak<Shared>>,
    blocked: OnceLock<Blocked>,
}

/// The peers that the ledger blames now, each with why.
pub(crate) type Blocked = watch::Receiver<BTreeMap<NodeId, Blame>>;

/// The code of a refusal that is no judgement about the peer. Those of certificates and standing are
/// [`trust::Refusal::code`].
const STOPPING: u32 = 100;
/// The code of a refusal of a peer that the ledger blames, for as long as it does.
pub(crate) const BLOCKED: u32 = 101;

impl Authority {
    pub(crate) fn new(fabric: FabricId) -> Self {
        Self::with_clock(fabric, std::sync::Arc::new(unix_ms))
    }

    /// Reads the time from `clock`.
    pub(crate) fn with_clock(fabric: FabricId, clock: Clock) -> Self {
        Self {
            fabric,
            clock,
            shared: RwLock::new(Weak::new()),
            blocked: OnceLock::new(),
        }
    }

    /// From now on the ledger is asked.
    pub(crate) fn attach(&self, shared: Weak<Shared>) {
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = shared;
    }

    /// From now on peers are refused for as long as they are in `blocked`.
    pub(crate) fn heed(&self, blocked: Blocked) {
        // The first one counts: a node has one ledger.
        let _ = self.blocked.set(blocked);
    }

    /// Refuses a node that the ledger blames. Operators speak to no ledger.
    fn allows(&self, standing: Standing) -> Result<(), PeerRefusal> {
        let (Standing::Member(node) | Standing::Unlogged(node) | Standing::Stranger(node)) =
            standing
        else {
            return Ok(());
        };
        let blame = self
            .blocked
            .get()
            .and_then(|blocked| blocked.borrow().get(&node).cloned());
        match blame {
            None => Ok(()),
            Some(blame) => Err(PeerRefusal {
                code: BLOCKED,
                text: format!("node {} is blocked: {blame}", node.short()),
            }),
        }
    }
}

impl PeerAuthority for Authority {
    fn judge(&self, chain: &[CertificateDer<'_>], _: Occasion) -> Result<Peer, PeerRefusal> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let facts = Facts {
            fabric: self.fabric,
            shared: shared.upgrade(),
        };
        drop(shared);
        let Some(leaf) = chain.first() else {
            return Err(PeerRefusal {
                code: STOPPING,
                text: "no certificate was shown".to_owned(),
            });
        };
        let judged = trust::judge(leaf, &facts, (self.clock)());
        let (certificate, standing) = judged.map_err(|refusal| PeerRefusal {
            code: refusal.code().into(),
            text: refusal.to_string(),
        })?;
        self.allows(standing)?;
        Ok(Peer {
            valid_until_ms: Some(certificate.not_after_ms),
            ..peer(standing)
        })
    }
}

/// What a standing opens.
fn peer(standing: Standing) -> Peer {
    let label = label(standing);
    match standing {
        Standing::Member(node) => Peer::node(node, ServiceSet::ALL, label),
        // Enough to read the ledger, and to ask to be on it.
        Standing::Unlogged(node) | Standing::Stranger(node) => {
            let services = [Service::Consensus, Service::Control];
            Peer::node(node, services.into_iter().collect(), label)
        }
        Standing::Operator(key) => Peer {
            single: false,
            // Relayed, it reaches members that dialled out; they let it do no more than this.
            ..Peer::node(
                key,
                [Service::Control, Service::Relay].into_iter().collect(),
                label,
            )
        },
    }
}

/// A standing in one word.
pub(crate) const fn label(standing: Standing) -> &'static str {
    match standing {
        Standing::Member(_) => "member",
        Standing::Unlogged(_) => "unlogged",
        Standing::Stranger(_) => "stranger",
        Standing::Operator(_) => "operator",
    }
}

/// The standing that a peer was let in with, or got since.
pub(crate) fn standing(peer: &Peer) -> Standing {
    match peer.label.as_str() {
        "member" => Standing::Member(peer.id),
        "unlogged" => Standing::Unlogged(peer.id),
        "operator" => Standing::Operator(peer.id),
        _ => Standing::Stranger(peer.id),
    }
}

/// Whether a peer is a member whose certificate is logged.
pub(crate) fn is_member(peer: &Peer) -> bool {
    matches!(standing(peer), Standing::Member(_))
}

/// Whether a peer was let in without being a member.
pub(crate) fn is_stranger(peer: &Peer) -> bool {
    matches!(standing(peer), Standing::Stranger(_))
}

/// The ledger as [`trust::judge`] asks it. What cannot be read ends the node elsewhere; until then
/// it counts as absent.
struct Facts {
    fabric: FabricId,
    shared: Option<std::sync::Arc<Shared>>,
}

impl Registry for Facts {
    fn fabric(&self) -> FabricId {
        self.fabric
    }

    fn certificate(&self, fingerprint: &Digest) -> Option<LoggedCertificate> {
        let state = self.shared.as_ref()?.state();
        let record = state.view.certificate(fingerprint).ok().flatten()?;
        Some(LoggedCertificate {
            node: record.node,
            revoked: record.revoked.map(|revoked| revoked.reason),
        })
    }

    fn member(&self, node: &NodeId) -> MemberFact {
        let Some(shared) = &self.shared else {
            return MemberFact::Stranger;
        };
        let view = &shared.state().view;
        let Some(record) = view.member(node).ok().flatten() else {
            return MemberFact::Stranger;
        };
        match record.membership {
            Membership::Member => {
                let newest = record.certificates.last();
                let newest = newest.and_then(|newest| view.certificate(newest).ok().flatten());
                MemberFact::Member {
                    newest_from_ms: newest.map_or(0, |record| record.not_before_ms),
                }
            }
            Membership::Left { .. } => MemberFact::Stranger,
            Membership::Evicted { reason, .. } => MemberFact::Evicted { reason },
        }
    }

    fn is_operator(&self, principal: &Principal) -> bool {
        let Some(shared) = &self.shared else {
            return false;
        };
        let record = shared.state().view.principal(principal).ok().flatten();
        record.is_some_and(|record| record.role.covers(Role::Viewer))
    }
}
