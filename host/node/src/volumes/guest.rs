//! Volumes of one replica: leased, kept and opened. Knows no WIT; signs for a guest and gives it no key.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use assets::Reservation;
use assets::volume::{Layout, VolumeKey};
use futures::FutureExt as _;
use orchestrator::ReplicaKey;
use runtime::{AssetError, Volume, VolumeAwaited, VolumeError, VolumeLayout, Volumes};
use trust::{CapabilityRefusal, VolumeCapability};
use types::{Amount, AssetType, Capability, ComponentSpec, LeaseId, NodeId};

use super::errors::{denied, invalid, unavailable};
use super::handle::Handle;
use super::kept::KeptLease;
use super::size::{member_bytes, members_per_node};
use super::volume::GuestVolume;
use crate::memory::asking::{Asking, Held, Rank};
use crate::shared::Shared;

/// Leased storage for one replica.
pub(super) struct GuestVolumes {
    pub(super) shared: Arc<Shared>,
    replica: ReplicaKey,
    asking: Arc<Asking>,
    /// What is kept takes of the grant until it is over.
    kept: Mutex<BTreeMap<LeaseId, Reservation>>,
}

/// What a component's replica gets of leased storage, by its grants.
pub(crate) fn of(
    shared: &Arc<Shared>,
    replica: &ReplicaKey,
    spec: &ComponentSpec,
) -> Option<Arc<dyn Volumes>> {
    let quota = spec.capabilities.iter().find_map(|right| match right {
        Capability::Storage { quota } => Some(*quota),
        _ => None,
    })?;
    let asking = Asking::new(AssetType::Storage, Amount(quota.as_u64()));
    let mut kept = BTreeMap::new();
    for (lease, bytes) in shared.memory.kept.of(replica) {
        // What is kept beyond a grant that became smaller takes all of it.
        if let Ok(reserved) = asking.take(Amount(bytes)) {
            kept.insert(lease, reserved);
        }
    }
    Some(Arc::new(Grantee(Arc::new(GuestVolumes {
        shared: Arc::clone(shared),
        replica: replica.clone(),
        asking: Arc::new(asking),
        kept: Mutex::new(kept),
    }))))
}

/// Leased storage as the runtime hands it to a guest.
#[derive(Debug)]
struct Grantee(Arc<GuestVolumes>);

impl std::fmt::Debug for GuestVolumes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestVolumes").field(&self.replica).finish()
    }
}

impl Volumes for Grantee {
    fn allocate(
        &self,
        bytes: u64,
        term_ms: u64,
        layout: VolumeLayout,
    ) -> VolumeAwaited<Arc<dyn Volume>> {
        let volumes = Arc::clone(&self.0);
        async move {
            // Goes on if the guest ends meanwhile: leases that come then are dropped, and so given back.
            let allocated = tokio::spawn(async move {
                let layout = layout_of(layout)?;
                volumes.allocated(bytes, term_ms, layout).await
            });
            let allocated = allocated.await.map_err(unavailable)??;
            Ok(Arc::new(Handle(allocated)) as Arc<dyn Volume>)
        }
        .boxed()
    }

    fn open(&self, capability: String) -> VolumeAwaited<Arc<dyn Volume>> {
        let volumes = Arc::clone(&self.0);
        async move {
            let capability: VolumeCapability = capability.parse().map_err(invalid)?;
            let here = volumes.shared.fabric;
            for member in capability.members.iter().flatten() {
                let subject = member.subject();
                if subject.fabric != here {
                    let found = subject.fabric;
                    return Err(denied(CapabilityRefusal::OtherFabric { found, here }));
                }
                if subject.asset.asset_type() != AssetType::Storage {
                    return Err(invalid("a member of the volume is no storage"));
                }
            }
            let members = u8::try_from(capability.members.len()).unwrap_or(u8::MAX);
            let layout = Layout::try_from((capability.data, members)).map_err(invalid)?;
            let volume = GuestVolume::opened(volumes, layout, capability, Vec::new());
            volume.check().await?;
            Ok(Arc::new(Handle(Arc::new(volume))) as Arc<dyn Volume>)
        }
        .boxed()
    }
}

fn layout_of(layout: VolumeLayout) -> Result<Layout, VolumeError> {
    match layout {
        VolumeLayout::Single => Ok(Layout::SINGLE),
        VolumeLayout::Sharded => Ok(Layout::SHARDED),
        VolumeLayout::Replicated(members) if members < 2 => {
            Err(invalid("a replicated volume has two members or more"))
        }
        VolumeLayout::Replicated(members) => Layout::replicated(members).map_err(invalid),
    }
}

impl GuestVolumes {
    async fn allocated(
        self: Arc<Self>,
        bytes: u64,
        term_ms: u64,
        layout: Layout,
    ) -> Result<Arc<GuestVolume>, VolumeError> {
        if bytes == 0 {
            return Err(invalid("a volume of nothing is none"));
        }
        self.forget_over();
        let amount = member_bytes(layout, bytes);
        let total = amount.saturating_mul(layout.total() as u64);
        // All or nothing, before any of it costs a block.
        drop(self.asking.take(Amount(total))?);
        let mut held = Vec::new();
        for _ in 0..layout.total() {
            let more = self.lease(layout, Amount(amount), term_ms, &held, &[]);
            held.push(Some(more.await?));
        }
        let key = VolumeKey::generate().map_err(unavailable)?;
        let capabilities = held.iter().flatten();
        let capabilities = capabilities.map(|held| held.lease.capability().map(Some));
        let data = u8::try_from(layout.data()).unwrap_or(u8::MAX);
        let members = capabilities.collect::<Result<_, AssetError>>()?;
        let capability = VolumeCapability::new(data, *key.as_bytes(), members);
        let volume = Arc::new(GuestVolume::opened(self, layout, capability, held));
        volume.check().await?;
        volume.mend_by_itself();
        Ok(volume)
    }

    /// Leases one more member beside others, of a node that has few of them and none of `without`.
    pub(super) async fn lease(
        &self,
        layout: Layout,
        amount: Amount,
        term_ms: u64,
        beside: &[Option<Arc<Held>>],
        without: &[NodeId],
    ) -> Result<Arc<Held>, VolumeError> {
        let mut members: HashMap<NodeId, usize> = HashMap::new();
        for held in beside.iter().flatten() {
            *members.entry(held.lease.host).or_default() += 1;
        }
        let (node, most) = (self.shared.node, members_per_node(layout));
        let without = without.to_vec();
        let rank: Rank = Arc::new(move |host| {
            let count = members.get(host).copied().unwrap_or_default();
            let fits = count < most && !without.contains(host);
            fits.then(|| 2 * count + usize::from(*host != node))
        });
        let leased = self.asking.lease_of(&self.shared, amount, term_ms, rank);
        Ok(leased.await?)
    }

    /// Has leases outlive their handles; durable when it returns.
    pub(super) fn keep(&self, held: &[&Arc<Held>]) -> Result<(), VolumeError> {
        self.forget_over();
        let notes = held.iter().map(|held| {
            let note = KeptLease {
                workload: self.replica.workload.clone(),
                component: self.replica.component.clone(),
                index: self.replica.index,
                bytes: held.lease.record.amount.0,
                expires_ms: held.lease.record.expires_ms,
            };
            (held.lease.lease, note)
        });
        let notes = notes.collect();
        self.shared.memory.kept.keep(&notes).map_err(unavailable)?;
        let mut kept = self.kept();
        for held in held {
            if let Some(reserved) = held.keep() {
                kept.insert(held.lease.lease, reserved);
            }
        }
        Ok(())
    }

    /// Gives back to the grant what leases took that are over.
    fn forget_over(&self) {
        let shared = &self.shared;
        let ledger_ms = shared.memory.clock().latest_ms(shared.now_ms());
        let state = shared.state();
        // State that cannot be read ends the node elsewhere.
        let lives = |lease: &LeaseId| match state.view.lease(lease) {
            Ok(record) => record.is_some_and(|record| record.expires_ms > ledger_ms),
            Err(_) => true,
        };
        self.kept().retain(|lease, _| lives(lease));
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Reservation>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
