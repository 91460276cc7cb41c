//! How long what is kept for a lease may be used, and by which capabilities. Knows not what is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use types::{Digest, RegionScope};

use crate::term::LeaseTerm;

/// Most capabilities of one lease that are revoked one by one. Who gave out more ends the lease.
pub const REVOKED_MAX: usize = 1_024;

/// The time of one lease here.
#[derive(Debug)]
pub struct Tenure {
    pub(crate) term: LeaseTerm,
    pub(crate) revoked: BTreeSet<Digest>,
    ended: bool,
}

/// What one capability gives of what is kept for a lease.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) scope: RegionScope,
    /// The capability, and those that it was made of.
    pub(crate) ids: Arc<[Digest]>,
    /// Whether it may revoke what was made of it.
    pub(crate) is_root: bool,
}

/// Why nothing can be done by a capability at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    Ended,
    Expired,
    Revoked,
}

/// A capability that was not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRevoked {
    NotOwner,
    RevokesItself,
    TooMany,
}

impl Tenure {
    /// Of a lease that begins here.
    pub(crate) const fn new(term: LeaseTerm) -> Self {
        Self {
            term,
            revoked: BTreeSet::new(),
            ended: false,
        }
    }

    /// Whether it may be somebody else's by now.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.ended || self.term.is_over(now_ms)
    }

    /// Ends it; whether it had not ended before.
    pub(crate) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }
}

impl Grant {
    pub(crate) fn check(&self, tenure: &Tenure, now_ms: u64) -> Result<(), Unusable> {
        if tenure.is_over(now_ms) {
            return Err(Unusable::Ended);
        }
        if self.ids.iter().any(|id| tenure.revoked.contains(id)) {
            return Err(Unusable::Revoked);
        }
        if tenure.term.may_be_at(self.scope.expires_ms, now_ms) {
            return Err(Unusable::Expired);
        }
        Ok(())
    }

    /// Refuses a capability, and what is made of it, from now on.
    pub(crate) fn revoke(&self, tenure: &mut Tenure, id: Digest) -> Result<(), NotRevoked> {
        if !self.is_root {
            return Err(NotRevoked::NotOwner);
        }
        if self.ids.contains(&id) {
            return Err(NotRevoked::RevokesItself);
        }
        if tenure.revoked.len() >= REVOKED_MAX && !tenure.revoked.contains(&id) {
            return Err(NotRevoked::TooMany);
        }
        tenure.revoked.insert(id);
        Ok(())
    }
}
