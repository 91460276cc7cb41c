//! Capabilities for leases: who may use a region, narrowed from hand to hand. Never knows whether a
//! lease is live, nor who shows a capability: whoever verifies brings these as facts.
//!
//! The first block names fabric, asset, lease and host, what is allowed, and a key; the lease's holder
//! signs it. Each further block allows less, names another key, and is signed by the key that the
//! block before it names. So whoever has a capability with the secret of its last key can give away a
//! part of it without asking anybody, and nobody can take a block off or allow more than the block
//! before it does.
//!
//! *Why no biscuit.* `biscuit-auth` has the same chain, but brings a second, older curve stack and a
//! Datalog engine, whose cost per capability a peer would choose. What is granted here is five fields,
//! each of which is narrowed by comparing; 154 bytes a block and one signature check.
//!
//! *Replay.* A capability is shown within a session whose peer TLS has authenticated, so one that was
//! overheard or passed on is refused where its audience is another node. One for any member is as good
//! as the membership of whoever has it; its holder keeps it short and revokes it by its id.

use std::fmt;

use types::{
    AssetId, Digest, FabricId, LeaseId, NodeId, Principal, PublicKey, RegionScope, Signature,
    Widening,
};
use zeroize::Zeroizing;

use crate::capability_bytes;
use crate::identity::{IdentityError, SecretKey};

const DOMAIN: &[u8] = b"hypermesh/lease-capability/1\0";

/// What a capability is for. The nonce tells apart what is alike otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySubject {
    /// The fabric.
    pub fabric: FabricId,
    /// The asset that was leased.
    pub asset: AssetId,
    /// The lease.
    pub lease: LeaseId,
    /// The node that has the asset.
    pub host: NodeId,
    /// Chosen by chance.
    pub nonce: [u8; 16],
}

/// The right to use what was leased, as far as its last block says. `Debug` shows no secret; the text
/// form holds one unless the capability is sealed.
#[derive(Clone)]
pub struct LeaseCapability {
    pub(crate) subject: CapabilitySubject,
    /// From the holder's to the narrowest; never empty.
    pub(crate) blocks: Vec<Block>,
    /// Of the key that the last block names.
    pub(crate) secret: Option<Zeroizing<[u8; 32]>>,
}

#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) scope: RegionScope,
    /// Whoever has its secret may narrow the capability.
    pub(crate) next: PublicKey,
    pub(crate) signature: Signature,
}

/// What is true where a capability is shown.
pub struct CapabilityFacts<'a> {
    /// This fabric.
    pub fabric: FabricId,
    /// This node.
    pub host: NodeId,
    /// The node that shows it.
    pub presenter: NodeId,
    /// The latest that ledger time can be.
    pub ledger_ms: u64,
    /// The lease, if it is live.
    pub lease: Option<LeaseFact>,
    /// Whether an id was revoked.
    pub revoked: &'a dyn Fn(&Digest) -> bool,
}

/// What the ledger says of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseFact {
    /// Of this asset.
    pub asset: AssetId,
    /// Who holds it.
    pub holder: Principal,
}

/// A capability that gives nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityRefusal {
    /// Of another fabric.
    #[error("the capability is of fabric {}, this is {}", .found.short(), .here.short())]
    OtherFabric {
        /// What it says.
        found: FabricId,
        /// Where it was shown.
        here: FabricId,
    },
    /// For another node's asset.
    #[error("the capability is for what node {} has, this is {}", .found.short(), .here.short())]
    OtherHost {
        /// What it says.
        found: NodeId,
        /// Where it was shown.
        here: NodeId,
    },
    /// There is no such lease, or it is over, or was given back.
    #[error("{} has ended, or there is none", .0.short())]
    NoLease(LeaseId),
    /// The lease is of another asset.
    #[error("{} is not a lease of {}", .lease.short(), .found.short())]
    OtherAsset {
        /// The lease.
        lease: LeaseId,
        /// What the capability says.
        found: AssetId,
    },
    /// A block was not signed by whom it should be.
    #[error("block {block} of the capability is not signed by {}", .signer.short())]
    Forged {
        /// Counted from 0.
        block: usize,
        /// Who should have signed.
        signer: PublicKey,
    },
    /// A block allows what the one before it does not.
    #[error("block {block} of the capability allows more {what} than the one before it")]
    Widened {
        /// Counted from 0.
        block: usize,
        /// More of what.
        what: Widening,
    },
    /// Shown by another node than it was given to.
    #[error("the capability is for {audience}, node {} shows it", .presenter.short())]
    Replayed {
        /// For whom it is.
        audience: types::Audience,
        /// Who shows it.
        presenter: NodeId,
    },
    /// Its time is over.
    #[error("the capability ended at ledger time {expires_ms} ms; it can be {ledger_ms} ms by now")]
    Expired {
        /// When it ended.
        expires_ms: u64,
        /// The latest that it can be.
        ledger_ms: u64,
    },
    /// It, or one that it was made of, was revoked.
    #[error("capability {} was revoked", .0.short())]
    Revoked(Digest),
}

/// A capability that was not narrowed.
#[derive(Debug, thiserror::Error)]
pub enum NarrowError {
    /// It has no secret.
    #[error("the capability is sealed: ask whoever gave it for another one")]
    Sealed,
    /// Too often narrowed.
    #[error("a capability is narrowed at most {} times", LeaseCapability::BLOCKS_MAX - 1)]
    TooLong,
    /// It would allow more.
    #[error("a capability cannot give more {0} than it has")]
    Widened(Widening),
    /// No key.
    #[error(transparent)]
    Entropy(#[from] IdentityError),
}

impl LeaseCapability {
    /// Most blocks: each is a signature to check, and 246 characters to paste.
    pub const BLOCKS_MAX: usize = 8;
    /// Longest binary form.
    pub const BYTES_MAX: usize = capability_bytes::BYTES_MAX;

    /// The capability that `holder` has by its lease. The nonce of `subject` is replaced by a fresh one.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`] if the system has no randomness.
    pub fn issue(
        holder: &SecretKey,
        mut subject: CapabilitySubject,
        scope: RegionScope,
    ) -> Result<Self, IdentityError> {
        getrandom::fill(&mut subject.nonce)
            .map_err(|error| IdentityError::Entropy(error.to_string()))?;
        let mut capability = Self {
            subject,
            blocks: Vec::new(),
            secret: None,
        };
        capability.append(holder, scope)?;
        Ok(capability)
    }

    /// A capability for a part of what this one is for.
    ///
    /// # Errors
    /// [`NarrowError`].
    pub fn narrowed(&self, scope: RegionScope) -> Result<Self, NarrowError> {
        let secret = self.secret.as_ref().ok_or(NarrowError::Sealed)?;
        if self.blocks.len() >= Self::BLOCKS_MAX {
            return Err(NarrowError::TooLong);
        }
        if let Some(last) = self.blocks.last() {
            scope.narrows(&last.scope).map_err(NarrowError::Widened)?;
        }
        let mut narrowed = self.clone();
        narrowed.append(&SecretKey::from_seed(secret), scope)?;
        Ok(narrowed)
    }

    /// The same without the secret: for whoever only checks it, or should not pass parts of it on.
    #[must_use]
    pub fn sealed(&self) -> Self {
        Self {
            secret: None,
            ..self.clone()
        }
    }

    fn append(&mut self, signer: &SecretKey, scope: RegionScope) -> Result<(), IdentityError> {
        let secret = SecretKey::generate()?;
        let next = secret.public();
        let message = self.message(self.id_of_last(), &scope, &next);
        self.blocks.push(Block {
            scope,
            next,
            signature: signer.sign(&message),
        });
        self.secret = Some(secret.expose_seed());
        Ok(())
    }

    /// What it is for.
    #[must_use]
    pub const fn subject(&self) -> &CapabilitySubject {
        &self.subject
    }

    /// What it allows; nothing, should it have no block.
    #[must_use]
    pub fn scope(&self) -> Option<&RegionScope> {
        self.blocks.last().map(|block| &block.scope)
    }

    /// Whether nobody narrowed it: it is the holder's own.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.blocks.len() == 1
    }

    /// Its id and, before it, those of the capabilities that it was made of. Revoking one revokes what
    /// was made of it.
    #[must_use]
    pub fn ids(&self) -> Vec<Digest> {
        let ids = self.blocks.iter().scan(None, |before, block| {
            let message = self.message(*before, &block.scope, &block.next);
            *before = Some(Digest::of(&message));
            *before
        });
        ids.collect()
    }

    /// Its own id.
    #[must_use]
    pub fn id(&self) -> Option<Digest> {
        self.id_of_last()
    }

    /// Whether it gives what it says, where `facts` are true.
    ///
    /// # Errors
    /// [`CapabilityRefusal`] with the first reason: what costs least to find comes first.
    pub fn verify(&self, facts: &CapabilityFacts<'_>) -> Result<(), CapabilityRefusal> {
        let CapabilitySubject {
            fabric,
            asset,
            lease,
            host,
            ..
        } = self.subject;
        if fabric != facts.fabric {
            let (found, here) = (fabric, facts.fabric);
            return Err(CapabilityRefusal::OtherFabric { found, here });
        }
        if host != facts.host {
            let (found, here) = (host, facts.host);
            return Err(CapabilityRefusal::OtherHost { found, here });
        }
        let fact = facts.lease.ok_or(CapabilityRefusal::NoLease(lease))?;
        if fact.asset != asset {
            return Err(CapabilityRefusal::OtherAsset {
                lease,
                found: asset,
            });
        }
        let scope = self.scope().ok_or(CapabilityRefusal::Forged {
            block: 0,
            signer: fact.holder,
        })?;
        if !scope.audience.admits(&facts.presenter) {
            let (audience, presenter) = (scope.audience, facts.presenter);
            return Err(CapabilityRefusal::Replayed {
                audience,
                presenter,
            });
        }
        if facts.ledger_ms >= scope.expires_ms {
            let (expires_ms, ledger_ms) = (scope.expires_ms, facts.ledger_ms);
            return Err(CapabilityRefusal::Expired {
                expires_ms,
                ledger_ms,
            });
        }
        self.verify_blocks(fact.holder)?;
        match self.ids().into_iter().find(|id| (facts.revoked)(id)) {
            Some(id) => Err(CapabilityRefusal::Revoked(id)),
            None => Ok(()),
        }
    }

    fn verify_blocks(&self, holder: Principal) -> Result<(), CapabilityRefusal> {
        let (mut signer, mut id) = (holder, None);
        let mut outer: Option<&RegionScope> = None;
        for (at, block) in self.blocks.iter().enumerate() {
            let widened = outer.map(|outer| block.scope.narrows(outer));
            widened
                .unwrap_or(Ok(()))
                .map_err(|what| CapabilityRefusal::Widened { block: at, what })?;
            let message = self.message(id, &block.scope, &block.next);
            signer
                .verify(&message, &block.signature)
                .map_err(|_| CapabilityRefusal::Forged { block: at, signer })?;
            (signer, id) = (block.next, Some(Digest::of(&message)));
            outer = Some(&block.scope);
        }
        Ok(())
    }

    fn id_of_last(&self) -> Option<Digest> {
        self.ids().pop()
    }

    #[cfg(test)]
    pub(crate) fn message_of_last(&self) -> Vec<u8> {
        let ids = self.ids();
        let before = ids.iter().rev().nth(1).copied();
        let last = self.blocks.last().expect("a capability has a block");
        self.message(before, &last.scope, &last.next)
    }

    /// What the signer of a block signs; its digest is the block's id. All that came before is in it.
    fn message(&self, before: Option<Digest>, scope: &RegionScope, next: &PublicKey) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        match before {
            None => capability_bytes::put_subject(&mut message, &self.subject),
            Some(id) => message.extend(id.as_bytes()),
        }
        capability_bytes::put_scope(&mut message, scope);
        message.extend(next.as_bytes());
        message
    }
}

impl fmt::Debug for LeaseCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseCapability")
            .field("lease", &self.subject.lease)
            .field("scope", &self.scope())
            .field("blocks", &self.blocks.len())
            .finish_non_exhaustive()
    }
}
