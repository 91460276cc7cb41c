//! Roles: what each covers, and that an admin is always left.

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    MembershipOperation, Operation, Refusal, Role, RoleOperation, TransactionOutcome,
};

use crate::membership::{APPLIED, HOUR_MS, refused, secret};
use crate::{Fabric, name, public};

/// Every role against one operation of every family.
#[test]
fn roles_cover_what_they_say() {
    let mut fabric = Fabric::new();
    let (deployer, viewer, admin) = (secret(80), secret(81), secret(82));
    for (key, role) in [
        (&deployer, Role::Deployer),
        (&viewer, Role::Viewer),
        (&admin, Role::Admin),
    ] {
        let principal = public(key);
        let grant = RoleOperation::Grant { principal, role };
        assert_eq!(fabric.run(Operation::Role(grant)), APPLIED);
    }
    let node = fabric.member(60);
    let attempts: [(fn() -> Operation, Role); 3] = [
        (
            || Operation::Stop {
                workload: name("none"),
            },
            Role::Deployer,
        ),
        (
            || {
                Operation::Role(RoleOperation::Revoke {
                    principal: public(&secret(99)),
                })
            },
            Role::Admin,
        ),
        (
            || {
                Operation::Membership(MembershipOperation::Withdraw {
                    ticket: public(&secret(99)),
                })
            },
            Role::Admin,
        ),
    ];
    for (operation, needed) in attempts {
        for (key, role) in [
            (&deployer, Role::Deployer),
            (&viewer, Role::Viewer),
            (&admin, Role::Admin),
            (&node, Role::Node),
        ] {
            let outcome = fabric.run_as(key, operation());
            let forbidden = matches!(outcome, TransactionOutcome::Refused(Refusal::Role { .. }));
            assert_eq!(forbidden, !role.covers(needed), "{role} {:?}", operation());
        }
    }
}

#[test]
fn an_admin_is_always_left() {
    let mut fabric = Fabric::new();
    let own = public(&fabric.operator);
    let revoke = |principal| Operation::Role(RoleOperation::Revoke { principal });
    assert_eq!(fabric.run(revoke(own)), refused(Refusal::OwnRole));
    let other = secret(80);
    let principal = public(&other);
    let role = Role::Admin;
    let grant = Operation::Role(RoleOperation::Grant { principal, role });
    assert_eq!(fabric.run(grant), APPLIED);
    assert_eq!(fabric.run_as(&other, revoke(own)), APPLIED);
    assert!(matches!(
        fabric.run(revoke(principal)),
        TransactionOutcome::Refused(Refusal::Role {
            role: Role::Nothing,
            ..
        })
    ));
    let node = public(&fabric_member(&mut fabric, &other));
    for role in [Role::Node, Role::Nothing] {
        let grant = Operation::Role(RoleOperation::Grant {
            principal: own,
            role,
        });
        assert_eq!(
            fabric.run_as(&other, grant),
            refused(Refusal::NotGrantable(role))
        );
    }
    assert_eq!(
        fabric.run_as(&other, revoke(node)),
        refused(Refusal::IsNode(node))
    );
}

/// A member that `admin` invited.
fn fabric_member(fabric: &mut Fabric, admin: &SigningKey) -> SigningKey {
    let (node, ticket) = (secret(60), secret(160));
    let invite = MembershipOperation::Invite {
        ticket: public(&ticket),
        expires_at_ms: fabric.now_ms() + HOUR_MS,
    };
    assert_eq!(fabric.run_as(admin, Operation::Membership(invite)), APPLIED);
    assert_eq!(fabric.join(&node, &ticket, "member"), APPLIED);
    node
}
