//! Stake: that this principal may do this. What the ledger says of it arrives as [`StakeFacts`].

use serde::{Deserialize, Serialize};
use types::{Principal, Signature, VerifyError};

/// As what somebody acts. New roles are appended: the order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StakeRole {
    /// A member node, for what it owns.
    Node,
    /// Uses what others offer.
    Deployer,
    /// Everything.
    Admin,
    /// Looks, and leases what everybody may.
    Viewer,
    /// Had a role once; leases what everybody may.
    Nothing,
}

/// What a principal says that it may use for one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeClaim {
    /// Who.
    pub principal: Principal,
    /// As what.
    pub role: StakeRole,
    /// How much of its quota, in the asset's unit.
    pub quota: u64,
    /// How much of its bond answers for the operation, in the ledger's unit.
    pub bond: u64,
}

/// A claim and its principal's signature over the operation and all four proofs: no part of one
/// admission can be used in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeProof {
    /// What is claimed.
    pub claim: StakeClaim,
    /// Over [`Proofs::signing_bytes`](crate::Proofs::signing_bytes).
    pub signature: Signature,
}

/// What the ledger says: of the principal, and of what the operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StakeFacts {
    /// Who must act: who signed the transaction.
    pub principal: Principal,
    /// Its role; none if it is unknown.
    pub role: Option<StakeRole>,
    /// What is left of its quota.
    pub quota_left: u64,
    /// What of its bond answers for nothing else yet.
    pub bond_left: u64,
    /// The role that the operation is for; none if it does not depend on a role.
    pub needs_role: Option<StakeRole>,
    /// The quota that the operation takes.
    pub needs_quota: u64,
    /// The bond that the operation ties.
    pub needs_bond: u64,
}

/// Why a claim is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyStakeError {
    /// Somebody else's claim.
    #[error("the claim is of {found}, {expected} acts")]
    OtherPrincipal {
        /// Who acts.
        expected: Principal,
        /// Who claims.
        found: Principal,
    },
    /// Nobody that the ledger knows.
    #[error("{principal} has no role in this fabric")]
    Unknown {
        /// Who.
        principal: Principal,
    },
    /// A role that it does not have.
    #[error("{principal} claims to be {claimed:?}, the ledger says {actual:?}")]
    RoleNotHeld {
        /// Who.
        principal: Principal,
        /// What it claims.
        claimed: StakeRole,
        /// What the ledger says.
        actual: StakeRole,
    },
    /// A role that may not do this.
    #[error("the operation is for {needed:?}, {claimed:?} may not do it")]
    WrongRole {
        /// Whom it is for.
        needed: StakeRole,
        /// Who asks.
        claimed: StakeRole,
    },
    /// A claim of quota that is not what the operation takes.
    #[error("the operation takes {needed} of the quota, {claimed} is claimed")]
    WrongQuota {
        /// What it takes.
        needed: u64,
        /// What is claimed.
        claimed: u64,
    },
    /// A claim of bond that is not what the operation ties.
    #[error("the operation ties a bond of {needed}, {claimed} is claimed")]
    WrongBond {
        /// What it ties.
        needed: u64,
        /// What is claimed.
        claimed: u64,
    },
    /// More than is left of the quota.
    #[error("{claimed} of the quota is claimed, {left} is left")]
    OverQuota {
        /// What is claimed.
        claimed: u64,
        /// What is left.
        left: u64,
    },
    /// More than is left of the bond.
    #[error("a bond of {claimed} is claimed, {left} is left")]
    OverBond {
        /// What is claimed.
        claimed: u64,
        /// What is left.
        left: u64,
    },
    /// Not signed by its principal over this operation and these proofs.
    #[error("the proofs are not authentic: {0}")]
    Signature(#[from] VerifyError),
}

impl StakeClaim {
    /// Checks that the claim is what the operation needs and the ledger covers.
    ///
    /// # Errors
    /// [`VerifyStakeError`], never about the signature: that is over more than the claim.
    pub fn verify(&self, facts: &StakeFacts) -> Result<(), VerifyStakeError> {
        use VerifyStakeError as E;
        let principal = self.principal;
        if principal != facts.principal {
            let (expected, found) = (facts.principal, principal);
            return Err(E::OtherPrincipal { expected, found });
        }
        let actual = facts.role.ok_or(E::Unknown { principal })?;
        let (claimed, needed) = (self.role, facts.needs_role);
        if claimed != actual {
            return Err(E::RoleNotHeld {
                principal,
                claimed,
                actual,
            });
        }
        if let Some(needed) = needed
            && claimed != needed
            && claimed != StakeRole::Admin
        {
            return Err(E::WrongRole { needed, claimed });
        }
        let (claimed, needed, left) = (self.quota, facts.needs_quota, facts.quota_left);
        if claimed != needed {
            return Err(E::WrongQuota { needed, claimed });
        }
        if claimed > left {
            return Err(E::OverQuota { claimed, left });
        }
        let (claimed, needed, left) = (self.bond, facts.needs_bond, facts.bond_left);
        if claimed != needed {
            return Err(E::WrongBond { needed, claimed });
        }
        if claimed > left {
            return Err(E::OverBond { claimed, left });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> (StakeClaim, StakeFacts) {
        let principal = Principal::from_bytes([1; 32]);
        let claim = StakeClaim {
            principal,
            role: StakeRole::Deployer,
            quota: 5,
            bond: 10,
        };
        let facts = StakeFacts {
            principal,
            role: Some(StakeRole::Deployer),
            quota_left: 5,
            bond_left: 10,
            needs_role: Some(StakeRole::Deployer),
            needs_quota: 5,
            needs_bond: 10,
        };
        (claim, facts)
    }

    /// What becomes of a sound claim after a change.
    fn after(
        change: impl FnOnce(&mut StakeClaim, &mut StakeFacts),
    ) -> Result<(), VerifyStakeError> {
        let (mut claim, mut facts) = sound();
        change(&mut claim, &mut facts);
        claim.verify(&facts)
    }

    #[test]
    fn a_claim_that_needs_all_that_is_left_is_good_and_an_admin_may_do_it_too() {
        assert_eq!(after(|_, _| {}), Ok(()));
        let admin = after(|claim, facts| {
            claim.role = StakeRole::Admin;
            facts.role = Some(StakeRole::Admin);
        });
        assert_eq!(admin, Ok(()));
        let any = after(|claim, facts| {
            claim.role = StakeRole::Viewer;
            facts.role = Some(StakeRole::Viewer);
            facts.needs_role = None;
        });
        assert_eq!(any, Ok(()));
    }

    #[test]
    fn another_principal_and_another_role_are_refused() {
        use VerifyStakeError as E;
        let other = Principal::from_bytes([2; 32]);
        let (principal, claimed) = (sound().0.principal, StakeRole::Admin);
        let refusals = [
            (
                after(|claim, _| claim.principal = other),
                E::OtherPrincipal {
                    expected: principal,
                    found: other,
                },
            ),
            (
                after(|_, facts| facts.role = None),
                E::Unknown { principal },
            ),
            (
                after(|claim, _| claim.role = claimed),
                E::RoleNotHeld {
                    principal,
                    claimed,
                    actual: StakeRole::Deployer,
                },
            ),
            (
                after(|_, facts| facts.needs_role = Some(StakeRole::Node)),
                E::WrongRole {
                    needed: StakeRole::Node,
                    claimed: StakeRole::Deployer,
                },
            ),
        ];
        for (found, expected) in refusals {
            assert_eq!(found, Err(expected));
        }
    }

    #[test]
    fn a_claim_of_more_or_less_than_it_takes_or_than_is_left_is_refused() {
        use VerifyStakeError as E;
        let refusals = [
            (
                after(|claim, _| claim.quota = 4),
                E::WrongQuota {
                    needed: 5,
                    claimed: 4,
                },
            ),
            (
                after(|claim, _| claim.quota = 6),
                E::WrongQuota {
                    needed: 5,
                    claimed: 6,
                },
            ),
            (
                after(|_, facts| facts.quota_left = 4),
                E::OverQuota {
                    claimed: 5,
                    left: 4,
                },
            ),
            (
                after(|claim, _| claim.bond = 9),
                E::WrongBond {
                    needed: 10,
                    claimed: 9,
                },
            ),
            (
                after(|_, facts| facts.bond_left = 9),
                E::OverBond {
                    claimed: 10,
                    left: 9,
                },
            ),
        ];
        for (found, expected) in refusals {
            assert_eq!(found, Err(expected));
        }
    }
}
