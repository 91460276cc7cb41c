//! Contradictory votes, wherever they show: every vote that comes in and every signature of a
//! certificate is remembered for some rounds, so that a validator that tells different things to
//! different nodes is found out as soon as one side's certificate reaches the other. Two that
//! exclude each other, with good signatures, are evidence for the ledger. Never decides what
//! follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use commonware_codec::{Encode as _, ReadExt as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Proposal, Vote as EngineVote};
use commonware_consensus::types::Round;
use commonware_cryptography::certificate::{Scheme as _, Verifier};
use ledger::{Contradiction, Evidence, SignedVote, Vote};
use tokio::sync::Notify;
use types::{Digest, FabricId, NodeId, Signature};

use crate::block;
use crate::config::public_key_bytes;
use crate::epochs::Epochs;

/// Rounds whose votes are remembered: what is told differently comes together within a few.
const ROUNDS_MAX: usize = 64;

type Certificate = <Scheme as Verifier>::Certificate;
/// Who signed which kind of vote.
type Votes = BTreeMap<(NodeId, Kind), SignedVote>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Notarize,
    Nullify,
    Finalize,
}

const fn kind(vote: &Vote) -> Kind {
    match vote {
        Vote::Notarize { .. } => Kind::Notarize,
        Vote::Nullify => Kind::Nullify,
        Vote::Finalize { .. } => Kind::Finalize,
    }
}

/// What was seen, and what it proves.
#[derive(Debug)]
pub(crate) struct Vigilance {
    fabric: FabricId,
    seen: Mutex<Seen>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// By epoch and view.
    rounds: BTreeMap<(u64, u64), Votes>,
    /// Proven, and not handed in yet: one piece per validator is enough.
    proven: BTreeMap<NodeId, Evidence>,
    /// Whose contradictions were told of already: validators that signed two votes.
    told: BTreeSet<NodeId>,
}

impl Vigilance {
    pub(crate) fn new(fabric: FabricId) -> Self {
        Self {
            fabric,
            seen: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Waits for evidence and takes it.
    pub(crate) async fn next(&self) -> Evidence {
        loop {
            let arrived = self.arrived.notified();
            if let Some((_, evidence)) = self.lock().proven.pop_first() {
                return evidence;
            }
            arrived.await;
        }
    }

    /// Takes a vote as it came in from `peer`; nobody votes for another.
    pub(crate) fn take_vote(&self, epochs: &Epochs, peer: &NodeId, mut message: Bytes) {
        let Ok(vote) = EngineVote::<Scheme, block::Digest>::read(&mut message) else {
            return;
        };
        let (round, signature, vote) = match &vote {
            EngineVote::Notarize(vote) => (
                vote.round(),
                vote.attestation.signature.get(),
                notarize(&vote.proposal),
            ),
            EngineVote::Nullify(vote) => {
                (vote.round, vote.attestation.signature.get(), Vote::Nullify)
            }
            EngineVote::Finalize(vote) => (
                vote.round(),
                vote.attestation.signature.get(),
                finalize(&vote.proposal),
            ),
        };
        let epoch = round.epoch().get();
        if epoch > epochs.latest() || !epochs.committee(epoch).validators.contains(peer) {
            return;
        }
        if let Some(signature) = signature.and_then(|signature| sealed(&signature.encode())) {
            self.see(round, *peer, SignedVote { vote, signature });
        }
    }

    /// Takes what the engine reports: certificates are made of votes.
    pub(crate) fn take_report(&self, epochs: &Epochs, report: &Activity<Scheme, block::Digest>) {
        match report {
            Activity::Notarization(it) => {
                let vote = notarize(&it.proposal);
                self.see_all(epochs, it.proposal.round, vote, &it.certificate);
            }
            Activity::Nullification(it) => {
                self.see_all(epochs, it.round, Vote::Nullify, &it.certificate);
            }
            Activity::Finalization(it) => {
                let vote = finalize(&it.proposal);
                self.see_all(epochs, it.proposal.round, vote, &it.certificate);
            }
            _ => {}
        }
    }

    fn see_all(&self, epochs: &Epochs, round: Round, vote: Vote, certificate: &Certificate) {
        let committee = epochs.committee(round.epoch().get());
        let participants = committee.scheme.participants();
        let signatures = certificate.signatures.iter();
        for (signer, signature) in certificate.signers.iter().zip(signatures) {
            let signer = participants.get(usize::from(signer)).map(public_key_bytes);
            let signature = signature.get().and_then(|bytes| sealed(&bytes.encode()));
            if let (Some(signer), Some(signature)) = (signer, signature) {
                self.see(round, signer, SignedVote { vote, signature });
            }
        }
    }

    /// Remembers a vote and compares it with what its signer signed before in this round.
    fn see(&self, round: Round, validator: NodeId, vote: SignedVote) {
        let (epoch, view) = (round.epoch().get(), round.view().get());
        let mut seen = self.lock();
        let votes = seen.rounds.entry((epoch, view)).or_default();
        let before = [Kind::Notarize, Kind::Nullify, Kind::Finalize]
            .into_iter()
            .filter_map(|kind| votes.get(&(validator, kind)))
            .find(|before| before.vote.contradicts(&vote.vote))
            .copied();
        votes.entry((validator, kind(&vote.vote))).or_insert(vote);
        if seen.rounds.len() > ROUNDS_MAX {
            seen.rounds.pop_first();
        }
        let Some(first) = before else { return };
        let contradiction = Contradiction {
            validator,
            epoch,
            view,
            first,
            second: vote,
        };
        // Votes are remembered before anybody checked them.
        let holds = || contradiction.verify_signatures(&self.fabric).is_ok();
        if !seen.proven.contains_key(&validator) && holds() {
            if seen.told.insert(validator) {
                tracing::error!(%validator, epoch, view, "a validator contradicted itself");
            } else {
                tracing::debug!(%validator, epoch, view, "a validator contradicted itself again");
            }
            let evidence = Evidence::Contradiction(contradiction);
            seen.proven.insert(validator, evidence);
            self.arrived.notify_one();
        }
    }

    /// The tables are whole between any two statements, so a panic elsewhere leaves them sound.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notarize(proposal: &Proposal<block::Digest>) -> Vote {
    let (parent, block) = about(proposal);
    Vote::Notarize { parent, block }
}

fn finalize(proposal: &Proposal<block::Digest>) -> Vote {
    let (parent, block) = about(proposal);
    Vote::Finalize { parent, block }
}

fn about(proposal: &Proposal<block::Digest>) -> (u64, Digest) {
    let block = Digest::from_bytes(proposal.payload.0);
    (proposal.parent.get(), block)
}

fn sealed(signature: &[u8]) -> Option<Signature> {
    Some(Signature::from_bytes(signature.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use commonware_consensus::simplex::types::{
        Finalize, Notarization, Notarize, Nullification, Nullify,
    };
    use commonware_consensus::types::{Epoch, View};
    use commonware_parallel::Sequential;
    use commonware_utils::non_empty;
    use ledger::Genesis;

    use super::*;
    use crate::SecretKey;

    struct Committee {
        genesis: Genesis,
        schemes: Vec<Scheme>,
        epochs: Epochs,
    }

    fn committee() -> Committee {
        let secret = |seed| SecretKey::from([seed; 32]);
        let keys: Vec<_> = (1..=4).map(|seed| secret(seed).public_key()).collect();
        let genesis = Genesis::new(0, [0; 16], keys.clone(), keys.clone(), keys).unwrap();
        let of = |seed| Epochs::of(&genesis, Some(secret(seed).signer())).unwrap();
        let schemes = (1..=4)
            .map(|seed| of(seed).committee(0).scheme.as_ref().clone())
            .collect();
        let epochs = of(1);
        Committee {
            genesis,
            schemes,
            epochs,
        }
    }

    fn round(view: u64) -> Round {
        Round::new(Epoch::zero(), View::new(view))
    }

    fn proposal(view: u64, byte: u8) -> Proposal<block::Digest> {
        let payload = commonware_cryptography::blake3::Digest([byte; 32]);
        Proposal::new(round(view), View::new(view - 1), payload)
    }

    fn key(seed: u8) -> NodeId {
        SecretKey::from([seed; 32]).public_key()
    }

    fn bytes(vote: EngineVote<Scheme, block::Digest>) -> Bytes {
        vote.encode()
    }

    fn taken(vigilance: &Vigilance) -> Option<NodeId> {
        let (_, Evidence::Contradiction(it)) = vigilance.lock().proven.pop_first()?;
        Some(it.validator)
    }

    /// The ledger's idea of what validators sign is the engine's: one differing byte and no
    /// evidence would hold.
    #[test]
    fn contradictory_votes_that_come_in_are_evidence() {
        let Committee {
            genesis,
            schemes,
            epochs,
        } = committee();
        let vigilance = Vigilance::new(genesis.fabric_id());
        let liar = &schemes[1];
        let notarize = |byte| Notarize::sign(liar, proposal(300, byte)).unwrap();
        let take = |vote| vigilance.take_vote(&epochs, &key(2), bytes(vote));
        take(EngineVote::Notarize(notarize(1)));
        take(EngineVote::Notarize(notarize(1)));
        take(EngineVote::Nullify(
            Nullify::sign::<block::Digest>(liar, round(300)).unwrap(),
        ));
        assert_eq!(taken(&vigilance), None, "an honest validator may cast both");
        take(EngineVote::Notarize(notarize(2)));
        assert_eq!(taken(&vigilance), Some(key(2)));
        let last = Finalize::sign(liar, proposal(300, 1)).unwrap();
        take(EngineVote::Finalize(last));
        assert_eq!(taken(&vigilance), Some(key(2)), "it had given the round up");
    }

    #[test]
    fn a_certificate_convicts_who_told_this_node_something_else() {
        let Committee {
            genesis,
            schemes,
            epochs,
        } = committee();
        let vigilance = Vigilance::new(genesis.fabric_id());
        let other = Notarize::sign(&schemes[3], proposal(7, 2)).unwrap();
        vigilance.take_vote(&epochs, &key(4), bytes(EngineVote::Notarize(other)));
        let votes = schemes[1..]
            .iter()
            .map(|scheme| Notarize::sign(scheme, proposal(7, 1)).unwrap());
        let votes: Vec<_> = votes.collect();
        let certificate =
            Notarization::from_notarizes(&schemes[0], non_empty![@&votes], &Sequential);
        vigilance.take_report(&epochs, &Activity::Notarization(certificate.unwrap()));
        assert_eq!(taken(&vigilance), Some(key(4)));
        assert_eq!(taken(&vigilance), None);
        let given_up: Vec<_> = schemes[..3]
            .iter()
            .map(|scheme| Nullify::sign::<block::Digest>(scheme, round(8)).unwrap())
            .collect();
        let certificate =
            Nullification::from_nullifies(&schemes[0], non_empty![@&given_up], &Sequential);
        vigilance.take_report(&epochs, &Activity::Nullification(certificate.unwrap()));
        let last = Finalize::sign(&schemes[0], proposal(8, 1)).unwrap();
        vigilance.take_vote(&epochs, &key(1), bytes(EngineVote::Finalize(last)));
        assert_eq!(taken(&vigilance), Some(key(1)));
    }

    #[test]
    fn nobody_is_accused_by_what_others_made_up() {
        let Committee {
            genesis,
            schemes,
            epochs,
        } = committee();
        let vigilance = Vigilance::new(genesis.fabric_id());
        for byte in [1, 2] {
            // Signed by 2, and handed in as if by 3.
            let vote = Notarize::sign(&schemes[1], proposal(5, byte)).unwrap();
            vigilance.take_vote(&epochs, &key(3), bytes(EngineVote::Notarize(vote)));
            let vote = Notarize::sign(&schemes[1], proposal(5, byte)).unwrap();
            vigilance.take_vote(&epochs, &key(9), bytes(EngineVote::Notarize(vote)));
        }
        assert_eq!(taken(&vigilance), None);
        vigilance.take_vote(&epochs, &key(2), Bytes::from_static(b"no vote"));
        for view in 1..200 {
            let vote = Notarize::sign(&schemes[1], proposal(view, 1)).unwrap();
            vigilance.take_vote(&epochs, &key(2), bytes(EngineVote::Notarize(vote)));
        }
        assert_eq!(vigilance.lock().rounds.len(), ROUNDS_MAX);
    }
}
