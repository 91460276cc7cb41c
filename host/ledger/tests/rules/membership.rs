//! Joining, leaving, evicting, certificates and roles: each rule with its refusal.

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    Admission, CERTIFICATE_LIFE_MS_MAX, CERTIFICATE_RECORD_GRACE_MS, CERTIFICATES_PER_MEMBER_MAX,
    CertificateFact, CertificateOperation, INVITE_LIFE_MS_MAX, Membership, MembershipOperation,
    Operation, Refusal, Role, RoleOperation, StateKey, TransactionOutcome, join_bytes,
};
use types::{Digest, NodeId, PublicKey, Signature};

use crate::{Fabric, public};

pub(crate) const APPLIED: TransactionOutcome = TransactionOutcome::Applied;
pub(crate) const HOUR_MS: u64 = 60 * 60 * 1000;

pub(crate) fn secret(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn refused(refusal: Refusal) -> TransactionOutcome {
    TransactionOutcome::Refused(refusal)
}

impl Fabric {
    /// Lets `signer` sign with the nonce that the ledger expects.
    pub(crate) fn run_as(
        &mut self,
        signer: &SigningKey,
        operation: Operation,
    ) -> TransactionOutcome {
        let known = self.view().principal(&public(signer)).unwrap();
        let bytes = self.sign(signer, known.map_or(0, |known| known.nonce), operation);
        if public(signer) == public(&self.operator) {
            self.nonce += 1;
        }
        let transaction = self.decode(&bytes).unwrap();
        self.block(&[transaction]).outcomes.remove(0)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock_ms + self.height
    }

    pub(crate) fn certificate(&self, label: &str) -> CertificateFact {
        CertificateFact {
            fingerprint: Digest::of(label.as_bytes()),
            not_before_ms: self.now_ms(),
            not_after_ms: self.now_ms() + CERTIFICATE_LIFE_MS_MAX,
        }
    }

    pub(crate) fn invite(&mut self, ticket: &SigningKey, life_ms: u64) -> TransactionOutcome {
        self.run(Operation::Membership(MembershipOperation::Invite {
            ticket: public(ticket),
            expires_at_ms: self.now_ms() + life_ms,
        }))
    }

    fn join_operation(&self, node: &SigningKey, ticket: &SigningKey, label: &str) -> Operation {
        let bytes = join_bytes(&self.genesis.fabric_id(), &public(node));
        let admission = Admission::Ticket {
            ticket: public(ticket),
            signature: Signature::from_bytes(ticket.sign(&bytes).to_bytes()),
        };
        Operation::Membership(MembershipOperation::Join {
            admission,
            certificate: self.certificate(label),
        })
    }

    pub(crate) fn join(
        &mut self,
        node: &SigningKey,
        ticket: &SigningKey,
        label: &str,
    ) -> TransactionOutcome {
        self.run_as(node, self.join_operation(node, ticket, label))
    }

    pub(crate) fn member(&mut self, seed: u8) -> SigningKey {
        let (node, ticket) = (secret(seed), secret(seed + 100));
        assert_eq!(self.invite(&ticket, HOUR_MS), APPLIED);
        assert_eq!(
            self.join(&node, &ticket, &format!("first of {seed}")),
            APPLIED
        );
        node
    }

    pub(crate) fn issue(
        &mut self,
        node: &SigningKey,
        certificate: CertificateFact,
    ) -> TransactionOutcome {
        let issue = CertificateOperation::Issue { certificate };
        self.run_as(node, Operation::Certificate(issue))
    }

    pub(crate) fn evict(&mut self, node: NodeId) -> TransactionOutcome {
        let reason = "lost".to_owned();
        self.run(Operation::Membership(MembershipOperation::Evict {
            node,
            reason,
        }))
    }
}

#[test]
fn a_ticket_lets_one_node_in_once() {
    let mut fabric = Fabric::new();
    let (ticket, node, other) = (secret(50), secret(51), secret(52));
    assert_eq!(
        fabric.join(&node, &ticket, "early"),
        refused(Refusal::UnknownInvite)
    );
    let state = fabric.state.clone();
    assert!(!state.contains_key(&StateKey::principal(&public(&node))));
    assert_eq!(fabric.invite(&ticket, HOUR_MS), APPLIED);
    // Who saw the joiner's transaction cannot use its signature for another node.
    let stolen = fabric.join_operation(&node, &ticket, "stolen");
    assert_eq!(
        fabric.run_as(&other, stolen),
        refused(Refusal::TicketSignature)
    );
    assert_eq!(fabric.join(&node, &ticket, "a"), APPLIED);
    let by = public(&node);
    assert_eq!(
        fabric.join(&other, &ticket, "b"),
        refused(Refusal::InviteUsed { by })
    );
    assert_eq!(
        fabric.join(&node, &ticket, "c"),
        refused(Refusal::IsMember(by))
    );
    let record = fabric.view().member(&by).unwrap().unwrap();
    assert_eq!(record.membership, Membership::Member);
    assert_eq!(record.certificates, [Digest::of(b"a")]);
    let withdraw = MembershipOperation::Withdraw {
        ticket: public(&ticket),
    };
    assert_eq!(
        fabric.run(Operation::Membership(withdraw)),
        refused(Refusal::InviteUsed { by })
    );
}

#[test]
fn tickets_end_by_time_or_by_hand_and_are_forgotten() {
    let mut fabric = Fabric::new();
    let (early, late) = (secret(50), secret(51));
    assert!(matches!(
        fabric.invite(&early, INVITE_LIFE_MS_MAX + 10),
        TransactionOutcome::Refused(Refusal::InviteLife { .. })
    ));
    assert_eq!(fabric.invite(&early, HOUR_MS), APPLIED);
    assert_eq!(
        fabric.invite(&early, HOUR_MS),
        refused(Refusal::InviteExists)
    );
    fabric.clock_ms += 2 * HOUR_MS;
    assert!(matches!(
        fabric.join(&secret(60), &early, "x"),
        TransactionOutcome::Refused(Refusal::InviteExpired { .. })
    ));
    assert_eq!(fabric.invite(&late, HOUR_MS), APPLIED);
    assert_eq!(
        fabric.view().invites().unwrap().len(),
        1,
        "the old one is gone"
    );
    let withdraw = MembershipOperation::Withdraw {
        ticket: public(&late),
    };
    assert_eq!(fabric.run(Operation::Membership(withdraw)), APPLIED);
    assert_eq!(
        fabric.join(&secret(60), &late, "x"),
        refused(Refusal::UnknownInvite)
    );
}

#[test]
fn validators_vote_nodes_in() {
    let mut fabric = Fabric::new();
    // The founding validator's key is not one that this test could sign with, so found anew.
    let validator = secret(1);
    fabric.genesis = hypermesh_ledger::Genesis::new(
        1_000,
        [8; 16],
        vec![public(&validator)],
        vec![public(&validator)],
        vec![public(&fabric.operator)],
    )
    .unwrap();
    fabric.state.clear();
    fabric.height = 0;
    fabric.block(&[]);
    let node = secret(60);
    let join = |fabric: &Fabric| {
        Operation::Membership(MembershipOperation::Join {
            admission: Admission::Vote,
            certificate: fabric.certificate("v"),
        })
    };
    let wish = join(&fabric);
    let few = Refusal::Votes {
        votes: 0,
        needed: 1,
    };
    assert_eq!(fabric.run_as(&node, wish), refused(few));
    let approve = || {
        Operation::Membership(MembershipOperation::Approve {
            node: public(&node),
        })
    };
    let operator = public(&fabric.operator);
    assert_eq!(
        fabric.run(approve()),
        refused(Refusal::NotAValidator(operator))
    );
    assert_eq!(fabric.run_as(&validator, approve()), APPLIED);
    let wish = join(&fabric);
    assert_eq!(fabric.run_as(&node, wish), APPLIED);
}

#[test]
fn certificates_are_logged_for_a_day_and_forgotten_later() {
    let mut fabric = Fabric::new();
    let node = fabric.member(60);
    let good = fabric.certificate("second");
    let long = CertificateFact {
        not_after_ms: good.not_after_ms + 1,
        ..good
    };
    assert!(matches!(
        fabric.issue(&node, long),
        TransactionOutcome::Refused(Refusal::CertificateLife { .. })
    ));
    let ahead = CertificateFact {
        not_before_ms: good.not_before_ms + HOUR_MS,
        not_after_ms: good.not_after_ms + HOUR_MS,
        ..good
    };
    let outcome = fabric.issue(&node, ahead);
    let TransactionOutcome::Refused(Refusal::Clock { skew_ms, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!((3_599_000..=3_600_000).contains(&skew_ms), "{skew_ms}");
    assert_eq!(fabric.issue(&node, good), APPLIED);
    assert_eq!(
        fabric.issue(&node, good),
        refused(Refusal::CertificateExists(good.fingerprint))
    );
    let member = |fabric: &Fabric| fabric.view().member(&public(&node)).unwrap().unwrap();
    for number in member(&fabric).certificates.len()..CERTIFICATES_PER_MEMBER_MAX {
        let next = fabric.certificate(&format!("number {number}"));
        assert_eq!(fabric.issue(&node, next), APPLIED);
    }
    let one_more = fabric.certificate("one more");
    assert_eq!(fabric.issue(&node, one_more), APPLIED);
    let first = Digest::of(b"first of 60");
    assert_eq!(
        fabric.view().certificate(&first),
        Ok(None),
        "the oldest goes"
    );
    assert_eq!(
        member(&fabric).certificates.len(),
        CERTIFICATES_PER_MEMBER_MAX
    );
    fabric.clock_ms += CERTIFICATE_LIFE_MS_MAX + CERTIFICATE_RECORD_GRACE_MS + HOUR_MS;
    let fresh = fabric.certificate("fresh");
    assert_eq!(fabric.issue(&node, fresh), APPLIED);
    assert_eq!(member(&fabric).certificates, [fresh.fingerprint]);
    assert_eq!(fabric.view().certificate(&good.fingerprint), Ok(None));
}

#[test]
fn a_certificate_is_revoked_by_its_owner_or_an_admin() {
    let mut fabric = Fabric::new();
    let (node, other) = (fabric.member(60), fabric.member(61));
    let revoke = |fingerprint| {
        Operation::Certificate(CertificateOperation::Revoke {
            fingerprint,
            reason: "stolen".to_owned(),
        })
    };
    let fingerprint = Digest::of(b"first of 60");
    assert!(matches!(
        fabric.run_as(&other, revoke(fingerprint)),
        TransactionOutcome::Refused(Refusal::Role {
            needed: Role::Admin,
            ..
        })
    ));
    assert_eq!(fabric.run_as(&node, revoke(fingerprint)), APPLIED);
    let record = fabric.view().certificate(&fingerprint).unwrap().unwrap();
    let revoked = record.revoked.unwrap();
    assert_eq!(
        (revoked.at, revoked.reason.as_str()),
        (fabric.height, "stolen")
    );
    assert_eq!(fabric.run(revoke(fingerprint)), APPLIED);
    let again = fabric.view().certificate(&fingerprint).unwrap().unwrap();
    assert_eq!(
        again.revoked.unwrap().at,
        revoked.at,
        "the first one counts"
    );
    let unknown = Digest::of(b"nobody's");
    assert_eq!(
        fabric.run(revoke(unknown)),
        refused(Refusal::UnknownCertificate(unknown))
    );
}

#[test]
fn who_left_may_return_and_who_was_evicted_may_not() {
    let mut fabric = Fabric::new();
    let node = fabric.member(60);
    let id = public(&node);
    let leave = Operation::Membership(MembershipOperation::Leave);
    assert_eq!(fabric.run_as(&node, leave), APPLIED);
    let first = fabric
        .view()
        .certificate(&Digest::of(b"first of 60"))
        .unwrap();
    assert!(
        first.unwrap().revoked.is_some(),
        "its certificates end with it"
    );
    let late = fabric.certificate("late");
    assert_eq!(fabric.issue(&node, late), refused(Refusal::NotAMember(id)));
    let ticket = secret(70);
    assert_eq!(fabric.invite(&ticket, HOUR_MS), APPLIED);
    assert_eq!(fabric.join(&node, &ticket, "again"), APPLIED);
    assert_eq!(fabric.evict(id), APPLIED);
    let evicted = || {
        refused(Refusal::Evicted {
            node: id,
            reason: "lost".to_owned(),
        })
    };
    assert_eq!(fabric.evict(id), evicted());
    let ticket = secret(71);
    assert_eq!(fabric.invite(&ticket, HOUR_MS), APPLIED);
    assert_eq!(fabric.join(&node, &ticket, "never"), evicted());
    let founder = PublicKey::from_bytes([1; 32]);
    assert_eq!(fabric.evict(founder), refused(Refusal::Founder(founder)));
}

/// The operations' bytes are signed and stored: a change here forks every fabric.
#[test]
fn operations_are_these_bytes() {
    let fabric = Fabric::new();
    let key = PublicKey::from_bytes([5; 32]);
    let certificate = CertificateFact {
        fingerprint: Digest::from_bytes([6; 32]),
        not_before_ms: 1,
        not_after_ms: 2,
    };
    let signature = Signature::from_bytes([7; 64]);
    let reason = "x".to_owned();
    let membership = [
        MembershipOperation::Invite {
            ticket: key,
            expires_at_ms: 3,
        },
        MembershipOperation::Withdraw { ticket: key },
        MembershipOperation::Approve { node: key },
        MembershipOperation::Join {
            admission: Admission::Ticket {
                ticket: key,
                signature,
            },
            certificate,
        },
        MembershipOperation::Join {
            admission: Admission::Vote,
            certificate,
        },
        MembershipOperation::Leave,
        MembershipOperation::Evict {
            node: key,
            reason: reason.clone(),
        },
    ];
    let fingerprint = certificate.fingerprint;
    let certificates = [
        CertificateOperation::Issue { certificate },
        CertificateOperation::Revoke {
            fingerprint,
            reason,
        },
    ];
    let principal = key;
    let roles = [
        Role::Admin,
        Role::Deployer,
        Role::Viewer,
        Role::Node,
        Role::Nothing,
    ]
    .map(|role| RoleOperation::Grant { principal, role });
    let revoke = RoleOperation::Revoke { principal };
    let all = membership
        .map(Operation::Membership)
        .into_iter()
        .chain(certificates.map(Operation::Certificate))
        .chain(roles.map(Operation::Role))
        .chain([Operation::Role(revoke)]);
    let bytes: Vec<u8> = all
        .flat_map(|operation| fabric.sign(&fabric.operator, 0, operation))
        .collect();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_OPERATIONS);
}

/// The records' bytes are under every state root.
#[test]
fn records_are_these_bytes() {
    let mut fabric = Fabric::new();
    let (stays, goes) = (fabric.member(60), fabric.member(61));
    assert_eq!(fabric.evict(public(&goes)), APPLIED);
    let next = fabric.certificate("next");
    assert_eq!(fabric.issue(&stays, next), APPLIED);
    assert_eq!(fabric.invite(&secret(50), HOUR_MS), APPLIED);
    let mut bytes = Vec::new();
    let anchor = |key: &StateKey| key.as_bytes().starts_with(b"anchor/");
    for (key, value) in fabric.state.iter().filter(|(key, _)| !anchor(key)) {
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(value);
    }
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_RECORDS);
}

const PINNED_RECORDS: &str =
    "blake3:66bacc350d37c744e775e72bb6c28266b6b6691e99411b5bbaed13cd8fca7fde";
const PINNED_OPERATIONS: &str =
    "blake3:2aab282b2c3aebfafcd0c093f4a83b3e89dd99af8fb3dfbb80a3e1428aef237c";
