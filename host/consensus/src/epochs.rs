//! Who votes in which epoch, as far as it is known: the validators of the genesis, then whoever the
//! last block of an epoch names. Answers the engine's question whose signatures a certificate
//! needs. Never decides who is to vote, and never reads the state.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError, RwLock};

use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::{Epoch, FixedEpocher};
use commonware_cryptography::certificate::{Provider, Scoped};
use commonware_cryptography::ed25519;
use commonware_utils::ordered::Set;
use ledger::{Genesis, VOTE_DOMAIN};
use types::{FabricId, NodeId, PublicKey};

use crate::config::{engine_key, public_key_bytes};

/// What every vote in this fabric is bound to.
fn vote_namespace(fabric: &FabricId) -> Vec<u8> {
    [VOTE_DOMAIN, fabric.as_bytes().as_slice()].concat()
}

/// The validators of some epochs in a row.
#[derive(Debug)]
pub(crate) struct Committee {
    pub(crate) validators: BTreeSet<NodeId>,
    pub(crate) scheme: Arc<Scheme>,
    /// Whether this node is one of them and votes.
    pub(crate) votes: bool,
}

impl Committee {
    /// Whether this node is the only one that votes.
    pub(crate) fn is_alone(&self) -> bool {
        self.votes && self.validators.len() == 1
    }
}

/// The epochs of one fabric, as one node knows them. Clones share what is known.
#[derive(Clone, Debug)]
pub(crate) struct Epochs {
    namespace: Arc<[u8]>,
    blocks: u64,
    /// With which key this node votes; none if it only checks.
    signer: Option<ed25519::PrivateKey>,
    known: Arc<RwLock<Known>>,
}

#[derive(Debug)]
struct Known {
    /// By their first epoch. They grow with changes of validators, not with epochs: whoever
    /// proves something to a newcomer needs all of them.
    committees: BTreeMap<u64, Arc<Committee>>,
    /// The last epoch whose validators are certain.
    latest: u64,
}

impl Epochs {
    /// The first epoch of a fabric.
    ///
    /// # Errors
    /// A key of the genesis that is no key.
    pub(crate) fn of(
        genesis: &Genesis,
        signer: Option<ed25519::PrivateKey>,
    ) -> Result<Self, PublicKey> {
        let keys = genesis.validators().iter();
        let keys = keys.map(|key| engine_key(key).ok_or(*key));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let epochs = Self {
            namespace: vote_namespace(&genesis.fabric_id()).into(),
            blocks: u64::from(genesis.epoch_blocks()),
            signer,
            known: Arc::new(RwLock::new(Known {
                committees: BTreeMap::new(),
                latest: 0,
            })),
        };
        let first = Arc::new(epochs.assemble(keys));
        epochs.write(|known| known.committees.insert(0, first));
        Ok(epochs)
    }

    fn assemble(&self, keys: Vec<ed25519::PublicKey>) -> Committee {
        let validators = keys.iter().map(public_key_bytes).collect();
        let keys = Set::from_iter_dedup(keys);
        let signer = self.signer.clone();
        let signing =
            signer.and_then(|signer| Scheme::signer(&self.namespace, keys.clone(), signer));
        Committee {
            validators,
            votes: signing.is_some(),
            scheme: Arc::new(signing.unwrap_or_else(|| Scheme::verifier(&self.namespace, keys))),
        }
    }

    /// Takes the end of `epoch`: the validators that its last block names vote from the next one
    /// on; if it names none, nothing changes.
    pub(crate) fn hand_over(&self, epoch: u64, next: &[ed25519::PublicKey]) {
        let committee = (!next.is_empty()).then(|| Arc::new(self.assemble(next.to_vec())));
        self.write(|known| {
            let first = epoch.saturating_add(1);
            if let Some(committee) = committee {
                known.committees.insert(first, committee);
            }
            known.latest = known.latest.max(first);
        });
    }

    /// The last epoch whose validators are certain: the one that is under way here.
    pub(crate) fn latest(&self) -> u64 {
        self.read(|known| known.latest)
    }

    /// Who votes in `epoch`: those who took over last, as far as this node knows.
    pub(crate) fn committee(&self, epoch: u64) -> Arc<Committee> {
        self.read(|known| {
            let last = known.committees.range(..=epoch).next_back();
            match last {
                Some((_, committee)) => committee.clone(),
                // The genesis named the first one.
                None => unreachable!("a fabric begins with validators"),
            }
        })
    }

    /// Whether others vote in `epoch` than in the one before.
    pub(crate) fn begins_with_change(&self, epoch: u64) -> bool {
        epoch > 0 && self.read(|known| known.committees.contains_key(&epoch))
    }

    /// Height of the last block of `epoch`.
    pub(crate) const fn last(&self, epoch: u64) -> u64 {
        epoch
            .saturating_add(1)
            .saturating_mul(self.blocks)
            .saturating_sub(1)
    }

    /// Height of the block that `epoch` builds on.
    pub(crate) const fn base(&self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.blocks).saturating_sub(1)
    }

    /// The end of the epoch before the one of `height`: what a peer there can prove a state from.
    pub(crate) const fn end_before(&self, height: u64) -> u64 {
        self.base(self.containing(height))
    }

    /// The epoch that the block at `height` belongs to.
    pub(crate) const fn containing(&self, height: u64) -> u64 {
        height / self.blocks
    }

    /// Which heights are of which epoch, for the engine.
    pub(crate) fn epocher(&self) -> FixedEpocher {
        FixedEpocher::new(NonZeroU64::new(self.blocks).unwrap_or(NonZeroU64::MAX))
    }

    /// Each step leaves the table whole, so a panic elsewhere leaves it sound.
    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Provider for Epochs {
    type Scope = Epoch;
    type Scheme = Scheme;

    /// None for an epoch that has not begun as far as this node knows: a certificate of it can be
    /// neither right nor wrong yet.
    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        (epoch.get() <= self.latest()).then(|| {
            let committee = self.committee(epoch.get());
            let scheme = committee.scheme.clone();
            if committee.votes {
                Scoped::scheme(scheme)
            } else {
                Scoped::verifier(scheme)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use commonware_cryptography::Signer as _;

    use super::*;
    use crate::SecretKey;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from([seed; 32])
    }

    fn epochs(me: u8) -> Epochs {
        let keys = vec![key(1).public_key(), key(2).public_key()];
        let genesis = Genesis::new(0, [0; 16], keys.clone(), keys.clone(), keys).unwrap();
        let genesis = genesis.with_epoch_blocks(8).unwrap();
        Epochs::of(&genesis, Some(key(me).signer())).unwrap()
    }

    #[test]
    fn a_committee_votes_until_another_takes_over() {
        let epochs = epochs(3);
        assert!(epochs.scoped(Epoch::new(1)).is_none());
        assert!(!epochs.committee(0).votes);
        epochs.hand_over(0, &[]);
        assert_eq!(
            epochs.committee(1).validators,
            epochs.committee(0).validators
        );
        epochs.hand_over(1, &[key(3).signer().public_key()]);
        assert_eq!(epochs.latest(), 2);
        let scheme = |epoch| epochs.scoped(Epoch::new(epoch)).unwrap().into_scheme();
        assert!(scheme(0).is_none() && scheme(1).is_none() && scheme(2).is_some());
        assert!(epochs.committee(2).is_alone());
        assert!(epochs.scoped(Epoch::new(3)).is_none());
        // What was told twice, after a restart, changes nothing.
        epochs.hand_over(0, &[]);
        assert_eq!((epochs.latest(), epochs.committee(1).votes), (2, false));
    }

    #[test]
    fn heights_are_those_of_the_engine() {
        use commonware_consensus::types::{Epocher as _, Height};
        let epochs = epochs(1);
        let epocher = epochs.epocher();
        for epoch in 0..4 {
            let last = epocher.last(Epoch::new(epoch)).unwrap();
            assert_eq!(epochs.last(epoch), last.get());
            assert_eq!(epochs.base(epoch + 1), last.get());
            let containing = epocher.containing(last).unwrap();
            assert_eq!(epochs.containing(last.get()), containing.epoch().get());
        }
        assert_eq!(epochs.base(0), 0);
        assert_eq!(epocher.first(Epoch::new(1)), Some(Height::new(8)));
    }
}
