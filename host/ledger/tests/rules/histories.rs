//! Membership over random histories: who is in was let in, and nobody evicted comes back.

use std::collections::BTreeMap;

use hypermesh_ledger::{Membership, MembershipOperation, Operation};
use proptest::prelude::*;
use types::NodeId;

use crate::membership::{APPLIED, HOUR_MS, secret};
use crate::{Fabric, public};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever nodes try: who is in was let in, tickets work once, nobody evicted comes back.
    #[test]
    fn any_history_keeps_membership_true(
        steps in prop::collection::vec((0..6_u8, 0..4_u8, 0..4_u8, 0..40_u64), 1..60),
    ) {
        let mut fabric = Fabric::new();
        let mut model: BTreeMap<NodeId, &str> = BTreeMap::new();
        let mut open: Vec<u8> = Vec::new();
        for (number, (kind, who, which, hours)) in steps.into_iter().enumerate() {
            fabric.clock_ms += hours * HOUR_MS / 20;
            let (node, ticket) = (secret(60 + who), secret(160 + which));
            let id = public(&node);
            let label = format!("certificate {number}");
            match kind {
                0 => {
                    if fabric.invite(&ticket, 30 * 24 * HOUR_MS - 10) == APPLIED {
                        open.push(which);
                    }
                }
                1 | 2 => {
                    let let_in = fabric.join(&node, &ticket, &label) == APPLIED;
                    let may = open.contains(&which) && !matches!(model.get(&id), Some(&"in" | &"out"));
                    prop_assert_eq!(let_in, may);
                    if let_in {
                        open.retain(|open| *open != which);
                        model.insert(id, "in");
                    }
                }
                3 => {
                    let certificate = fabric.certificate(&label);
                    let logged = fabric.issue(&node, certificate) == APPLIED;
                    prop_assert!(!logged || model.get(&id) == Some(&"in"));
                }
                4 => {
                    let leave = Operation::Membership(MembershipOperation::Leave);
                    let left = fabric.run_as(&node, leave) == APPLIED;
                    prop_assert_eq!(left, model.get(&id) == Some(&"in"));
                    if left {
                        model.insert(id, "left");
                    }
                }
                _ => {
                    let evicted = fabric.evict(id) == APPLIED;
                    prop_assert_eq!(evicted, model.get(&id) == Some(&"in"));
                    if evicted {
                        model.insert(id, "out");
                    }
                }
            }
            let members = fabric.view().members().unwrap();
            for (id, state) in &model {
                let is_member = members[id].membership == Membership::Member;
                prop_assert_eq!(is_member, *state == "in");
                for fingerprint in &members[id].certificates {
                    let record = fabric.view().certificate(fingerprint).unwrap().unwrap();
                    prop_assert_eq!(record.node, *id);
                    prop_assert!(is_member || record.revoked.is_some());
                }
            }
        }
    }
}
