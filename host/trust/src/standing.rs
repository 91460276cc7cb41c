//! The judgement of a peer by its certificate, what the ledger says, and the clock. Pure; never
//! knows which services a standing opens.

use types::{Digest, FabricId, NodeId, Principal};

use crate::certificate::{PresentedCertificate, ReadCertificateError, Subject};

/// What the ledger says, as far as this node has followed it.
pub trait Registry {
    /// The fabric.
    fn fabric(&self) -> FabricId;
    /// A certificate that was logged.
    fn certificate(&self, fingerprint: &Digest) -> Option<LoggedCertificate>;
    /// How a node stands.
    fn member(&self, node: &NodeId) -> MemberFact;
    /// Whether a principal has a role that people have.
    fn is_operator(&self, principal: &Principal) -> bool;
}

/// A certificate on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedCertificate {
    /// Whose it is.
    pub node: NodeId,
    /// Why it was revoked, if it was.
    pub revoked: Option<String>,
}

/// How a node stands on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberFact {
    /// It belongs.
    Member {
        /// When the newest of its logged certificates begins, Unix milliseconds; 0 without any.
        newest_from_ms: u64,
    },
    /// It never did, or left.
    Stranger,
    /// It was put out.
    Evicted {
        /// Why.
        reason: String,
    },
}

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member with a logged certificate.
    Member(NodeId),
    /// A member whose certificate this node has not seen logged. One of the two may be behind:
    /// the peer with logging it, or this node with reading the ledger.
    Unlogged(NodeId),
    /// No member. It may ask to become one.
    Stranger(NodeId),
    /// Someone with a role.
    Operator(Principal),
}

/// Why a peer is not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No certificate of ours.
    #[error(transparent)]
    Certificate(#[from] ReadCertificateError),
    /// Of another fabric.
    #[error("the certificate is for fabric {}, this one is {}", found.short(), expected.short())]
    OtherFabric {
        /// This node's fabric.
        expected: FabricId,
        /// The certificate's.
        found: FabricId,
    },
    /// Its time is over.
    #[error("the certificate expired {seconds} s ago: renew it, or set the clock that is wrong")]
    Expired {
        /// So long ago.
        seconds: u64,
    },
    /// Its time has not come: a clock is wrong.
    #[error(
        "the certificate begins in {seconds} s: the clocks of both ends differ by more than that, \
         set the one that is wrong"
    )]
    NotYetValid {
        /// So far ahead.
        seconds: u64,
    },
    /// Ended early.
    #[error("the certificate was revoked: {reason}")]
    Revoked {
        /// Why.
        reason: String,
    },
    /// Logged for someone else.
    #[error("the certificate was logged for node {}, not for {}", logged.short(), claimed.short())]
    OtherOwner {
        /// Whose it is.
        logged: NodeId,
        /// Who shows it.
        claimed: NodeId,
    },
    /// Put out.
    #[error("node {} was evicted: {reason}", node.short())]
    Evicted {
        /// Which node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Never logged, and older than one that was.
    #[error("the certificate was never logged, and its node has logged newer ones since")]
    Superseded,
    /// An operator that is none.
    #[error("{0} has no role in this fabric: an admin gives one with `nexus role grant`")]
    NoRole(Principal),
}

impl Refusal {
    /// Whether a refusal with this code is about the certificate and not about who shows it: another
    /// certificate of the same identity may be taken.
    #[must_use]
    pub const fn is_about_one_certificate(code: u32) -> bool {
        // Expired, revoked, logged for another, superseded.
        matches!(code, 3 | 5 | 6 | 9)
    }

    /// The number under which a refusal travels. Never reused.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Certificate(_) => 1,
            Self::OtherFabric { .. } => 2,
            Self::Expired { .. } => 3,
            Self::NotYetValid { .. } => 4,
            Self::Revoked { .. } => 5,
            Self::OtherOwner { .. } => 6,
            Self::Evicted { .. } => 7,
            Self::NoRole(_) => 8,
            Self::Superseded => 9,
        }
    }
}

/// Judges the certificate that a peer shows, at `now_ms` (Unix milliseconds).
///
/// # Errors
/// [`Refusal`]: such a peer is not heard at all.
pub fn judge(
    der: &[u8],
    registry: &impl Registry,
    now_ms: u64,
) -> Result<(PresentedCertificate, Standing), Refusal> {
    let certificate = PresentedCertificate::read(der)?;
    let (expected, found) = (registry.fabric(), certificate.fabric);
    if expected != found {
        return Err(Refusal::OtherFabric { expected, found });
    }
    let standing = match certificate.subject {
        Subject::Operator(principal) if registry.is_operator(&principal) => {
            Standing::Operator(principal)
        }
        Subject::Operator(principal) => return Err(Refusal::NoRole(principal)),
        Subject::Node(node) => node_standing(&certificate, node, registry)?,
    };
    if now_ms < certificate.not_before_ms {
        let seconds = (certificate.not_before_ms - now_ms).div_ceil(1000);
        return Err(Refusal::NotYetValid { seconds });
    }
    if now_ms > certificate.not_after_ms {
        let seconds = (now_ms - certificate.not_after_ms) / 1000;
        return Err(Refusal::Expired { seconds });
    }
    Ok((certificate, standing))
}

fn node_standing(
    certificate: &PresentedCertificate,
    node: NodeId,
    registry: &impl Registry,
) -> Result<Standing, Refusal> {
    let member = registry.member(&node);
    if let MemberFact::Evicted { reason } = member {
        return Err(Refusal::Evicted { node, reason });
    }
    let logged = registry.certificate(&certificate.fingerprint);
    match logged {
        Some(LoggedCertificate {
            revoked: Some(reason),
            ..
        }) => Err(Refusal::Revoked { reason }),
        Some(LoggedCertificate { node: logged, .. }) if logged != node => {
            Err(Refusal::OtherOwner {
                logged,
                claimed: node,
            })
        }
        logged => match member {
            MemberFact::Member { .. } if logged.is_some() => Ok(Standing::Member(node)),
            // The record of an old certificate may be gone, and with it that it was revoked.
            MemberFact::Member { newest_from_ms } if certificate.not_before_ms < newest_from_ms => {
                Err(Refusal::Superseded)
            }
            MemberFact::Member { .. } => Ok(Standing::Unlogged(node)),
            _ => Ok(Standing::Stranger(node)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IssuedCertificate, SecretKey};

    const NOW_MS: u64 = 1_795_392_000_000;
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    struct Ledger {
        fabric: FabricId,
        logged: Option<(Digest, LoggedCertificate)>,
        member: MemberFact,
        operator: bool,
    }

    impl Registry for Ledger {
        fn fabric(&self) -> FabricId {
            self.fabric
        }

        fn certificate(&self, fingerprint: &Digest) -> Option<LoggedCertificate> {
            let (logged, record) = self.logged.clone()?;
            (logged == *fingerprint).then_some(record)
        }

        fn member(&self, _: &NodeId) -> MemberFact {
            self.member.clone()
        }

        fn is_operator(&self, _: &Principal) -> bool {
            self.operator
        }
    }

    #[test]
    fn each_reason_is_its_own() {
        let identity = SecretKey::from_seed(&[1; 32]);
        let (node, other) = (identity.public(), SecretKey::from_seed(&[2; 32]).public());
        let fabric = Digest::of(b"fabric");
        let issued = IssuedCertificate::issue(&identity, &fabric, true, NOW_MS).unwrap();
        let logged = |node, revoked: Option<&str>| {
            let revoked = revoked.map(str::to_owned);
            Some((issued.fingerprint, LoggedCertificate { node, revoked }))
        };
        let good = || Ledger {
            fabric,
            logged: logged(node, None),
            member: MemberFact::Member { newest_from_ms: 0 },
            operator: false,
        };
        let judged = |ledger: &Ledger, now_ms| judge(&issued.der, ledger, now_ms).map(|(_, s)| s);
        assert_eq!(judged(&good(), NOW_MS), Ok(Standing::Member(node)));
        let with = |change: fn(&mut Ledger)| {
            let mut ledger = good();
            change(&mut ledger);
            judged(&ledger, NOW_MS)
        };
        assert_eq!(with(|l| l.logged = None), Ok(Standing::Unlogged(node)));
        let superseded = with(|l| {
            l.logged = None;
            l.member = MemberFact::Member {
                newest_from_ms: NOW_MS,
            };
        });
        assert_eq!(superseded, Err(Refusal::Superseded));
        let left = with(|l| l.member = MemberFact::Stranger);
        assert_eq!(left, Ok(Standing::Stranger(node)));
        let mut ledger = good();
        ledger.logged = logged(node, Some("stolen"));
        let code = |result: Result<Standing, Refusal>| result.unwrap_err().code();
        let mut codes = vec![code(judged(&ledger, NOW_MS))];
        ledger.logged = logged(other, None);
        codes.push(code(judged(&ledger, NOW_MS)));
        codes.push(code(with(|l| l.fabric = Digest::of(b"another"))));
        let evicted = |l: &mut Ledger| {
            l.member = MemberFact::Evicted {
                reason: "lost".to_owned(),
            }
        };
        codes.push(code(with(evicted)));
        codes.push(code(judged(&good(), NOW_MS + DAY_MS)));
        codes.push(code(judged(&good(), NOW_MS - DAY_MS)));
        let operator = IssuedCertificate::issue(&identity, &fabric, false, NOW_MS).unwrap();
        codes.push(judge(&operator.der, &good(), NOW_MS).unwrap_err().code());
        codes.push(judge(b"garbage", &good(), NOW_MS).unwrap_err().code());
        assert_eq!(codes, [5, 6, 2, 7, 3, 4, 8, 1]);
        let known = Ledger {
            operator: true,
            ..good()
        };
        let (_, standing) = judge(&operator.der, &known, NOW_MS).unwrap();
        assert_eq!(standing, Standing::Operator(node));
    }

    #[test]
    fn a_wrong_clock_is_named_with_its_skew() {
        let identity = SecretKey::from_seed(&[1; 32]);
        let fabric = Digest::of(b"fabric");
        let ahead = IssuedCertificate::issue(&identity, &fabric, true, NOW_MS + DAY_MS).unwrap();
        let ledger = Ledger {
            fabric,
            logged: None,
            member: MemberFact::Member { newest_from_ms: 0 },
            operator: false,
        };
        let refusal = judge(&ahead.der, &ledger, NOW_MS).unwrap_err();
        assert_eq!(refusal, Refusal::NotYetValid { seconds: 86_280 });
        assert!(refusal.to_string().contains("86280 s"), "{refusal}");
    }
}
