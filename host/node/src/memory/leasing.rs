//! Leases that this node holds for its guests: asked for, given back, and found again after a crash.
//! Never knows what is kept in what was leased.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consensus::SubmitError;
use ledger::{
    AssetRecord, AssetRefusal, DecodeRecordError, LeaseOperation, LeaseRecord, Refusal, View,
};
use runtime::AssetError;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use trust::{CapabilitySubject, LeaseCapability};
use types::{
    Amount, AssetId, AssetType, Audience, LeaseId, NodeId, Privacy, RegionRights, RegionScope,
};

use crate::proving::{self, ProveError, Subject};
use crate::shared::Shared;
use crate::signer::SignError;

/// Assets that are asked, one after the other, before a guest is told that there is no room: each may
/// cost a block.
const ASSETS_ASKED_MAX: usize = 4;
/// Times that a lease is tried to be given back; after that the sweep does it.
const RELEASES_MAX: usize = 3;
/// Pause between looks for leases that no guest has any more.
const SWEEP_PAUSE: Duration = Duration::from_secs(15);
/// Transactions of this node that are looked through for the one that asked for a lease. Older ones
/// asked for leases that are over.
const NONCES_SEARCHED_MAX: u64 = 1 << 16;
/// Leases that one look asks about, some 50 ms each where this node did not ask for it: meanwhile no
/// guest gets one.
const LEASES_LOOKED_AT_MAX: usize = 64;

/// The leases that guests of this node have now.
#[derive(Debug, Default)]
pub(crate) struct Holdings(Mutex<BTreeSet<LeaseId>>);

impl Holdings {
    fn held(&self) -> MutexGuard<'_, BTreeSet<LeaseId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a guest wants to lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Of what.
    pub(crate) asset_type: AssetType,
    /// How much, in the unit of the type.
    pub(crate) amount: Amount,
    /// For how long.
    pub(crate) term_ms: u64,
}

/// A lease that a guest has. Dropping it ends what it is for, if that is here, and gives the lease back.
pub(crate) struct HeldLease {
    shared: Arc<Shared>,
    /// Guests end on threads that are none of its own.
    runtime: Handle,
    pub(crate) lease: LeaseId,
    pub(crate) record: LeaseRecord,
    pub(crate) host: NodeId,
    /// Whether it outlives its guest.
    kept: AtomicBool,
}

impl HeldLease {
    /// Has it go on to its end, whoever drops this. It is noted already: `memory.kept` has it.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// The capability for all of it. Of any member, and without an end of its own: whoever narrows it
    /// says for whom and until when, a lease that is renewed goes on, and the text of this one is
    /// never shown.
    pub(crate) fn capability(&self) -> Result<LeaseCapability, AssetError> {
        let subject = CapabilitySubject {
            fabric: self.shared.fabric,
            asset: self.record.asset,
            lease: self.lease,
            host: self.host,
            nonce: [0; 16],
        };
        let scope = match self.record.asset.asset_type() {
            AssetType::Storage => RegionScope::volume(true, true, u64::MAX, Audience::Member),
            _ => RegionScope {
                rights: RegionRights::ALL,
                from: 0,
                until: self.record.amount.0,
                expires_ms: u64::MAX,
                audience: Audience::Member,
            },
        };
        let issued = LeaseCapability::issue(self.shared.signer.key(), subject, scope);
        issued.map_err(unavailable)
    }

    /// Monotonic milliseconds of its node.
    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.now_ms()
    }

    /// Has the lease last so long from now on; waits until that is final.
    ///
    /// # Errors
    /// [`AssetError::Ended`], [`AssetError::Invalid`] for a term that it cannot have, and what stands in
    /// the way of a transaction.
    pub(crate) async fn renew(&self, term_ms: u64) -> Result<(), AssetError> {
        let shared = &self.shared;
        let _turn = shared.signer.record_turn.lock().await;
        let subject = subject_of(shared, &self.lease).map_err(unavailable)?;
        let subject = subject.ok_or(AssetError::Ended)?;
        let renew = LeaseOperation::Renew {
            lease: self.lease,
            term_ms,
        };
        let signed = proving::sign(shared, &renew, |_| subject).await;
        let signed = signed.map_err(not_renewed)?;
        followed_to(shared, signed.height).await;
        // The follower may be about to: what is asked next is answered by the new term.
        shared.memory.followed(shared);
        Ok(())
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Acquire) {
            self.shared.memory.holdings.held().remove(&self.lease);
            return;
        }
        self.shared.memory.end(&self.lease);
        self.shared.memory.holdings.held().remove(&self.lease);
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(give_back(shared, self.lease));
    }
}

/// Assets that this node may lease so much of.
fn candidates(
    view: &View,
    node: &NodeId,
    wish: Wish,
) -> Result<Vec<(AssetId, AssetRecord)>, DecodeRecordError> {
    let mut found = Vec::new();
    for (id, asset) in view.assets()? {
        let policy = &asset.policy;
        let admitted = match policy.privacy {
            _ if asset.owner == *node => true,
            Privacy::Private | Privacy::P2p => false,
            Privacy::PrivateNetwork => policy.peers.contains(node),
            Privacy::PublicNetwork | Privacy::FullPublic => true,
        };
        let fits = wish.term_ms <= policy.term_ms_max && !asset.drained;
        if id.asset_type() != wish.asset_type || !admitted || !fits {
            continue;
        }
        let leased = view.leases_of(&id)?.leased(view.time_ms());
        if asset.shared().0.saturating_sub(leased.0) >= wish.amount.0 {
            found.push((id, asset));
        }
    }
    Ok(found)
}

/// Leases something for a guest, of the host that `rank` likes best; of one without a rank nothing.
pub(crate) async fn lease(
    shared: &Arc<Shared>,
    wish: Wish,
    rank: impl Fn(&NodeId) -> Option<usize>,
) -> Result<HeldLease, AssetError> {
    let candidates = candidates(&shared.state().view, &shared.node, wish);
    let mut candidates = candidates.map_err(unavailable)?;
    candidates.retain(|(_, asset)| rank(&asset.host).is_some());
    candidates.sort_by_key(|(_, asset)| rank(&asset.host));
    let Wish {
        asset_type,
        amount,
        term_ms,
    } = wish;
    let mut reason = format!(
        "no {asset_type} that this node may lease has {} free for {term_ms} ms: see `nexus asset list`",
        amount.of(asset_type)
    );
    for (asset, record) in candidates.into_iter().take(ASSETS_ASKED_MAX) {
        let subject = Subject {
            host: record.host,
            bond: record.policy.bond,
            ..Subject::own(shared, asset)
        };
        match grant(shared, subject, wish).await {
            // Somebody was faster, or its owner changed the terms.
            Err(ProveError::Sign(SignError::Refused(refusal @ Refusal::Asset(_)))) => {
                reason = refusal.to_string();
            }
            // Its host went away, or has lost what it is to keep.
            Err(error @ (ProveError::Away { .. } | ProveError::NotShown { .. })) => {
                reason = error.to_string();
            }
            Err(error) => return Err(refused(error)),
            Ok(held) => return held,
        }
    }
    Err(AssetError::Exhausted(reason))
}

async fn grant(
    shared: &Arc<Shared>,
    subject: Subject,
    wish: Wish,
) -> Result<Result<HeldLease, AssetError>, ProveError> {
    let Subject { asset, host, .. } = subject;
    // One after the other: two at once would race for one nonce, and the sweep must not come between.
    let _turn = shared.signer.record_turn.lock().await;
    let grant = LeaseOperation::Grant {
        asset,
        holder: shared.node,
        amount: wish.amount,
        term_ms: wish.term_ms,
    };
    let subject = |_| subject;
    let signed = proving::sign(shared, &grant, subject).await?;
    let lease = LeaseId::new(&shared.node, signed.nonce, &asset);
    shared.memory.holdings.held().insert(lease);
    followed_to(shared, signed.height).await;
    let record = shared.state().view.lease(&lease);
    let shared = Arc::clone(shared);
    let held = |record| HeldLease {
        shared,
        runtime: Handle::current(),
        lease,
        record,
        host,
        kept: AtomicBool::new(false),
    };
    Ok(match record {
        Ok(Some(record)) => Ok(held(record)),
        Ok(None) => Err(AssetError::Ended),
        Err(error) => Err(unavailable(error)),
    })
}

/// Waits until this node's view has the block at `height`.
async fn followed_to(shared: &Shared, height: u64) {
    let mut revision = shared.revision.subscribe();
    // It ends only with the node.
    let _ = revision
        .wait_for(|_| shared.state().view.height() >= height)
        .await;
}

fn unavailable(error: impl std::fmt::Display) -> AssetError {
    AssetError::Unavailable(error.to_string())
}

fn refused(error: ProveError) -> AssetError {
    let error = match error {
        ProveError::Sign(error) => error,
        other => return unavailable(other),
    };
    match error {
        SignError::Submit(
            error @ (SubmitError::Full { .. } | SubmitError::PrincipalFull { .. }),
        ) => AssetError::Busy(error.to_string()),
        SignError::Submit(error) => unavailable(error),
        SignError::Refused(refusal @ (Refusal::Rate { .. } | Refusal::Nonce { .. })) => {
            AssetError::Busy(refusal.to_string())
        }
        SignError::Refused(refusal) => AssetError::Exhausted(refusal.to_string()),
    }
}

fn not_renewed(error: ProveError) -> AssetError {
    match error {
        ProveError::Sign(SignError::Refused(Refusal::Asset(refusal))) => match refusal {
            AssetRefusal::UnknownLease(_) | AssetRefusal::Over { .. } => AssetError::Ended,
            AssetRefusal::Term { .. } | AssetRefusal::NotLonger { .. } => {
                AssetError::Invalid(refusal.to_string())
            }
            refusal => AssetError::Exhausted(refusal.to_string()),
        },
        error => refused(error),
    }
}

/// Gives a lease back; whether it is known to be gone.
async fn give_back(shared: Arc<Shared>, lease: LeaseId) {
    for _ in 0..RELEASES_MAX {
        let _turn = shared.signer.record_turn.lock().await;
        // State that cannot be read ends the node elsewhere.
        let Some(subject) = subject_of(&shared, &lease).ok().flatten() else {
            return;
        };
        let release = LeaseOperation::Release { lease };
        match proving::sign(&shared, &release, |_| subject).await {
            Ok(_) => return,
            Err(ProveError::Sign(SignError::Refused(Refusal::Asset(
                AssetRefusal::UnknownLease(_) | AssetRefusal::Over { .. },
            )))) => return,
            Err(error) => {
                tracing::debug!(lease = %lease.short(), "not given back yet: {error}");
            }
        }
    }
}

/// What a lease is of; none if it is over.
fn subject_of(shared: &Shared, lease: &LeaseId) -> Result<Option<Subject>, DecodeRecordError> {
    let state = shared.state();
    let Some(record) = state.view.lease(lease)? else {
        return Ok(None);
    };
    let asset = state.view.asset(&record.asset)?;
    Ok(asset.map(|asset| Subject {
        host: asset.host,
        ..Subject::own(shared, record.asset)
    }))
}

/// Whether guests lease assets of this type: what else this node holds, somebody wanted it to hold.
const fn is_for_guests(asset_type: AssetType) -> bool {
    matches!(
        asset_type,
        AssetType::Memory | AssetType::Storage | AssetType::Cpu | AssetType::Network
    )
}

/// Gives back leases that this node asked for and no guest has: those of a process that was
/// killed, and those whose grant became final after nobody waited for it any more.
pub(crate) async fn sweep(shared: Arc<Shared>, stop: CancellationToken) {
    // Asked for by others, for reasons of their own.
    let mut foreign = BTreeSet::new();
    loop {
        let stray: Vec<LeaseId> = {
            let _turn = shared.signer.record_turn.lock().await;
            let looks = Arc::clone(&shared);
            // Hashes: too long for a thread that others wait for.
            let looked = tokio::task::spawn_blocking(move || {
                let found = strays(&looks, &mut foreign).unwrap_or_default();
                (found, foreign)
            });
            let Ok((found, known)) = looked.await else {
                return;
            };
            foreign = known;
            found
        };
        for lease in stray {
            tracing::info!(lease = %lease.short(), "gives back a lease that no guest has");
            give_back(Arc::clone(&shared), lease).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_PAUSE) => {}
        }
    }
}

fn strays(
    shared: &Shared,
    foreign: &mut BTreeSet<LeaseId>,
) -> Result<Vec<LeaseId>, DecodeRecordError> {
    let state = shared.state();
    let leases = state.view.leases_held(&shared.node)?;
    let nonce = state.view.principal(&shared.node)?;
    let nonce = nonce.map_or(0, |record| record.nonce);
    let ledger_ms = state.view.time_ms();
    drop(state);
    let lives = |lease: &LeaseId| {
        let mut held = leases.iter();
        held.any(|(held, record)| held == lease && record.expires_ms > ledger_ms)
    };
    shared.memory.kept.retain(ledger_ms, lives);
    foreign.retain(|lease| leases.iter().any(|(held, _)| held == lease));
    let held = shared.memory.holdings.held().clone();
    let searched = nonce.saturating_sub(NONCES_SEARCHED_MAX)..nonce;
    let unknown: Vec<_> = leases
        .into_iter()
        .filter(|(_, record)| is_for_guests(record.asset.asset_type()))
        .filter(|(lease, _)| !held.contains(lease) && !foreign.contains(lease))
        .filter(|(lease, _)| !shared.memory.kept.has(lease))
        .take(LEASES_LOOKED_AT_MAX)
        .collect();
    let mut strays = Vec::new();
    for (lease, record) in unknown {
        let mut asked = searched.clone().rev();
        if asked.any(|nonce| LeaseId::new(&shared.node, nonce, &record.asset) == lease) {
            strays.push(lease);
        } else {
            foreign.insert(lease);
        }
    }
    Ok(strays)
}
