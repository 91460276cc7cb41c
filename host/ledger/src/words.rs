//! Operations in words, for people who read blocks.

use std::fmt;

use crate::asset::{AssetOperation, LeaseOperation};
use crate::evidence::Evidence;
use crate::fault::FaultOperation;
use crate::guest::{RecordChange, RecordOperation};
use crate::liveness::LivenessOperation;
use crate::member::{Admission, CertificateOperation, MembershipOperation, RoleOperation};
use crate::node::{NodeOperation, NodeState};
use crate::space::SpaceOperation;
use crate::transaction::Operation;
use crate::upgrade::{RulesChange, RulesOperation};
use crate::validator::{ValidatorChange, ValidatorOperation};

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy { spec, replaces } => {
                let verb = if replaces.is_some() {
                    "replace"
                } else {
                    "deploy"
                };
                let names = spec.components.iter().map(|each| each.name.as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                write!(f, "{verb} {} ({names})", spec.name)
            }
            Self::Scale {
                workload,
                component,
                replicas,
            } => write!(f, "scale {workload}/{component} to {replicas}"),
            Self::Stop { workload } => write!(f, "stop {workload}"),
            Self::Start { workload } => write!(f, "start {workload}"),
            Self::Remove { workload } => write!(f, "remove {workload}"),
            Self::Pause { workload } => write!(f, "pause {workload}"),
            Self::Resume { workload } => write!(f, "resume {workload}"),
            Self::Restart { workload } => write!(f, "restart {workload}"),
            Self::Membership(operation) => operation.fmt(f),
            Self::Certificate(operation) => operation.fmt(f),
            Self::Role(operation) => operation.fmt(f),
            Self::Validator(operation) => operation.fmt(f),
            Self::Evidence(evidence) => evidence.fmt(f),
            Self::Record(operation) => operation.fmt(f),
            Self::Rules(operation) => operation.fmt(f),
            Self::Liveness(operation) => operation.fmt(f),
            Self::Asset(proven) => proven.operation.fmt(f),
            Self::Lease(proven) => proven.operation.fmt(f),
            Self::Space(operation) => operation.fmt(f),
            Self::Fault(operation) => operation.fmt(f),
            Self::Node(operation) => operation.fmt(f),
        }
    }
}

impl fmt::Display for MembershipOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invite { ticket, .. } => write!(f, "open ticket {}", ticket.short()),
            Self::Withdraw { ticket } => write!(f, "close ticket {}", ticket.short()),
            Self::Approve { node } => write!(f, "approve node {}", node.short()),
            Self::Join { admission, .. } => match admission {
                Admission::Ticket { ticket, .. } => {
                    write!(f, "join with ticket {}", ticket.short())
                }
                Admission::Vote => f.write_str("join by vote"),
            },
            Self::Leave => f.write_str("leave"),
            Self::Evict { node, reason } => {
                write!(f, "evict node {}", node.short())?;
                because(f, reason)
            }
        }
    }
}

impl fmt::Display for CertificateOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { certificate } => {
                write!(f, "log certificate {}", certificate.fingerprint.short())
            }
            Self::Revoke {
                fingerprint,
                reason,
            } => {
                write!(f, "revoke certificate {}", fingerprint.short())?;
                because(f, reason)
            }
        }
    }
}

impl fmt::Display for RoleOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant { principal, role } => {
                write!(f, "grant role {role} to {}", principal.short())
            }
            Self::Revoke { principal } => write!(f, "revoke the role of {}", principal.short()),
            Self::Allow { principal, .. } => {
                write!(f, "say what {} may hold", principal.short())
            }
        }
    }
}

impl fmt::Display for ValidatorOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vote(ValidatorChange::Add { node }) => {
                write!(f, "vote to make {} a validator", node.short())
            }
            Self::Vote(ValidatorChange::Remove { node }) => {
                write!(f, "vote to take the vote of {}", node.short())
            }
            Self::Resign => f.write_str("give the own vote back"),
        }
    }
}

impl fmt::Display for RecordOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match &self.change {
            RecordChange::Put { .. } => "write",
            RecordChange::Delete { .. } => "free",
        };
        let (workload, component) = (&self.workload, &self.component);
        let key = self.change.key();
        write!(f, "{verb} record {key} for {workload}/{component}")
    }
}

impl fmt::Display for RulesOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vote(RulesChange { version, height }) => {
                write!(f, "vote for rules {version} from height {height} on")
            }
            Self::Cancel => f.write_str("vote against a change of the rules"),
        }
    }
}

impl fmt::Display for LivenessOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { node } => write!(f, "report that node {} is gone", node.short()),
            Self::Present { node } => write!(f, "say that node {} is there", node.short()),
        }
    }
}

impl fmt::Display for AssetOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { facts, owner, .. } => {
                let amount = facts.capacity().of(facts.asset_type());
                write!(
                    f,
                    "register {amount} ({}) of {}",
                    facts.asset_type(),
                    owner.short()
                )
            }
            Self::Remeasure { asset, facts } => {
                let amount = facts.capacity().of(facts.asset_type());
                write!(f, "measure asset {}: {amount}", asset.short())
            }
            Self::Update { asset, policy } => {
                write!(f, "share asset {} as {}", asset.short(), policy.privacy)
            }
            Self::Transfer { asset, owner } => {
                write!(f, "transfer asset {} to {}", asset.short(), owner.short())
            }
            Self::Drain { asset } => write!(f, "drain asset {}", asset.short()),
            Self::Resume { asset } => write!(f, "resume asset {}", asset.short()),
            Self::Retire { asset } => write!(f, "retire asset {}", asset.short()),
            Self::Keep { asset, content } => {
                write!(f, "keep {} in asset {}", content.root, asset.short())
            }
            Self::Forget { asset, root } => {
                write!(f, "keep {root} no more in asset {}", asset.short())
            }
        }
    }
}

impl fmt::Display for SpaceOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge { asset } => write!(f, "challenge asset {}", asset.short()),
            Self::Answer { asset, .. } => {
                write!(f, "answer the challenge of asset {}", asset.short())
            }
            Self::Settle { asset } => write!(f, "settle the challenge of asset {}", asset.short()),
        }
    }
}

impl fmt::Display for FaultOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Outvoted { order, .. } = self;
        let order = order.digest();
        write!(f, "show who is outvoted in execution {}", order.short())
    }
}

impl fmt::Display for NodeOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turn { node, state } => {
                let verb = match state {
                    NodeState::Open => "open",
                    NodeState::Cordoned => "cordon",
                    NodeState::Draining => "drain",
                };
                write!(f, "{verb} node {}", node.short())
            }
            Self::Label { node, labels } => {
                write!(f, "label node {}", node.short())?;
                let mut labels = labels.iter();
                labels.try_for_each(|(label, value)| write!(f, " {label}={value}"))
            }
            Self::Settle => f.write_str("look again for places"),
        }
    }
}

impl fmt::Display for LeaseOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant {
                asset,
                holder,
                amount,
                ..
            } => {
                let amount = amount.of(asset.asset_type());
                let (asset, holder) = (asset.short(), holder.short());
                write!(f, "lease {amount} of asset {asset} to {holder}")
            }
            Self::Renew { lease, .. } => write!(f, "renew {}", lease.short()),
            Self::Release { lease } => write!(f, "release {}", lease.short()),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Contradiction(contradiction) = self;
        let validator = contradiction.validator.short();
        write!(f, "show two votes of {validator} that exclude each other")
    }
}

fn because(f: &mut fmt::Formatter<'_>, reason: &str) -> fmt::Result {
    if reason.is_empty() {
        Ok(())
    } else {
        write!(f, ": {reason}")
    }
}
