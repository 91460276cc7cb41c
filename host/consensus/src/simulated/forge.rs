//! Votes that no honest validator casts, for Byzantine nodes in simulations. Never checks whether
//! anybody is deceived.

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Finalize, Notarize, Nullify, Proposal, Vote};
use ledger::Genesis;

use crate::ballots::of_epoch;
use crate::block::Digest;
use crate::config::SecretKey;
use crate::epochs::Epochs;

/// A validator that signs what it likes.
#[derive(Clone)]
pub struct Forger {
    epochs: Epochs,
}

impl Forger {
    /// The validator of `key` in the fabric of `genesis`; none if it has no vote there.
    #[must_use]
    pub fn new(genesis: &Genesis, key: &SecretKey) -> Option<Self> {
        let epochs = Epochs::of(genesis, Some(key.signer())).ok()?;
        epochs.committee(0).votes.then_some(Self { epochs })
    }

    /// A vote of the same round that contradicts the one in `bytes`: for another block, or where
    /// it gave the round up, none. `salt` chooses the other block.
    #[must_use]
    pub fn contradict(&self, bytes: &[u8], salt: u64) -> Option<Vec<u8>> {
        let (epoch, vote) = vote_in(bytes)?;
        let committee = self.epochs.committee(epoch);
        let scheme = committee.scheme.as_ref();
        let vote = match vote {
            Vote::Notarize(vote) => {
                Vote::Notarize(Notarize::sign(scheme, other(&vote.proposal, salt))?)
            }
            Vote::Finalize(vote) => {
                Vote::Finalize(Finalize::sign(scheme, other(&vote.proposal, salt))?)
            }
            Vote::Nullify(_) => return None,
        };
        Some(of_epoch(epoch, &vote.encode()).to_vec())
    }

    /// A vote to give up the round that the vote in `bytes` is about.
    #[must_use]
    pub fn give_up(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (epoch, vote) = vote_in(bytes)?;
        let committee = self.epochs.committee(epoch);
        let scheme = committee.scheme.as_ref();
        let round = match &vote {
            Vote::Notarize(vote) => vote.proposal.round,
            Vote::Finalize(vote) => vote.proposal.round,
            Vote::Nullify(vote) => vote.round,
        };
        let vote: Vote<Scheme, Digest> = Vote::Nullify(Nullify::sign::<Digest>(scheme, round)?);
        Some(of_epoch(epoch, &vote.encode()).to_vec())
    }
}

/// The vote in a message, and the epoch in front of it.
fn vote_in(bytes: &[u8]) -> Option<(u64, Vote<Scheme, Digest>)> {
    let (epoch, vote) = bytes.split_first_chunk()?;
    let vote = Vote::decode(Copying(vote)).ok()?;
    Some((u64::from_be_bytes(*epoch), vote))
}

/// The same round and parent, another block.
fn other(proposal: &Proposal<Digest>, salt: u64) -> Proposal<Digest> {
    let mut other = proposal.clone();
    let digest = types::Digest::of(&[proposal.payload.0.as_slice(), &salt.to_be_bytes()].concat());
    other.payload = commonware_cryptography::blake3::Digest(*digest.as_bytes());
    other
}
